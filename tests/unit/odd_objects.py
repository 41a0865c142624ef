"""Objects with something odd in them, and what the pack says of them, with a limit of time."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from typing import Any

from cpu_time import cpu_seconds
from judged import TODAY, cases_of, documents, objects_of
from llm_policies.environment import Environment
from llm_policies.judging import Finding, judge, judge_stack
from llm_policies.objects import Stack
from llm_policies.pack import RULES
from llm_policies.pools import Pool
from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS
from on_mocks import Raw

Path = tuple[str | int, ...]

UNKNOWN = sorted(UNKNOWNS)[0]
CANARY = "c4n4ry-0f-4-s3cr3t"
CPU_SECONDS = 3.0
"""For all rules over one object; they take about a thousandth of it."""

ENVIRONMENTS = (Environment(), Environment(pools={"a": Pool(nodes=2, gpus=4, memory_mib=81920), "b": Pool(gpus=0)}))


def deep(levels: int) -> Any:
    """A list in a list in a list."""
    found: Any = []
    for _ in range(levels):
        found = [found]
    return found


WRONG: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 3.5, 1e308, float("nan"), float("inf"), 10**4000, -(10**40)),
    *("", " ", "x" * 100_000, "1e999", "-1", "0x10", "\0", "\ud800", "99999999999999999999999Gi", "%", "100%%"),
    *([], {}, [None], [[]], [{}], {"": None}, {"name": None}, [UNKNOWN], {UNKNOWN: UNKNOWN}, UNKNOWN),
    *({SIGNATURE: SECRET}, {SIGNATURE: SECRET, "value": CANARY}, {SIGNATURE: "another", "value": 1}),
    *({SIGNATURE: SECRET, "value": {SIGNATURE: SECRET, "value": UNKNOWN}}, deep(300)),
)
"""What nobody means, at any place."""


@functools.cache
def corpus() -> tuple[tuple[Raw, ...], ...]:
    """Objects that belong together: of every page and of every case."""
    pages = [documents(text) for rule in RULES for text in (rule.bad, rule.good)]
    return tuple(tuple(found) for found in [*pages, *(case.objects for rule in RULES for case in cases_of(rule.name))])


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where something is in a document."""
    if path:
        yield path
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in pairs:
        yield from places(item, (*path, key))


def at(document: Any, path: Path) -> Any:
    """What is there."""
    for key in path:
        document = document[key]
    return document


def put(document: Raw, path: Path, value: Any) -> Raw:
    """A copy with `value` at `path`."""
    changed = copy.deepcopy(document)
    at(changed, path[:-1])[path[-1]] = copy.deepcopy(value)
    return changed


def all_findings(documents: list[Raw], *, pulumi: bool) -> list[Finding]:
    """What the pack says in each environment, with a limit of time."""
    found: list[Finding] = []
    with cpu_seconds(CPU_SECONDS):
        objects = objects_of(documents, pulumi=pulumi)
        for environment in ENVIRONMENTS:
            found += judge(RULES, objects, environment, today=TODAY)
            found += judge_stack(RULES, Stack(objects=objects), environment, today=TODAY)
    return found
