"""Policies that are attached to routes and Gateways of the Gateway API, and ask who is there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from llm_policies.gateways import Named, Parent, parents_of
from llm_policies.labels import matches
from llm_policies.objects import Object, Stack
from llm_policies.routes import Route

_POLICIES = {
    "SecurityPolicy": (("apiKeyAuth",), ("basicAuth",), ("extAuth",), ("jwt",), ("oidc",)),  # Envoy Gateway
    "AuthPolicy": (  # Kuadrant
        ("rules", "authentication"),
        ("defaults", "rules", "authentication"),
        ("overrides", "rules", "authentication"),
    ),
}
"""Objects that are attached to a route or a Gateway, and what of them asks who is there."""


class _Target(NamedTuple):
    """What a policy is attached to."""

    named: Named
    section: str | None
    """A rule of a route, or a listener; None for all."""


def asks(route: Route, stack: Stack) -> bool:
    """Whether policies ask at the route itself, or wherever it is attached."""
    targets = [
        target
        for kind, asking in _POLICIES.items()
        for policy in stack.of(kind)
        if any(policy.properties.get("spec", *keys).raw for keys in asking)
        for target in _targets(policy, stack)
    ]
    edge, parents = route.edge, parents_of(route.edge)
    own = [target.section for target in targets if target.named == (edge.kind, edge.namespace, edge.name)]
    if None in own or route.rule_name in own:
        return True
    return bool(parents) and all(any(_covers(target, parent, stack) for target in targets) for parent in parents)


def _targets(policy: Object, stack: Stack) -> Iterator[_Target]:
    spec = policy.properties.get("spec")
    single = spec.get("targetRef")
    for target in [*spec.get("targetRefs").items(), *([single] if single.raw is not None else [])]:
        named = (target.get("kind").text(), policy.namespace, target.get("name").text())
        yield _Target(named, target.get("sectionName").text())
    for selector in spec.get("targetSelectors").items():
        for item in stack.of(selector.get("kind").text() or ""):
            if item.namespace == policy.namespace and matches(item.properties.get("metadata", "labels"), selector):
                yield _Target((item.kind, item.namespace, item.name), None)


def _covers(target: _Target, parent: Parent, stack: Stack) -> bool:
    """Whether a policy is for all requests that come in by a parent."""
    if target.named == parent.gateway(stack):
        return target.section is None  # for all listeners of the Gateway, those of its sets too
    if target.named != parent.named:
        return False
    if target.section in (None, parent.section):
        return True
    # A route that names no listener comes in by all.
    names = [listener.get("name").text() for listener in parent.listeners(stack)]
    return bool(names) and all(name == target.section for name in names)
