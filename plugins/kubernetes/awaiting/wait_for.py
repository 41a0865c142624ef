"""The annotation pulumi.com/waitFor: JSONPath expressions and conditions in place of a kind's own check."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jsonpath_rfc9535
from jsonpath_rfc9535 import JSONPathError, JSONPathQuery

from plugins.kubernetes.awaiting.progress import TIMED_OUT, Check, Progress, Related
from plugins.kubernetes.objects import Object, pluck

_BRACKETS = re.compile(r"\{\s*(.*?)\s*\}")


def parse(value: str) -> Check:
    """The check that an annotation's value asks for.

    Args:
        value: `jsonpath={.path}`, `jsonpath={.path}=value`, `condition=Type`, `condition=Type=Status`, or a JSON list
            of such, which must all hold.

    Raises:
        ValueError: it is none of these; the message says why.
    """
    try:
        expressions = json.loads(value)
    except ValueError:
        expressions = None
    if not isinstance(expressions, list) or not all(isinstance(item, str) for item in expressions):
        expressions = [value]
    if not expressions:
        raise ValueError("at least one condition must be specified")
    looks = [_look(expression) for expression in expressions]

    def check(obj: Object, _last: Object | None, _related: Related) -> Progress:
        for look in looks:
            progress = look(obj)
            if not progress.ready:
                break
        return progress

    return check


def _look(expression: str) -> Callable[[Object], Progress]:
    if expression.startswith("jsonpath="):
        return _Path.parse(expression.removeprefix("jsonpath=")).look
    if expression.startswith("condition="):
        kind, _, status = expression.removeprefix("condition=").partition("=")
        return _Condition(kind, status if expression.count("=") > 1 else "True").look
    raise ValueError(f'expected a "jsonpath=" or "condition=" prefix, got {json.dumps(expression)}')


def _waiting(message: str) -> Progress:
    return Progress(infos=[message], errors=[message], timed_out=TIMED_OUT)


@dataclass(frozen=True)
class _Condition:
    """`status.conditions` has this type with this status, in any case, for the object's last generation."""

    kind: str
    status: str

    def look(self, obj: Object) -> Progress:
        conditions = pluck(obj, "status", "conditions")
        if not isinstance(conditions, list):
            return _waiting("Has no .status.conditions")
        for condition in conditions:
            if not isinstance(condition, dict):
                continue
            if str(condition.get("type", "")).casefold() != self.kind.casefold() or "status" not in condition:
                continue
            wanted = pluck(obj, "metadata", "generation")
            seen = condition.get("observedGeneration", pluck(obj, "status", "observedGeneration"))
            if _behind(seen, wanted):
                return _waiting(f"Generation {seen} is less than expected {wanted}")
            if str(condition["status"]).casefold() == self.status.casefold():
                return Progress(ready=True)
            return _waiting(f"Resource has condition {self.kind}={condition['status']} (want {self.status})")
        return _waiting(f"Waiting for condition {self.kind}={self.status}")


@dataclass(frozen=True)
class _Path:
    """A JSONPath selects something, or something of this value."""

    path: str
    query: JSONPathQuery
    value: str

    @staticmethod
    def parse(text: str) -> _Path:
        # `=` parts the path from the value, `==` belongs to the path.
        path, *values = re.split(r"(?<!=)=(?!=)", text)
        if len(values) > 1:
            raise ValueError(f"format should be {{.path}}=value or {{.path}}, got {json.dumps(text)}")
        if values == [""]:
            raise ValueError(f"{path}= requires a value")
        if len(path) > 1 and path.startswith("'") and path.endswith("'"):
            raise ValueError(f"{path} should omit shell quotes")
        within = _BRACKETS.search(path)
        if within is None:
            raise ValueError(f"{path} should be wrapped in brackets {{ ... }}")
        bare = within[1] if within[1].startswith("$") else f"${within[1]}"
        try:
            return _Path(path, jsonpath_rfc9535.compile(bare), "".join(values))
        except JSONPathError as error:
            raise ValueError(f"parsing {json.dumps(path)}: {error}") from error

    def look(self, obj: Object) -> Progress:
        shown = f"{self.path}={self.value}" if self.value else self.path
        wanted, seen = pluck(obj, "metadata", "generation"), pluck(obj, "status", "observedGeneration")
        if _behind(seen, wanted):
            return _waiting(f"Waiting for {shown}: generation {wanted} is not observed yet")
        selected = self.query.find(obj)
        if not selected:
            return _waiting(f"{self.path} selected nothing")
        found = selected[0].value
        if isinstance(found, list | dict):
            if not self.value:
                return Progress(ready=True, infos=[f"Found {shown}"])
            problem = f"{json.dumps(self.path)} has a non-primitive value ({json.dumps(found)})"
            return Progress(infos=[f"Waiting for {shown}"], timed_out=problem)
        if not self.value or self.value == _text(found):
            return Progress(ready=True, infos=[f"Found {shown}"])
        return _waiting(f"Waiting for {shown} (found {json.dumps(_text(found))})")


def _behind(seen: Any, wanted: Any) -> bool:
    """Whether a generation is not observed yet; a controller that writes no number says nothing about it."""
    return isinstance(seen, int) and isinstance(wanted, int) and seen < wanted


def _text(value: Any) -> str:
    """A value as the official provider, a Go program, compares it."""
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)
