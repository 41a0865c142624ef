"""Text as kubectl reads it, YAML and JSON, as plain data: with nothing said twice, within limits, without a crash."""

from __future__ import annotations

import json
from typing import Any

import yaml
from llm_policies.values import SIGNATURE, UNKNOWNS

from settings.yaml_scalars import Loader, readings, scalar

MOST_VALUES = 1_000_000
"""Of one document, aliases counted: aliases of aliases could make any number of them."""

_DEEPEST = 100
_READINGS = readings(true="true|True|TRUE|y|Y|yes|Yes|YES|on|On|ON", false="false|False|FALSE|n|N|no|No|NO|off|Off|OFF")
"""As kubectl's library (sigs.k8s.io/yaml, YAML 1.1 in part). To Pulumi's, `yes` is a text."""

_FOREIGN = "has a mark by which Pulumi tells secrets and unknowns, which no manifest has. Take it out."


class Wrong(Exception):
    """A document that may not be taken for what it seems; the message says why."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.line = line
        """Counted from 0, in the document."""


def plain(text: str) -> Any:
    """What the only document of `text` says, with nothing said twice; None where there is none.

    Raises:
        ValueError: it cannot be read; the message says why, and in which line.
    """
    try:
        check_depth(text)
        node = yaml.compose(text, Loader=Loader)
        return None if node is None else yaml_value(node)
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}.") from None
    except Wrong as wrong:
        raise ValueError(f"line {wrong.line + 1}: {wrong}") from None


def json_value(text: str) -> Any:
    """What a text in JSON says.

    Raises:
        Wrong: it may not be taken for what it seems.
        ValueError: it is no JSON.
    """
    try:
        data = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except RecursionError:
        raise Wrong("has more levels within each other than any object.") from None
    if _is_too_deep(data):
        raise Wrong(f"has more than {_DEEPEST} levels within each other.")
    return data


def yaml_value(node: yaml.Node) -> Any:
    """What a node of YAML stands for.

    Raises:
        Wrong: it is too large, has no end, or says something twice.
    """
    return _Reader().value(node)


def check_depth(text: str) -> None:
    """Look at the levels before YAML's library goes through them, which it does by recursion in C."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = event.start_mark.line if event.start_mark is not None else 0
            raise Wrong(f"has more than {_DEEPEST} levels within each other.", line)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON, in which nothing is written twice and nothing claims to come from Pulumi."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise Wrong(f"{key!r} is written twice in one mapping, so one of the two would be lost. Take one out.")
        if key == SIGNATURE or (isinstance(value, str) and value in UNKNOWNS):
            raise Wrong(_FOREIGN)
        made[key] = value
    return made


def _no_number(text: str) -> Any:
    raise Wrong(f"{text} is no number in JSON.")


def _is_too_deep(data: Any) -> bool:
    level = [data]
    for _ in range(_DEEPEST + 1):
        level = [
            below
            for value in level
            if isinstance(value, dict | list)
            for below in (value.values() if isinstance(value, dict) else value)
        ]
    return bool(level)


class _Reader:
    """From YAML's nodes to plain data."""

    def __init__(self) -> None:
        self._values = 0
        self._within: list[yaml.Node] = []

    def value(self, node: yaml.Node) -> Any:
        """What a node stands for.

        Raises:
            Wrong: it is too large, has no end, or says something twice.
        """
        self._values += 1
        if self._values > MOST_VALUES:
            raise Wrong(f"has more than {MOST_VALUES} values, aliases counted.", node.start_mark.line)
        if isinstance(node, yaml.ScalarNode):
            value = scalar(node, _READINGS)
            if isinstance(value, str) and value in UNKNOWNS:
                raise Wrong(_FOREIGN, node.start_mark.line)
            return value
        if len(self._within) >= _DEEPEST or any(node is outer for outer in self._within):
            raise Wrong("has an alias of what it stands in, or too many levels by aliases.", node.start_mark.line)
        self._within.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node)
            return [self.value(item) for item in node.value]
        finally:
            self._within.pop()

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line
            if not isinstance(key, yaml.ScalarNode):
                raise Wrong("has a key that is a list or a mapping; Kubernetes knows texts alone.", line)
            if key.value == "<<" and not key.style:
                for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(other, yaml.MappingNode):
                        raise Wrong("merges with << what is no mapping.", line)
                    merged = {**self.value(other), **merged}
                continue
            if key.value in own:
                raise Wrong(f"{key.value!r} is written again, so one of the two would be lost. Take one out.", line)
            if key.value == SIGNATURE:
                raise Wrong(_FOREIGN, line)
            own[key.value] = self.value(value)
        return {**merged, **own}
