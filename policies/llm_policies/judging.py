"""Holds objects against rules, and says what counts: the one place for Pulumi's engine and for manifests."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from llm_policies.environment import Environment, Level
from llm_policies.exceptions import annotated
from llm_policies.objects import Object, Stack
from llm_policies.rule import Rule, Said
from llm_policies.values import Malformed, Undecided

Verdict = Literal["violation", "undecided", "excepted"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one rule says of one object."""

    rule: Rule
    item: Object
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
                found = [(item, said) for said in rule.look(item, environment.context(rule))]
                if found:
                    yield from _findings(rule, found, environment, today, item.secrets)


def judge_stack(
    rules: Sequence[Rule], stack: Stack, environment: Environment, *, today: datetime.date
) -> Iterator[Finding]:
    """Findings of every rule over objects together."""
    for rule in rules:
        if rule.of_stack is not None and (found := list(rule.look_at_stack(stack, environment.context(rule)))):
            yield from _findings(rule, found, environment, today, stack.secrets)


def _findings(
    rule: Rule,
    found: Iterable[tuple[Object, Said]],
    environment: Environment,
    today: datetime.date,
    secrets: Collection[str],
) -> Iterator[Finding]:
    told: set[tuple[int, str]] = set()
    for item, said in found:
        level = environment.level(rule, item.namespace)
        message = _without(secrets, _message(said))
        if level == "disabled" or (id(item), message) in told:
            continue
        told.add((id(item), message))
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
