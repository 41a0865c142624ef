"""Exceptions from rules: data with a reason, an owner and a last day."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from llm_policies.objects import Object
from llm_policies.values import Doubt

ANNOTATION = "llm-policies/"
"""Begins the annotation of an excepted object: `llm-policies/hostpath: until 2027-06-30, owner ops: reads metrics`."""

_ANNOTATED = re.compile(r"until (\S+), owner ([^:]+): (.+)", re.DOTALL)
_KEYS = {"rule", "object", "reason", "owner", "until"}
_SHORTEST_REASON = 10


@dataclass(frozen=True, kw_only=True)
class PolicyException:
    """One rule that one object, or several by a pattern, need not keep."""

    rule: str
    object: str
    """`Deployment/llm/chat`, with `*` for any text; kinds without namespace have two parts."""

    reason: str
    owner: str
    until: datetime.date
    """The last day."""

    def covers(self, rule: str, item: Object) -> bool:
        """Whether `rule` is excepted for `item`, expired or not."""
        return rule == self.rule and fnmatchcase(item.id, self.object)

    def is_expired(self, today: datetime.date) -> bool:
        """Whether its last day is over."""
        return today > self.until

    def __str__(self) -> str:
        """For people: who, until when, why."""
        return f"until {self.until.isoformat()}, owner {self.owner}: {self.reason}"


def read_exceptions(written: Iterable[Any], mistakes: list[str]) -> list[PolicyException]:
    """Exceptions from JSON or YAML; what is wrong is added to `mistakes`, and excepts nothing."""
    found = []
    for index, said in enumerate(written):
        path = f"exceptions[{index}]"
        if not isinstance(said, Mapping):
            mistakes.append(f"{path}: expected a mapping with rule, object, reason, owner and until.")
            continue
        mistakes += [f"{path}.{key}: there is no such setting." for key in said if key not in _KEYS]
        lacking = [key for key in sorted(_KEYS) if not said.get(key)]
        if lacking:
            mistakes.append(f"{path}: says no {', '.join(lacking)}, so nobody could tell when it may go.")
            continue
        if (made := _exception(path, {key: str(said[key]).strip() for key in _KEYS}, mistakes)) is not None:
            found.append(made)
    return found


def annotated(item: Object, mistakes: list[str]) -> Iterator[PolicyException]:
    """The exceptions that an object's own annotations make; what is wrong is added to `mistakes`."""
    try:
        annotations = item.annotations
    except Doubt:
        return  # what cannot be read excepts nothing
    for key, text in annotations.items():
        if not key.startswith(ANNOTATION):
            continue
        path = f"metadata.annotations.{key}"
        match = _ANNOTATED.fullmatch(text.strip())
        if match is None:
            mistakes.append(f"{path}: {text!r} is not 'until YYYY-MM-DD, owner NAME: reason', so it excepts nothing.")
            continue
        until, owner, reason = (part.strip() for part in match.groups())
        rule = key.removeprefix(ANNOTATION)
        said = {"rule": rule, "object": item.id, "reason": reason, "owner": owner, "until": until}
        if (made := _exception(path, said, mistakes)) is not None:
            yield made


def _exception(path: str, said: Mapping[str, str], mistakes: list[str]) -> PolicyException | None:
    if len(said["reason"]) < _SHORTEST_REASON:
        mistakes.append(f"{path}: {said['reason']!r} is no reason that anyone could judge; write a sentence.")
        return None
    try:
        until = datetime.date.fromisoformat(said["until"])
    except ValueError:
        mistakes.append(f"{path}: {said['until']!r} is not a day; write it as 2027-06-30.")
        return None
    return PolicyException(
        rule=said["rule"], object=said["object"], reason=said["reason"], owner=said["owner"], until=until
    )
