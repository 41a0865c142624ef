"""Which pods labels select: with the labels that controllers give, and without a guess where one is not known yet."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any

from llm_policies.objects import NOT_KNOWN, Object
from llm_policies.pods import Pod
from llm_policies.values import UNKNOWNS, Doubt, Value

_NUMBER = "[0-9]+"
_ANY = ".+"
_INDEX_OF_WORKER = "leaderworkerset.sigs.k8s.io/worker-index"
"""0 is the leader's."""

_OF_STATEFUL_SET = {
    "statefulset.kubernetes.io/pod-name": "{name}-[0-9]+",
    "apps.kubernetes.io/pod-index": _NUMBER,
    "controller-revision-hash": _ANY,
}
_OF_JOB = {
    "job-name": "{name}",
    "batch.kubernetes.io/job-name": "{name}",
    "controller-uid": _ANY,
    "batch.kubernetes.io/controller-uid": _ANY,
    "batch.kubernetes.io/job-completion-index": _NUMBER,
}
_GIVEN: dict[str, dict[str, str]] = {
    "Deployment": {"pod-template-hash": _ANY},
    "StatefulSet": _OF_STATEFUL_SET,
    "DaemonSet": {"controller-revision-hash": _ANY, "pod-template-generation": _NUMBER},
    "Job": _OF_JOB,
    "CronJob": {**_OF_JOB, "job-name": "{name}-[0-9]+", "batch.kubernetes.io/job-name": "{name}-[0-9]+"},
    # Its pods are those of StatefulSets: one of all leaders, and one of the workers of each.
    "LeaderWorkerSet": {
        **_OF_STATEFUL_SET,
        "statefulset.kubernetes.io/pod-name": "{name}-[0-9]+(-[0-9]+)?",
        "leaderworkerset.sigs.k8s.io/name": "{name}",
        "leaderworkerset.sigs.k8s.io/template-revision-hash": _ANY,
        "leaderworkerset.sigs.k8s.io/group-index": _NUMBER,
        "leaderworkerset.sigs.k8s.io/group-key": _ANY,
        _INDEX_OF_WORKER: _NUMBER,
    },
}
"""Labels that controllers give to the pods of an object, which no template has, and what they can be, by its kind."""


@lru_cache(maxsize=4096)  # objects are equal to themselves alone; each selector asks for the same
def of_pod(item: Object, pod: Pod) -> Value:
    """The labels that a pod of `item` will have.

    In the place of one that differs from pod to pod is the regular expression of all that it can be.
    """
    written, given = pod.written_labels, _GIVEN.get(item.kind, {})
    # Raw, only to add some: what is no mapping is told when it is read.
    if not given or not (written.raw is None or isinstance(written.raw, Mapping)):
        return written
    if item.kind == "LeaderWorkerSet" and len(item.pods) > 1:
        given = {**given, _INDEX_OF_WORKER: "0" if pod is item.pods[0] else "[1-9][0-9]*"}
    name = item.properties.get("metadata", "name").raw
    made = {key: _form(form, name) for key, form in given.items()}
    return written.replaced({**(written.raw or {}), **made})


def _form(form: str, name: Any) -> re.Pattern[str] | Any:
    if "{name}" not in form:
        return re.compile(form)
    return re.compile(form.format(name=re.escape(name))) if isinstance(name, str) and name not in UNKNOWNS else name


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
    values = [value.text() for value in expression.get("values").items()]
    match operator.text():
        case "In":
            return _is_one_of(labels.get(key), values)
        case "NotIn":
            # Of a label that differs from pod to pod, others have another.
            return isinstance(labels.get(key).raw, re.Pattern) or not _is_one_of(labels.get(key), values)
        case "Exists":
            return labels.get(key).raw is not None  # of any value, known or not
        case "DoesNotExist":
            return labels.get(key).raw is None
    raise operator.malformed("In, NotIn, Exists or DoesNotExist")


def _is(labels: Value, key: str, wanted: Value) -> bool:
    return _is_one_of(labels.get(key), [wanted.text()])


def _is_one_of(label: Value, wanted: Iterable[str | None]) -> bool:
    if isinstance(label.raw, re.Pattern):
        return any(text is not None and label.raw.fullmatch(text) for text in wanted)
    return label.text() in wanted


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


def may_be_in(item: Object, namespace: str) -> bool:
    """Whether it is in `namespace`, or may be since one of the two is not known."""
    return item.namespace in (namespace, NOT_KNOWN) or namespace == NOT_KNOWN


def untold(item: Object, key: str) -> Doubt | None:
    """Why an object's name or namespace cannot be told; None where it can, or where nothing is said."""
    try:
        item.properties.get("metadata", key).text()
    except Doubt as doubt:
        return doubt
    return None


def by_name(items: Iterable[Object]) -> dict[str | None, list[Object]]:
    """Objects by their name; those whose name cannot be told by None."""
    found: dict[str | None, list[Object]] = {}
    for item in items:
        found.setdefault(item.name if untold(item, "name") is None else None, []).append(item)
    return found


def beside(item: Object, others: Iterable[Object]) -> tuple[Object | None, Sequence[tuple[Object, Doubt]]]:
    """The one of `others` in the namespace of `item`; where none is sure to be it, those that may be, and why."""
    unsure = []
    for other in others:
        place = untold(other, "namespace") or untold(item, "namespace")
        if place is None and other.namespace != item.namespace:
            continue
        if (doubt := untold(other, "name") or place) is None:
            return other, []
        unsure.append((other, doubt))
    return None, unsure
