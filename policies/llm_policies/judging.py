"""Holds objects against rules, and says what counts: the one place for Pulumi's engine and for manifests."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from llm_policies.environment import Environment, Level
from llm_policies.exceptions import annotated
from llm_policies.objects import Object, Stack
from llm_policies.rule import Rule, Said
from llm_policies.values import Doubt, Malformed, Undecided

Verdict = Literal["violation", "undecided", "excepted"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule says of one object."""

    rule: Rule
    item: Object
    """Where to look for it: of what is in doubt, the object that has it."""

    verdict: Verdict
    message: str
    level: Level
    """`advisory` for what is undecided or excepted, whatever the rule's own level is."""


def judge(
    rules: Sequence[Rule], objects: Iterable[Object], environment: Environment, *, today: datetime.date
) -> Iterator[Finding]:
    """Findings of every rule over single objects."""
    for item in objects:
        for rule in rules:
            if rule.looks_at(item.kind) and environment.level(rule, item.namespace) != "disabled":
                found = [(item, item, said) for said in rule.look(item, environment.context(rule))]
                if found:
                    yield from _findings(rule, found, environment, today, item.secrets)


def judge_stack(
    rules: Sequence[Rule], stack: Stack, environment: Environment, *, today: datetime.date
) -> Iterator[Finding]:
    """Findings of every rule over objects together."""
    by_properties = {id(item.properties): item for item in stack.objects}
    for rule in rules:
        if rule.of_stack is not None and (found := list(rule.look_at_stack(stack, environment.context(rule)))):
            placed = [(item, _place(item, said, by_properties), said) for item, said in found]
            for finding in _findings(rule, placed, environment, today, stack.secrets):
                by_itself = judge([rule], [finding.item], environment, today=today)
                if (finding.level, finding.message) not in {(own.level, own.message) for own in by_itself}:
                    yield finding


def joined(findings: Iterable[Finding]) -> Iterator[Finding]:
    """`findings`, with one alone of what several rules wait for: it is one thing that is not known."""
    same: dict[object, list[Finding]] = {}
    for found in findings:
        key = (id(found.item), found.message) if found.verdict == "undecided" else id(found)
        same.setdefault(key, []).append(found)
    for first, *more in same.values():
        names = ", ".join(found.rule.name for found in (first, *more))
        yield replace(first, message=f"{first.message} {len(more) + 1} rules wait for it: {names}.") if more else first


def _place(item: Object, said: Said, by_properties: Mapping[int, Object]) -> Object:
    """Where to look for what a rule says of `item`: what is in doubt may be another object's."""
    values = said.of.outwards() if isinstance(said, Doubt) and said.of is not None else ()
    return next((owner for value in values if (owner := by_properties.get(id(value))) is not None), item)


def _findings(
    rule: Rule,
    found: Iterable[tuple[Object, Object, Said]],
    environment: Environment,
    today: datetime.date,
    secrets: Collection[str],
) -> Iterator[Finding]:
    """What `rule` says of objects, at the places where to look for it: the level is that of what it says it of."""
    told: set[tuple[int, Level, str]] = set()
    for judged, item, said in found:
        level = environment.level(rule, judged.namespace)
        message = _without(secrets, _message(said))
        if level == "disabled" or (id(item), level, message) in told:
            continue
        told.add((id(item), level, message))
        if isinstance(said, Undecided):
            yield Finding(rule=rule, item=item, verdict="undecided", message=message, level="advisory")
            continue
        excepted = [e for e in (*environment.exceptions, *annotated(item, [])) if e.covers(rule.name, item)]
        if (holds := next((e for e in excepted if not e.is_expired(today)), None)) is not None:
            yield Finding(
                rule=rule, item=item, verdict="excepted", message=f"{message} Excepted {holds}", level="advisory"
            )
            continue
        if excepted:
            message += f" Its exception has expired ({excepted[0]})."
        yield Finding(rule=rule, item=item, verdict="violation", message=message, level=level)


def _message(said: Said) -> str:
    if isinstance(said, Undecided):
        return f"cannot be decided yet: {said}."
    if isinstance(said, Malformed):
        return f"cannot be judged: {said}. Correct the field."
    return str(said)


def _without(secrets: Collection[str], message: str) -> str:
    """`message` without what the program marks as secret: an image or a host may be one, too."""
    for secret in sorted(secrets, key=len, reverse=True):
        message = message.replace(secret, "[secret]")
    return message
