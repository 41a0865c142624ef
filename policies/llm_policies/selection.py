"""Which pods of a stack a selector means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from llm_policies.kinds import namespace_of
from llm_policies.labels import has, matches, of_pod
from llm_policies.objects import Object, Stack
from llm_policies.pods import Pod
from llm_policies.values import UNKNOWNS, Doubt, Value

_Pair = tuple[str, str | None]
_ANY: _Pair = ("", "")
"""Stands for all workloads of a place."""

_UNREAD: _Pair = ("", None)
"""For those with labels that cannot be read, or that a patch leaves to others."""

_EVERYWHERE, _SOMEWHERE = "*", "?"
"""No names of namespaces: of all of them, and of one that is known later."""


class Meant(NamedTuple):
    """Which labels are selected."""

    by: Callable[[Value], bool]
    demands: Value
    """A mapping of pairs that all of them have, by which most are left out at once."""


def meant_by_pairs(pairs: Value) -> Meant:
    """As a Service says it."""
    return Meant(lambda labels: has(labels, pairs), pairs)


def meant_by(selector: Value) -> Meant:
    """By a LabelSelector; one that says nothing means all."""
    return Meant(lambda labels: matches(labels, selector), selector.get("matchLabels"))


NOTHING = Meant(lambda _labels: False, Value({}))

Selected = tuple[list[tuple[Object, Pod]], list[Doubt]]
"""Pods that are selected, with what makes them, and why it cannot be told of others."""


def selected(stack: Stack, namespace: str | None, meant: Meant) -> Selected:
    """The pods of a namespace, or of any where it is None, whose labels are meant."""
    found: list[tuple[Object, Pod]] = []
    doubts: list[Doubt] = []
    for item in candidates(stack, namespace, meant.demands):
        try:
            mine = [(item, pod) for pod in item.pods if meant.by(of_pod(item, pod))]
            if mine and namespace is not None:
                item.properties.get("metadata", "namespace").text()  # not known yet: a doubt
            found += mine
        except Doubt as doubt:
            doubts.append(doubt)
    return found, doubts


def candidates(stack: Stack, namespace: str | None, pairs: Value) -> list[Object]:
    """The workloads that may be in a namespace, or in any where it is None, with pods that may have all `pairs`."""
    return _index(stack).workloads(namespace, pairs)


class _Index:
    """Workloads by their namespace and the labels of their pods: there are as many selectors."""

    def __init__(self, workloads: Iterable[Object]) -> None:
        self._all = list(workloads)
        self._places: dict[tuple[str, _Pair], list[int]] = {}
        for position, item in enumerate(self._all):
            namespace = namespace_of(item)
            for pair in set(_pairs(item)):
                for where in (_EVERYWHERE, _SOMEWHERE if namespace is None else namespace):
                    self._places.setdefault((where, pair), []).append(position)

    def workloads(self, namespace: str | None, demands: Value) -> list[Object]:
        """Those that may be in `namespace` and have `demands`, by the one of these that leaves the fewest."""
        where = (_EVERYWHERE,) if namespace is None else (namespace, _SOMEWHERE)
        lists = self._lists(where, [_ANY])
        try:
            wanted = [(key, text) for key, value in demands.pairs() if (text := _plain(value)) is not None]
        except Doubt:
            wanted = []  # told of those that it is asked of
        for key, text in wanted:
            some = self._lists(where, [(key, text), (key, None), _UNREAD])
            lists = min(lists, some, key=lambda one: sum(map(len, one)))
        return [self._all[position] for position in sorted({position for one in lists for position in one})]

    def _lists(self, places: Iterable[str], pairs: Iterable[_Pair]) -> list[list[int]]:
        return [self._places.get((where, pair), []) for where in places for pair in pairs]


@lru_cache(maxsize=1)  # a stack is judged at a time
def _index(stack: Stack) -> _Index:
    return _Index(stack.workloads())


def _pairs(item: Object) -> Iterator[_Pair]:
    """The labels of its pods; without a text those that are not known, or differ from pod to pod."""
    yield _ANY
    try:
        for pod in item.pods:
            labels = of_pod(item, pod)
            yield from ((key, _plain(value)) for key, value in labels.pairs())
            if labels.partial:
                yield _UNREAD
    except Doubt:
        yield _UNREAD


def _plain(value: Value) -> str | None:
    return value.raw if isinstance(value.raw, str) and value.raw not in UNKNOWNS else None
