"""Mutation test of the rules: with any small fault in a rule's module, one of its cases says something else.

A survivor is named with its line and change: add a case that tells the two apart, or, where nothing can, the mutant to
equivalent_mutants.yaml with the reason.
"""

from __future__ import annotations

import copy
import functools
import time
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from cpu_time import cpu_seconds
from judged import Case, cases_of, documents, findings, objects_of
from llm_policies import pack
from llm_policies.objects import Object
from llm_policies.pools import read_pools
from llm_policies.remediation import apply
from llm_policies.rule import Rule
from mutants import Mutant, executed, mutants_of

SUBJECTS = pack._SUBJECTS
EQUIVALENT: dict[str, str] = yaml.safe_load((Path(__file__).parent / "equivalent_mutants.yaml").read_text()) or {}
SECONDS = 0.2
"""CPU time of a mutant that ends, beside ten times that of the module; one that does not end is noticed."""


@dataclass(frozen=True)
class Prepared:
    """A case read once for all mutants: the objects are not touched by a rule."""

    case: Case
    manifest: list[Object]
    sent: list[Object]


@functools.cache
def prepared(rule: str) -> tuple[Prepared, ...]:
    """The cases of a rule."""
    return tuple(
        Prepared(case, objects_of(case.objects, pulumi=False), objects_of(case.objects, pulumi=True))
        for case in cases_of(rule)
    )


@functools.cache
def page(manifest: str) -> list[Object]:
    """The objects of a rule's page."""
    return objects_of(documents(manifest), pulumi=False)


def messages(rule: Rule, objects: list[Object], case: Case) -> list[str]:
    """As `judged.said`, of objects that are made already."""
    found = findings(rule, objects, case.settings, case.pools)
    return sorted(f"{f.item.id}: {f.message}" if rule.of_stack else f.message for f in found)


def remediated(rule: Rule, case: Case) -> Any:
    """The only object of a case after the rule's remediation."""
    assert rule.remediate is not None
    document = copy.deepcopy(case.objects[0])
    [item] = objects_of([document], pulumi=False)
    context = rule.context(case.settings, None if case.pools is None else read_pools(case.pools))
    apply(document, rule.remediate(item, context))
    return document


def is_as_its_cases_say(rule: Rule) -> bool:
    """Whether the cases and the page of `rule` hold for it."""
    for one in prepared(rule.name):
        if messages(rule, one.manifest, one.case) != sorted(one.case.says):
            return False
        if rule.remediate and one.case.remediated is not None and remediated(rule, one.case) != one.case.remediated:
            return False
    if not any(f.verdict == "violation" for f in findings(rule, page(rule.bad))) or findings(rule, page(rule.good)):
        return False
    # What only the engine writes: numbers as floats, patches by their type.
    return all(messages(rule, one.sent, one.case) == sorted(one.case.says) for one in prepared(rule.name))


def survives(mutant: Mutant, subject: ModuleType, seconds: float) -> bool:
    """Whether no case notices the fault within `seconds`. What raises has been noticed."""
    try:
        with cpu_seconds(seconds):
            module = executed(mutant, subject)
            return all(is_as_its_cases_say(rule) for rule in module.RULES)
    except Exception:  # noqa: BLE001  # whatever a fault leads to, it has been noticed
        return False


def survivors_of(subject: ModuleType) -> dict[str, Mutant]:
    """The mutants that nothing tells apart from the module, by id."""
    for rule in subject.RULES:
        prepared(rule.name)
    start = time.process_time()
    assert [rule.name for rule in subject.RULES if not is_as_its_cases_say(rule)] == [], "wrong without any fault"
    seconds = SECONDS + 10 * (time.process_time() - start)
    return {mutant.id: mutant for mutant in mutants_of(subject) if survives(mutant, subject, seconds)}


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: str(subject.__name__.rpartition(".")[2]))
def test_every_fault_is_noticed(subject: ModuleType) -> None:
    name = subject.__name__.rpartition(".")[2]
    survived = survivors_of(subject)
    unnoticed = [f"{name}.py:{mutant.line}: {id_}" for id_, mutant in survived.items() if id_ not in EQUIVALENT]
    assert not unnoticed, "\n".join(["no case notices:", *unnoticed])
    stale = [id_ for id_ in EQUIVALENT if id_.startswith(f"{name}.") and id_ not in survived]
    assert stale == [], "equivalent_mutants.yaml names what does not survive"


def test_every_equivalent_mutant_has_a_reason() -> None:
    assert all(isinstance(reason, str) and len(reason) > 20 for reason in EQUIVALENT.values())
