"""A stack file as it is written: its data as Pulumi reads it, and on which line each part stands."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from settings.beside import beside_config
from settings.problems import SettingsError, nearest
from settings.shapes import fields, key_text
from settings.source import Source
from settings.stack import Settings
from settings.yaml_scalars import TEXT, Loader, readings, scalar

PROJECT = "llm-serving"

_MOST_NODES = 200_000
"""More than any stack has; aliases of aliases could make any number of them."""

_DEEPEST = 50
_MOST_FILES = 10
_EXACT = 2**53
_DATE = re.compile(r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})(?:[Tt ]([0-9]{1,2}:[0-9]{1,2}:[0-9]{1,2})[^ ]*)?")
_MERGE = "<<"
_READINGS = readings(true="true|True|TRUE", false="false|False|FALSE")


def read_source(file: Path) -> Source:
    """What `file` says, as Pulumi reads it: YAML 1.2, in which `yes` and `12:30` are texts.

    Raises:
        SettingsError: it cannot be read, is not YAML, or is no stack's.
    """
    reader = _Reader()
    text = ""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        raw = reader.stack(text)
    except OSError as error:
        there = f" {_stack_files(file)}" if isinstance(error, FileNotFoundError) else ""
        raise SettingsError(file.name, [f"cannot be read: {error.strerror}.{there}"]) from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            file.name, [f"is not YAML: byte {error.start + 1} is not UTF-8. Save the file in that encoding."]
        ) from None
    except yaml.YAMLError as error:
        problem, lines = _not_yaml(error, text)
        raise SettingsError(file.name, [problem], lines) from None
    except _Unreadable as problem:
        raise SettingsError(file.name, [str(problem)]) from None
    return Source(name=file.name, raw=raw, unclear=tuple(reader.problems), lines=reader.lines)


def _not_yaml(error: yaml.YAMLError, text: str) -> tuple[str, dict[str, int]]:
    """What is wrong, and what is most often meant; and the line of that."""
    said = " ".join(str(getattr(error, "problem", None) or error).split())
    mark = getattr(error, "problem_mark", None)
    what = f"is not YAML in column {mark.column + 1}" if mark else "is not YAML"
    line = text.splitlines()[mark.line] if mark and mark.line < len(text.splitlines()) else ""
    hint = ""
    if "\t" in line[: len(line) - len(line.lstrip())]:
        hint = " A tab cannot indent: write spaces."
    elif "escape" in said:
        hint = " In double quotes a backslash begins an escape: write single quotes."
    elif "mapping values are not allowed" in said or "did not find expected key" in said:
        hint = " Look at the indentation, and put texts with ': ' in quotes."
    elif "alias" in said or "alphabetic" in said:
        hint = " A text that begins with '*' or '&' stands in quotes."
    return f"{what}: {said}.{hint}", {what: mark.line + 1} if mark else {}


def _root_and_config(text: str) -> tuple[yaml.MappingNode, yaml.MappingNode]:
    """The whole file, and the one mapping under its `config:`."""
    _check_events(text)
    root = yaml.compose(text, Loader=Loader)
    if root is None:
        raise _Unreadable(f"is empty; write 'config:' with keys such as '{PROJECT}:models' below it.")
    pairs: list[tuple[yaml.Node, yaml.Node]] = root.value if isinstance(root, yaml.MappingNode) else []
    sections = [(key.start_mark.line + 1, value) for key, value in pairs if key.value == "config"]
    if len(sections) > 1:
        again = ", ".join(str(line) for line, _ in sections)
        raise _Unreadable(
            f"has several mappings 'config:' (lines {again}), of which all but one would be lost. Put them together."
        )
    if not isinstance(root, yaml.MappingNode) or not sections or not isinstance(sections[0][1], yaml.MappingNode):
        raise _Unreadable(f"has no mapping 'config:' with keys such as '{PROJECT}:models'{_config_meant(pairs)}.")
    return root, sections[0][1]


def _config_meant(pairs: list[tuple[yaml.Node, yaml.Node]]) -> str:
    keys = [str(key.value) for key, _ in pairs]
    if any(key.startswith(f"{PROJECT}:") or key in fields(Settings) for key in keys):
        return "; its keys stand at the beginning of their lines: indent them below 'config:'"
    near = nearest("config", keys)
    return f"; {key_text(near)!r} is none" if near and near != "config" else ""


class _Unreadable(Exception):
    """The file is no stack's; the message says why."""


