"""Which pods labels select: with the labels that controllers give, and without a guess where one is not known yet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache, partial
from typing import Any

from llm_policies.objects import Object, Stack
from llm_policies.pods import Pod
from llm_policies.values import UNKNOWNS, Doubt, Malformed, Value

_OF_ONE_POD = frozenset(
    {
        *("pod-template-hash", "controller-revision-hash", "pod-template-generation", "controller-uid"),
        *("statefulset.kubernetes.io/pod-name", "apps.kubernetes.io/pod-index"),
        *("batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-completion-index"),
        *("leaderworkerset.sigs.k8s.io/worker-index", "leaderworkerset.sigs.k8s.io/group-index"),
        "leaderworkerset.sigs.k8s.io/group-key",
    }
)
"""Labels that a controller gives to each pod, which no template has."""

_OF_OWNER: dict[str, tuple[str, ...]] = {
    "Job": ("job-name", "batch.kubernetes.io/job-name"),
    "LeaderWorkerSet": ("leaderworkerset.sigs.k8s.io/name",),
}
"""Labels that a controller gives to all pods of an object: its name."""


@lru_cache(maxsize=4096)  # objects are equal to themselves alone; each selector asks for the same
def of_pod(item: Object, pod: Pod) -> Value:
    """The labels that a pod of `item` will have."""
    written = pod.template.get("metadata", "labels")
    made = dict.fromkeys(_OF_OWNER.get(item.kind, ()), item.name)
    # Raw, only to add some: what is no mapping is told when it is read.
    if not made or not (written.raw is None or isinstance(written.raw, Mapping)):
        return written
    return Value({**(written.raw or {}), **made}, written.path, partial=written.partial)


def has(labels: Value, wanted: Value) -> bool:
    """Whether `labels` have all pairs of the mapping `wanted`.

    Raises:
        Doubt: it depends on what cannot be read.
    """
    if plainly_differ(labels.raw, wanted.raw):
        return False
    return _all(partial(_is, labels, key, value) for key, value in wanted.pairs())


def plainly_differ(labels: Any, wanted: Any) -> bool:
    """Whether one pair of `wanted` has another value in `labels`, both known texts.

    Looked at first, and raw: of a hundred Services and a hundred Deployments nearly all pairs are of this kind.
    """
    if type(labels) is not dict or type(wanted) is not dict:
        return False
    for key, value in wanted.items():
        there = labels.get(key)
        are_texts = type(value) is str and type(there) is str
        if are_texts and value != there and value not in UNKNOWNS and there not in UNKNOWNS:
            return True
    return False


def matches(labels: Value, selector: Value) -> bool:
    """Whether a LabelSelector selects what has `labels`; one that says nothing selects all.

    Raises:
        Doubt: it depends on what cannot be read.
    """
    wanted = selector.get("matchLabels")
    if plainly_differ(labels.raw, wanted.raw):
        return False
    expressions = selector.get("matchExpressions").items()
    return _all(
        [
            partial(has, labels, wanted),
            *(partial(_holds, labels, expression) for expression in expressions),
        ]
    )


def selects_all(selector: Value) -> bool:
    """Whether it demands nothing."""
    return not selector.get("matchLabels").pairs() and not selector.get("matchExpressions").items()


def _holds(labels: Value, expression: Value) -> bool:
    key, operator = expression.get("key").text() or "", expression.get("operator")
    label = labels.get(key).text() if operator.text() in ("In", "NotIn") else None
    values = [value.text() for value in expression.get("values").items()]
    match operator.text():
        case "In":
            return label in values or (label is None and key in _OF_ONE_POD)
        case "NotIn":
            return label not in values
        case "Exists":
            return labels.get(key).raw is not None or key in _OF_ONE_POD  # of any value, known or not
        case "DoesNotExist":
            return labels.get(key).raw is None and key not in _OF_ONE_POD
    raise Malformed(operator.path, operator.raw, "In, NotIn, Exists or DoesNotExist")


def _is(labels: Value, key: str, wanted: Value) -> bool:
    there = labels.get(key).text()
    return there == wanted.text() or (there is None and key in _OF_ONE_POD)


def _all(checks: Iterable[Callable[[], bool]]) -> bool:
    """Whether all hold; one that does not decides, whatever is not known of the others."""
    doubts = []
    for check in checks:
        try:
            if not check():
                return False
        except Doubt as doubt:
            doubts.append(doubt)
    if doubts:
        raise doubts[0]
    return True


Selected = tuple[list[tuple[Object, Pod]], list[Doubt]]
"""Pods that are selected, with what makes them, and why it cannot be told of others."""


def selected(stack: Stack, namespace: str | None, is_meant: Callable[[Value], bool]) -> Selected:
    """The pods of a namespace, or of any where it is None, whose labels `is_meant` accepts."""
    found: list[tuple[Object, Pod]] = []
    doubts: list[Doubt] = []
    for item in stack.workloads():
        if namespace is not None and not may_be_in(item, namespace):
            continue
        try:
            mine = [(item, pod) for pod in item.pods if is_meant(of_pod(item, pod))]
            if mine and namespace is not None:
                item.properties.get("metadata", "namespace").text()  # not known yet: a doubt
            found += mine
        except Doubt as doubt:
            doubts.append(doubt)
    return found, doubts


def may_be_in(item: Object, namespace: str) -> bool:
    """Whether it is in `namespace`, or may be since its own is not known yet."""
    return item.namespace == namespace or item.properties.get("metadata", "namespace").is_unknown
