"""A stack file as it is written: its data as Pulumi reads it, and on which line each part stands."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

from settings.problems import SettingsError
from settings.source import Source

PROJECT = "llm-serving"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MOST_NODES = 200_000
"""More than any stack has; aliases of aliases could make any number of them."""

_DEEPEST = 50
_MERGE = "<<"


def read_source(file: Path) -> Source:
    """What `file` says, as Pulumi reads it: YAML 1.2, in which `yes` and `12:30` are texts.

    Raises:
        SettingsError: it cannot be read, is not YAML, or says something twice.
    """
    reader = _Reader()
    try:
        raw = dict(reader.own(_config(file.read_bytes().decode())))
    except OSError as error:
        raise SettingsError(file.name, [f"cannot be read: {error.strerror}."]) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(file.name, [f"is not YAML: {' '.join(str(error).split())}."]) from None
    except _Unreadable as problem:
        raise SettingsError(file.name, [str(problem)]) from None
    if reader.problems:
        raise SettingsError(file.name, reader.problems, reader.lines)
    return Source(name=file.name, raw=raw, lines=reader.lines)


def _config(text: str) -> yaml.MappingNode:
    """The one mapping under `config:`."""
    _check_depth(text)
    root = yaml.compose(text, Loader=_LOADER)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    sections = [(key.start_mark.line + 1, value) for key, value in pairs if key.value == "config"]
    if len(sections) > 1:
        again = ", ".join(str(line) for line, _ in sections)
        raise _Unreadable(
            f"has several mappings 'config:' (lines {again}), of which all but one would be lost. Put them together."
        )
    if not sections or not isinstance(sections[0][1], yaml.MappingNode):
        raise _Unreadable(f"has no mapping 'config:' with keys such as '{PROJECT}:models'.")
    return sections[0][1]


class _Unreadable(Exception):
    """The file is no stack's; the message says why."""


def _check_depth(text: str) -> None:
    """Look at the levels before YAML's library goes through them, which it does by recursion in C."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _Unreadable(f"has more than {_DEEPEST} levels within each other; that is no stack's.")


class _Reader:
    """From YAML's nodes to plain data; collects lines and what is written twice."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[str] = []
        self._nodes = 0
        self._within: list[yaml.Node] = []

    def own(self, config: yaml.MappingNode) -> Iterator[tuple[str, Any]]:
        """The keys of this project; Pulumi takes one without a namespace for one of the project's."""
        seen: dict[str, int] = {}
        for key, value in config.value:
            name = str(key.value).removeprefix(f"{PROJECT}:")
            if ":" in name:
                continue
            if self._first(name, name, key, seen):
                # Pulumi hands a single number or truth value over as the text that it is written with.
                alone = isinstance(value, yaml.ScalarNode) and _scalar(value) is not None
                yield name, value.value if alone else self._value(value, name)

    def _first(self, name: str, path: str, key: yaml.Node, seen: dict[str, int]) -> bool:
        """Whether `name` is written for the first time; it is remembered and its line is kept."""
        line = key.start_mark.line + 1
        if name in seen:
            self.problems.append(
                f"{path}: is written again in line {line}, so one of the two would be lost without a word. Take one "
                "out, or give it another name."
            )
            return False
        seen[name] = line
        self.lines[path] = line
        return True

    def _value(self, node: yaml.Node, path: str) -> Any:
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise _Unreadable(f"has more than {_MOST_NODES} values, aliases counted; that is no stack's.")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node)
        if len(self._within) >= _DEEPEST:  # by aliases
            raise _Unreadable(f"has more than {_DEEPEST} levels within each other; that is no stack's.")
        if any(node is outer for outer in self._within):
            raise _Unreadable(f"{path}: is an alias of what it stands in, so it has no end. Write it out.")
        self._within.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self._item(item, f"{path}.{index}") for index, item in enumerate(node.value)]
            return self._mapping(node, path)
        finally:
            self._within.pop()

    def _item(self, node: yaml.Node, path: str) -> Any:
        self.lines[path] = node.start_mark.line + 1
        return self._value(node, path)

    def _mapping(self, node: yaml.Node, path: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _Unreadable(f"{path}: has a key that is not a text but {_kind(key)}; write 'name: value' pairs.")
            if key.value != _MERGE or key.style:
                own.append((key, value))
                continue
            for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if not isinstance(other, yaml.MappingNode):
                    raise _Unreadable(f"{path}: merges with << what is no mapping; write the alias of one.")
                merged = {**self._value(other, path), **merged}
        result: dict[str, Any] = {}
        seen: dict[str, int] = {}
        for key, value in own:  # after what is merged, since their lines count
            if self._first(key.value, f"{path}.{key.value}", key, seen):
                result[key.value] = self._value(value, f"{path}.{key.value}")
        return {**merged, **result}


def _kind(node: yaml.Node) -> str:
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _whole(text: str) -> int:
    """As Go's strconv.ParseInt with base 0, which Pulumi's YAML library uses."""
    digits = text.replace("_", "")
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567"
    return sign * int(f"0o{digits[1:]}" if octal else digits, 0)


_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _text: None),
    (re.compile(r"true|True|TRUE"), lambda _text: True),
    (re.compile(r"false|False|FALSE"), lambda _text: False),
    (re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)"), _whole),
    (
        re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"),
        float,
    ),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: -math.inf if text[0] == "-" else math.inf),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _text: math.nan),
)
"""What an unquoted text may be besides a text, as gopkg.in/yaml.v3 (resolve.go) has it."""


def _scalar(node: yaml.ScalarNode) -> Any:
    if node.style or not node.tag.startswith("tag:yaml.org,2002:"):
        return node.value
    for pattern, made in _SCALARS:
        if pattern.fullmatch(node.value):
            try:
                return made(node.value)
            except ValueError:  # `0x_`, or more digits than a number can have
                break
    return node.value
