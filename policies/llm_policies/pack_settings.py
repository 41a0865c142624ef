"""The rule that stands for the pack: exceptions are what they say, and what no other rule can judge is told."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from functools import partial

from llm_policies.environment import PACK
from llm_policies.exceptions import ANNOTATION, annotated
from llm_policies.objects import NO_KIND, POD_BEARING, Object
from llm_policies.rule import Rule, Said, Setting
from llm_policies.values import Doubt, each


def policy_settings(rules: Collection[str]) -> Rule:
    """The rule, of a pack with `rules` (names) beside it."""
    checks: list[Callable[[Object], Iterator[Said]]] = [_unseen, _misnamed, _empty, partial(_wrong_exceptions, rules)]
    return _RULE(of_object=lambda item, _: each(checks, lambda check: check(item)))


def _wrong_exceptions(rules: Collection[str], item: Object) -> Iterator[Said]:
    mistakes: list[Said] = []
    found = list(annotated(item, mistakes))
    yield from mistakes
    yield from (
        f"metadata.annotations.{ANNOTATION}{exception.rule}: there is no such rule, so it excepts nothing."
        for exception in found
        if exception.rule not in rules
    )


def _unseen(item: Object) -> Iterator[Said]:
    """What is in a List, and no rule sees."""
    if item.kind.endswith("List"):
        item.properties.get("items").items()
    if item.kind == NO_KIND:
        item.properties.get("apiVersion").text()
        item.properties.get("kind").text()
        raise item.properties.get("kind").malformed("a kind of object")
    return iter(())


def _misnamed(item: Object) -> Iterator[Said]:
    for key in ("name", "namespace"):
        value = item.properties.get("metadata", key)
        if not value.is_unknown:  # what it comes to, rules say that ask for it
            value.text()
    return iter(())


def _empty(item: Object) -> Iterator[Said]:
    """Pods of which no rule says anything."""
    if item.properties.partial or item.kind not in POD_BEARING:
        return
    with suppress(Doubt):  # rules of pods tell it
        if not item.pods:
            yield "has no template, so Kubernetes refuses it, and no rule judges it. Write one."
        for pod in item.pods:
            if not pod.listed("containers"):
                yield f"{pod.spec.path} has no container, so Kubernetes refuses it, and no rule judges it. Write one."


_RULE = partial(
    Rule,
    name=PACK,
    title="Exceptions say why, whose and until when.",
    description=(
        "An exception without a reason, an owner and a last day stays for ever, and nobody knows whether it may go. "
        "One that says less excepts nothing; one whose day is over is a violation again. What no other rule can judge "
        "is told here, too: items of a List that are no objects, names of the wrong type, pods without a container."
    ),
    remediation=f"Annotate the object with `{ANNOTATION}<rule>: until 2027-06-30, owner ops: the reason`.",
    severity="error",
    references=("kyverno PolicyException",),
    kinds=None,
    settings={
        "exceptions": Setting(
            default=[], description="Exceptions: rule, object, reason, owner, until.", items="object"
        ),
        "namespaces": Setting(default={}, description="Levels by namespace, then by rule or `all`."),
        "pools": Setting(
            default={}, description="GPU nodes by pool: resource, nodes, gpus, memoryMiB, timeSlices, labels, taints."
        ),
    },
    bad="""\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: exporter
  annotations:
    llm-policies/hostpath: it needs this
spec: {template: {spec: {containers: [{name: exporter, image: exporter:v1}]}}}
""",
    good="""\
apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: exporter
  annotations:
    llm-policies/hostpath: "until 2027-06-30, owner ops: reads the kubelet's list of GPUs"
spec: {template: {spec: {containers: [{name: exporter, image: exporter:v1}]}}}
""",
)