def _check_events(text: str) -> None:
    """Look at the levels before YAML's library goes through them, which it does by recursion in C; and for the end."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _Unreadable(f"has more than {_DEEPEST} levels within each other; that is no stack's.")
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            mark = event.start_mark
            raise _Unreadable(
                f"has a second document (---) in line {mark.line + 1 if mark else '?'}, which Pulumi does not read. "
                "Put it in a file of its own, or take the '---' out."
            )


def _stack_files(file: Path) -> str:
    """Those beside `file`, which is not there."""
    folder = file.parent.absolute()
    there = sorted(other.name for other in folder.glob("Pulumi.*.yaml"))
    more = f" and {len(there) - _MOST_FILES} more" if len(there) > _MOST_FILES else ""
    return f"Stack files in {folder}: {', '.join(there[:_MOST_FILES]) or 'none'}{more}."


class _Reader:
    """From YAML's nodes to plain data; collects lines and what is written twice."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[str] = []
        self._nodes = 0
        self._within: list[yaml.Node] = []

    def stack(self, text: str) -> dict[str, Any]:
        """The settings of this project in a file that says `text`."""
        root, config = _root_and_config(text)
        for path, line, problem in beside_config(root, PROJECT):
            self.lines[path] = line
            self.problems.append(problem)
        return dict(self._own(config))

    def _own(self, config: yaml.MappingNode) -> Iterator[tuple[str, Any]]:
        """The keys of this project; Pulumi takes one without a namespace for one of the project's."""
        seen: dict[str, int] = {}
        for key, value in config.value:
            written = key.value if isinstance(key, yaml.ScalarNode) else _kind(key)
            name = written.removeprefix(f"{PROJECT}:")
            if ":" in name:
                self._misspelt(written, key)
                continue
            if name == PROJECT or (name == _MERGE and not key.style):
                self.lines[name] = key.start_mark.line + 1
                what = "is a level of its own" if name == PROJECT else "merges another mapping"
                self.problems.append(f"{name}: {what}, and 'config:' has none. Write keys such as '{PROJECT}:models:'.")
                continue
            if self._first(name, key_text(name), key, seen):
                yield name, self._alone(value, key_text(name))

    def _misspelt(self, written: str, key: yaml.Node) -> None:
        """A key of another project is none of ours, unless that was meant to be this one."""
        namespace, _, name = written.partition(":")
        if namespace != PROJECT and nearest(namespace, [PROJECT]):
            path = key_text(written)
            self.lines[path] = key.start_mark.line + 1
            self.problems.append(
                f"{path}: is another project's, so it would be passed over; did you mean '{PROJECT}:{key_text(name)}'?"
            )

    def _alone(self, node: yaml.Node, path: str) -> Any:
        """The value of a top-level key; a single number or truth value is a text by the time Pulumi hands it over."""
        value = self._value(node, path)
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, float):
            return str(int(value)) if value.is_integer() and abs(value) < _EXACT else repr(value)
        return str(value) if isinstance(value, int) and abs(value) < _EXACT else value

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
            if not node.style and node.tag != TEXT and (date := _as_date(node.value)):
                self.problems.append(
                    f"{path}: {node.value} is a date to Pulumi, which makes {date!r} of it. Write it in quotes: "
                    f"'{node.value}'."
                )
                return date
            return scalar(node, _READINGS)
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
            at = f"{path}.{key_text(key.value)}"
            if self._first(key.value, at, key, seen):
                result[key.value] = self._value(value, at)
        return {**merged, **result}


def _kind(node: yaml.Node) -> str:
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _as_date(text: str) -> str | None:
    """What Pulumi makes of `text` where it is a date to gopkg.in/yaml.v3; None where it stays a text."""
    match = _DATE.fullmatch(text)
    try:
        return f"{datetime.date(*map(int, match.groups()[:3]))} {match[4] or '00:00:00'} +0000 UTC" if match else None
    except ValueError:
        return None
