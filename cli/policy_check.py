"""Holds manifests against the policy pack, without Pulumi and without a cluster."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llm_policies.environment import Environment, PackSettingsError, read_environment
from llm_policies.judging import Finding, judge, judge_stack
from llm_policies.objects import Object, Stack, of_manifest
from llm_policies.pack import RULES
from llm_policies.rule import Rule

from cli.levels import read_levels
from cli.manifests import Found, Manifest, Skipped, Unreadable
from cli.policy_kinds import misspelt, passed_over
from cli.policy_lines import Lines
from toolchain.steps import StepFailed

Weight = Literal["error", "warning", "excepted"]
FailOn = Literal["error", "warn", "never"]


@dataclass(frozen=True, kw_only=True)
class Located:
    """A finding, and where to look for it."""

    finding: Finding
    weight: Weight
    """`error` is what the environment calls mandatory."""

    file: str
    object_line: int
    line: int
    """Of the field where it is known, else of the container, else of the object."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What a check has found."""

    rules: Sequence[Rule]
    objects: Sequence[tuple[Object, str, int]]
    """Each with its file and line."""

    findings: Sequence[Located]
    """By file and line; those of one object stand together."""

    passed_over: Sequence[str]
    """Kinds of others that no rule reads."""

    skipped: Sequence[Skipped]
    unreadable: Sequence[Unreadable]

    def count(self, weight: Weight) -> int:
        """Findings that weigh so."""
        return sum(found.weight == weight for found in self.findings)

    def exit_code(self, fail_on: FailOn) -> int:
        """0 is clean, 1 a violation that counts, 2 input that could not be looked at."""
        if self.unreadable:
            return 2
        counts = {"error": ("error",), "warn": ("error", "warning"), "never": ()}[fail_on]
        return int(any(found.weight in counts for found in self.findings))


def environment_of(levels: Path | None) -> Environment:
    """What a file like `policies/levels/prod.yaml` says; without one every rule has its own level.

    Raises:
        StepFailed: with every mistake of the file.
    """
    if levels is None:
        return Environment()
    if not levels.is_file():
        raise StepFailed(f"{levels}: there is no such file.")
    try:
        return read_environment(read_levels(levels), RULES)
    except PackSettingsError as error:
        raise StepFailed(f"{levels} is wrong:\n{error}") from None


def chosen(only: Iterable[str], without: Iterable[str]) -> list[Rule]:
    """The rules named `only`, or all, but for those named `without`.

    Raises:
        StepFailed: a name is no rule's.
    """
    known = {rule.name for rule in RULES}
    names, left_out = set(only), set(without)
    if unknown := sorted((names | left_out) - known):
        raise StepFailed(f"There is no rule {', '.join(unknown)}. `llmctl policy rules` lists them.")
    return [rule for rule in RULES if (not names or rule.name in names) and rule.name not in left_out]


def check(
    documents: Iterable[Found], rules: Sequence[Rule], environment: Environment, *, today: datetime.date
) -> Checked:
    """Judge all documents together: rules over several objects see every file.

    Args:
        documents: as `cli.manifests.read` gives them.
        rules: those that count.
        environment: levels, exceptions, pools.
        today: by which exceptions have expired.
    """
    skipped: list[Skipped] = []
    unreadable: list[Unreadable] = []
    written: dict[int, Lines] = {}
    objects: list[Object] = []
    for document in documents:
        match document:
            case Skipped():
                skipped.append(document)
            case Unreadable():
                unreadable.append(document)
            case Manifest():
                lines = Lines(document)
                for item in of_manifest(document.data, where=f"{document.file}:{document.first_line}"):
                    if (why := misspelt(item)) is not None:
                        unreadable.append(Unreadable(file=document.file, line=lines.of_object(item), why=why))
                    else:
                        objects.append(item)
                        written[id(item)] = lines
    if not objects and not unreadable:
        unreadable.append(Unreadable(file="input", line=None, why="has no Kubernetes object, so nothing was checked."))
    found = [
        *judge(rules, objects, environment, today=today),
        *judge_stack(rules, Stack(objects=objects), environment, today=today),
    ]
    order = {id(item): position for position, item in enumerate(objects)}
    located = [_located(finding, written[id(finding.item)]) for finding in found]
    located.sort(key=lambda one: (order[id(one.finding.item)], WEIGHTS[one.weight], one.line, one.finding.rule.name))
    return Checked(
        rules=rules,
        objects=[(item, (own := written[id(item)]).manifest.file, own.of_object(item)) for item in objects],
        findings=located,
        passed_over=passed_over(objects),
        skipped=skipped,
        unreadable=unreadable,
    )


WEIGHTS: dict[Weight, int] = {"error": 0, "warning": 1, "excepted": 2}
"""The least counts most."""


def _located(finding: Finding, lines: Lines) -> Located:
    weight: Weight = "warning" if finding.level == "advisory" else "error"
    return Located(
        finding=finding,
        weight="excepted" if finding.verdict == "excepted" else weight,
        file=lines.manifest.file,
        object_line=lines.of_object(finding.item),
        line=lines.of(finding),
    )
