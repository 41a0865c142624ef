"""Holds manifests against the policy pack, without Pulumi and without a cluster."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from llm_policies.environment import Environment, PackSettingsError, read_environment
from llm_policies.judging import Finding, judge, judge_stack
from llm_policies.objects import POD_BEARING, Object, Stack, of_manifest, plain_text
from llm_policies.pack import RULES
from llm_policies.rule import Rule
from llm_policies.values import Doubt

from cli.levels import read_levels
from cli.manifests import Found, Manifest, Skipped, Unreadable
from cli.policy_kinds import is_passed_over, misspelt, passed_over
from cli.policy_lines import Lines
from toolchain.steps import StepFailed

Weight = Literal["error", "warning", "excepted"]
FailOn = Literal["error", "warn", "never"]

COUNTING: dict[FailOn, tuple[Weight, ...]] = {"error": ("error",), "warn": ("error", "warning"), "never": ()}
"""What fails a check."""


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

    source: str | None
    """The template of a chart that it was made of, where Helm says so."""


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
    notes: Sequence[str]
    """What of the environment is of no use here; it may be for other manifests, or be misspelt."""

    environment: Environment

    def count(self, weight: Weight) -> int:
        """Findings that weigh so."""
        return sum(found.weight == weight for found in self.findings)

    def why_unjudged(self, item: Object) -> str | None:
        """Why nothing was asked of an object, where nothing was: that nothing is found says nothing then."""
        if is_passed_over(item):
            return "no rule reads its kind"
        if all(self.environment.level(rule, item.namespace) == "disabled" for rule in self.rules):
            return "every rule is disabled for it"
        return None

    def exit_code(self, fail_on: FailOn, *, on_passed_over: bool = False) -> int:
        """0 is clean, 1 a violation that counts or an object that is passed over, 2 input that cannot be looked at."""
        if self.unreadable:
            return 2
        if on_passed_over and self.passed_over:
            return 1
        return int(any(found.weight in COUNTING[fail_on] for found in self.findings))


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
    """The rules named `only`, or all, but for those named `without`; several names may stand in one text, by commas.

    Raises:
        StepFailed: a name is no rule's.
    """
    known = [rule.name for rule in RULES]
    names, left_out = ({name.strip() for one in texts for name in one.split(",")} for texts in (only, without))
    if unknown := sorted((names | left_out).difference(known)):
        near = get_close_matches(unknown[0], known, n=1)
        meant = f" Is {near[0]} meant?" if near else ""
        raise StepFailed(f"There is no rule {', '.join(unknown)}.{meant} `llmctl policy rules` lists them.")
    return [rule for rule in RULES if (not names or rule.name in names) and rule.name not in left_out]


def check(
    documents: Iterable[Found],
    rules: Sequence[Rule],
    environment: Environment,
    *,
    today: datetime.date,
    namespace: str = "default",
) -> Checked:
    """Judge all documents together: rules over several objects see every file.

    Args:
        documents: as `cli.manifests.read` gives them.
        rules: those that count.
        environment: levels, exceptions, pools.
        today: by which exceptions have expired.
        namespace: of objects that name none.
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
                where = f"{document.file}:{document.first_line}"
                for item in of_manifest(document.data, where=where, namespace=namespace):
                    if (why := misspelt(item)) is not None:
                        unreadable.append(Unreadable(file=document.file, line=lines.of_object(item), why=why))
                    else:
                        objects.append(item)
                        written[id(item)] = lines
    if not objects and not unreadable:
        unreadable.append(Unreadable(file="input", line=None, why="has no Kubernetes object, so nothing was checked."))
    makers = _makers(objects)
    alone = [item for item in objects if id(item) not in makers]
    found = [
        *_once(judge(rules, objects, environment, today=today), makers),
        *judge_stack(rules, Stack(objects=alone), environment, today=today),
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
        notes=[
            *_unused(environment, rules, found),
            *_empty(environment, objects),
            *([f"{len(makers)} objects are told of where they differ from what made them"] if makers else []),
        ],
        environment=environment,
    )


WEIGHTS: dict[Weight, int] = {"error": 0, "warning": 1, "excepted": 2}
"""The least counts most."""


def _unused(environment: Environment, rules: Sequence[Rule], found: Sequence[Finding]) -> Iterator[str]:
    asked = {rule.name for rule in rules}
    for exception in environment.exceptions:
        if exception.rule in asked and not any(exception.covers(one.rule.name, one.item) for one in found):
            yield f"the exception of {exception.object} from {exception.rule} is of nothing that is found"


def _empty(environment: Environment, objects: Sequence[Object]) -> Iterator[str]:
    there = {item.namespace for item in objects}
    yield from (
        f"no object is in namespace {name}, which has levels of its own"
        for name in environment.namespaces
        if name not in there
    )


def _makers(objects: Sequence[Object]) -> dict[int, Object]:
    """What makes pods, by the identity of each that it has made, as `kubectl get deploy,rs,pod` prints both.

    Of several the first: a Pod's is its Deployment, and not the ReplicaSet between them.
    """
    workloads = [item for item in objects if item.kind in POD_BEARING]
    by_uid = {uid: item for item in workloads if (uid := plain_text(item.properties, "metadata", "uid"))}
    found: dict[int, Object] = {}
    for item in workloads:
        chain = [item]
        while (above := _maker(chain[-1], by_uid)) is not None and above not in chain:
            chain.append(above)
        if above is None and len(chain) > 1:  # what is in a circle has made itself, so nobody has
            found[id(item)] = chain[-1]
    return found


def _maker(item: Object, by_uid: Mapping[str, Object]) -> Object | None:
    try:
        owners = item.properties.get("metadata", "ownerReferences").items()
    except Doubt:
        return None
    return next(
        (by_uid[uid] for owner in owners if (uid := plain_text(owner, "uid")) in by_uid and uid is not None), None
    )


def _once(findings: Iterable[Finding], makers: Mapping[int, Object]) -> Iterator[Finding]:
    """Without what is told of an object's maker too; what only the object has, as a debugging container, stays."""
    found = list(findings)
    told = {(id(one.item), one.rule.name, one.message) for one in found}
    for one in found:
        maker = makers.get(id(one.item))
        same = maker and (id(maker), one.rule.name, one.message.replace(f"'{one.item.name}'", f"'{maker.name}'"))
        if same not in told:
            yield one


def _located(finding: Finding, lines: Lines) -> Located:
    weight: Weight = "warning" if finding.level == "advisory" else "error"
    return Located(
        finding=finding,
        weight="excepted" if finding.verdict == "excepted" else weight,
        file=lines.manifest.file,
        object_line=lines.of_object(finding.item),
        line=lines.of(finding),
        source=lines.manifest.source,
    )
