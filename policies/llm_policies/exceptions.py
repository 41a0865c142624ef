"""Exceptions from rules: data with a reason, an owner and a last day."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from llm_policies.objects import CLUSTER_SCOPED, Object
from llm_policies.values import Doubt, Value

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
    """`Deployment/llm/chat`, with `*` for any text within a part; kinds without namespace have two parts, and `*` alone
    is every object."""

    reason: str
    owner: str
    until: datetime.date
    """The last day."""

    def covers(self, rule: str, item: Object) -> bool:
        """Whether `rule` is excepted for `item`, expired or not."""
        return rule == self.rule and (self.object == "*" or _fits(item.id, self.object))

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
        texts = {key: str(said[key]).strip() for key in _KEYS if key not in lacking}
        wrong = [*_wrong(path, texts)]
        mistakes += wrong
        if not (lacking or wrong):
            found.append(_exception(texts))
    return found


def annotated(item: Object, mistakes: list[str | Doubt]) -> Iterator[PolicyException]:
    """The exceptions that an object's own annotations make; what is wrong is added to `mistakes`."""
    try:
        annotations = item.properties.get("metadata", "annotations").pairs()
    except Doubt as doubt:
        mistakes.append(doubt)
        return
    for key, value in annotations:
        is_meant = key.startswith(ANNOTATION)
        if not is_meant and value.is_unknown:
            continue
        try:
            text = value.text() or ""
            made = _of_annotation(item, key, value, text) if is_meant else None
        except Doubt as doubt:
            mistakes.append(doubt)
            continue
        if isinstance(made, PolicyException):
            yield made
        elif made is not None:
            mistakes.append(made)


def _of_annotation(item: Object, key: str, value: Value, text: str) -> PolicyException | str:
    """The exception that an annotation makes, or why it is none."""
    if value.is_secret and not item.properties.get("metadata", "annotations").is_secret:
        return f"{value.path}: is a secret, so nobody could read the reason, and it excepts nothing. Write it openly."
    match = _ANNOTATED.fullmatch(text.strip())
    if match is None:
        raise value.malformed("'until YYYY-MM-DD, owner NAME: reason', so it excepts nothing")
    until, owner, reason = (part.strip() for part in match.groups())
    wrong = [*_wrong(value.path, {"reason": reason, "until": until})]
    own = {"rule": key.removeprefix(ANNOTATION), "object": item.id}
    return wrong[0] if wrong else _exception({**own, "reason": reason, "owner": owner, "until": until})


def _wrong(path: str, said: Mapping[str, str]) -> Iterator[str]:
    """Why what is said of an exception, in whole or in part, makes none."""
    if len(reason := said.get("reason", "")) < _SHORTEST_REASON and "reason" in said:
        yield f"{path}: {reason!r} is no reason that anyone could judge; write a sentence."
    try:
        datetime.date.fromisoformat(said.get("until", "2027-06-30"))
    except ValueError:
        yield f"{path}: {said['until']!r} is not a day; write it as 2027-06-30."
    if not _is_pattern(pattern := said.get("object", "*")):
        yield (
            f"{path}.object: {pattern!r} is no object's, so it excepts nothing. Write Kind/namespace/name, Kind/name "
            "of a kind without namespace, or * for all; within a part * is any text."
        )


def _exception(said: Mapping[str, str]) -> PolicyException:
    """What is said, with nothing wrong in it."""
    until = datetime.date.fromisoformat(said["until"])
    return PolicyException(
        rule=said["rule"], object=said["object"], reason=said["reason"], owner=said["owner"], until=until
    )


def _fits(id_: str, pattern: str) -> bool:
    """Whether each part of an object's id has the form of the pattern's."""
    parts, forms = id_.split("/"), pattern.split("/")
    return len(parts) == len(forms) and all(map(fnmatchcase, parts, forms))


def _is_pattern(pattern: str) -> bool:
    """Whether some object may have the form."""
    kind, *rest = pattern.split("/")
    parts = {1, 2} if "*" in kind else {1 if kind in CLUSTER_SCOPED else 2}
    return pattern == "*" or len(rest) in parts
