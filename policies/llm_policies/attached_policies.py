"""Policies that are attached to routes and Gateways of the Gateway API, and ask who is there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from llm_policies.gateways import Named, Parent, parents_of
from llm_policies.labels import matches
from llm_policies.objects import Object, Stack
from llm_policies.routes import Route
from llm_policies.values import Doubt

_ENVOY_GATEWAY = "SecurityPolicy"
_POLICIES = {
    _ENVOY_GATEWAY: (("apiKeyAuth",), ("basicAuth",), ("extAuth",), ("jwt",), ("oidc",)),
    "AuthPolicy": (  # Kuadrant
        ("rules", "authentication"),
        ("defaults", "rules", "authentication"),
        ("overrides", "rules", "authentication"),
    ),
}
"""Objects that are attached to a route or a Gateway, and what of them asks who is there."""

_Place = tuple[Named, str | None]
"""What a policy is attached to: an object, or of a route one rule, of a Gateway one listener."""


def asks(route: Route, stack: Stack) -> bool:
    """Whether policies ask on every way by which requests come in to a route.

    Raises:
        Doubt: a policy that cannot be read may change the answer.
    """
    attached = _attached(stack)
    edge = route.edge
    named = (edge.kind, edge.namespace, edge.name)
    own: list[_Place] = [(named, route.rule_name), (named, None)]
    outer = [way for parent in parents_of(edge) for way in _ways(parent, stack)]
    found = all(attached.ask_on([*own, *way]) for way in outer or [[]])
    attached.see_that_it_is_certain(found)
    return found


class _Attached:
    """The policies of a stack, by what they are attached to."""

    def __init__(self, stack: Stack) -> None:
        self._asking: dict[tuple[str, _Place], list[bool]] = {}
        self._doubts: list[tuple[bool | None, Doubt]] = []
        for kind in _POLICIES:
            for policy in stack.of(kind):
                self._add(policy, stack)

    def _add(self, policy: Object, stack: Stack) -> None:
        is_asking = None
        try:
            spec = policy.properties.get("spec")
            is_asking = any(spec.get(*keys).raw for keys in _POLICIES[policy.kind])
            # Envoy Gateway takes the innermost policy alone, whatever it is about, unless that one is to be merged.
            if is_asking or (policy.kind == _ENVOY_GATEWAY and spec.get("mergeType").raw is None):
                for place in _places(policy, stack):
                    self._asking.setdefault((policy.kind, place), []).append(is_asking)
        except Doubt as doubt:
            self._doubts.append((is_asking, doubt))

    def ask_on(self, way: list[_Place]) -> bool:
        """Whether policies of one kind ask at the places of a way, of which the innermost is the first."""
        for kind in _POLICIES:
            innermost = next((here for place in way if (here := self._asking.get((kind, place)))), [])
            if any(innermost):
                return True
        return False

    def see_that_it_is_certain(self, is_asked: bool) -> None:
        """Raises a doubt where a policy that cannot be read may ask where nobody does, or the other way round."""
        for is_asking, doubt in self._doubts:
            if is_asking is not is_asked:
                raise doubt


@lru_cache(maxsize=1)  # there are as many routes as policies
def _attached(stack: Stack) -> _Attached:
    return _Attached(stack)


def _places(policy: Object, stack: Stack) -> Iterator[_Place]:
    spec = policy.properties.get("spec")
    single = spec.get("targetRef")
    for target in [*spec.get("targetRefs").items(), *([single] if single.raw is not None else [])]:
        named = (target.get("kind").text(), policy.namespace, target.get("name").text())
        yield named, target.get("sectionName").text()
    for selector in spec.get("targetSelectors").items():
        for item in stack.of(selector.get("kind").text() or ""):
            if item.namespace == policy.namespace and matches(item.properties.get("metadata", "labels"), selector):
                yield (item.kind, item.namespace, item.name), None


def _ways(parent: Parent, stack: Stack) -> list[list[_Place]]:
    """The places on each way in by a parent: of its listener, the parent itself, and the Gateway of a set of them."""
    gateway = parent.gateway(stack)
    outer: list[_Place] = [(parent.named, None), *([(gateway, None)] if gateway is not None else [])]
    if parent.section is not None:
        return [[(parent.named, parent.section), *outer]]
    # A route that names no listener comes in by all.
    names = [listener.get("name").text() for listener in parent.listeners(stack)]
    return [[(parent.named, name), *outer] for name in names] or [outer]
