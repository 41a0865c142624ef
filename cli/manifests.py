"""Manifests as they are written, for people to be shown the line: YAML as kubectl reads it, and JSON."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO

import yaml
from llm_policies.values import SIGNATURE, UNKNOWNS

ENDINGS = (".yaml", ".yml", ".json")

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LARGEST = 64 * 2**20
"""Bytes of one file; a cluster's whole list of CRDs has a tenth of it."""

_MOST_VALUES = 1_000_000
"""Of one document, aliases counted: aliases of aliases could make any number of them."""

_DEEPEST = 100
_DOCUMENT = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
"""Nothing else begins so at the margin, not even within a block of text; kubectl divides files by it, too."""

_TEMPLATE = re.compile(r"\{\{-?\s*(?:[.$\"(]|if |range |with |include |template |define |toYaml |/\*)")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is written for one path of a document."""

    line: int
    text: str | None
    """Of a text, number or truth value; None of a mapping or a list."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Manifest:
    """One document that says of itself that it is a Kubernetes object."""

    file: str
    data: Mapping[str, Any]
    text: str
    first_line: int
    """Of `text` in the file."""

    @cached_property
    def line(self) -> int:
        """Where the object begins, after remarks."""
        return _first_written(self.text, self.first_line)

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Where each part stands, by the path that messages have, e.g. `spec.ports[0].name`; the object's own is ''."""
        try:
            node = yaml.compose(self.text, Loader=_LOADER)
        except yaml.YAMLError:
            node = None  # JSON with what YAML does not know, such as halves of a character
        found = {"": Part(line=self.line, text=None)}
        if node is not None:
            _collect(node, "", self.first_line, found)
        return found


def _first_written(text: str, first_line: int) -> int:
    written = enumerate(text.splitlines(), start=first_line)
    return next((number for number, line in written if line.strip() not in ("", "---") and line[0] != "#"), first_line)


@dataclass(frozen=True, kw_only=True)
class Skipped:
    """What is no object of Kubernetes, as a chart's values."""

    file: str
    line: int
    why: str


@dataclass(frozen=True, kw_only=True)
class Unreadable:
    """What could not be looked at, so that nobody may take it for clean."""

    file: str
    line: int | None
    why: str

    def __str__(self) -> str:
        """As compilers tell it."""
        return f"{self.file}{'' if self.line is None else f':{self.line}'}: {self.why}"


Found = Manifest | Skipped | Unreadable


def read(paths: list[str], stdin: BinaryIO) -> Iterator[Found]:
    """Every document of files, of folders with all below them, and of `stdin` for `-`; one after the other."""
    for path in paths:
        if path == "-":
            yield from _of_stream(stdin, "<stdin>")
            continue
        files = _within(Path(path)) if Path(path).is_dir() else [Path(path)]
        if not files:
            yield Unreadable(file=path, line=None, why=f"has no file that ends in {', '.join(ENDINGS)}.")
        for file in files:
            try:
                with file.open("rb") as stream:
                    yield from _of_stream(stream, file.as_posix())
            except OSError as error:
                yield Unreadable(file=file.as_posix(), line=None, why=f"cannot be read: {error.strerror}.")


def _within(folder: Path) -> list[Path]:
    """Manifests of a folder and those below it, hidden ones left out."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in sorted(files) if name.endswith(ENDINGS) and not name.startswith(".")]
    return found


def _of_stream(stream: BinaryIO, file: str) -> Iterator[Found]:
    raw = stream.read(_LARGEST + 1)
    if len(raw) > _LARGEST:
        yield Unreadable(file=file, line=None, why=f"is larger than {_LARGEST // 2**20} MiB. Divide it.")
        return
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        yield Unreadable(file=file, line=line, why="is not UTF-8, which Kubernetes asks for.")
        return
    yield from of_text(text, file)


def of_text(text: str, file: str) -> Iterator[Found]:
    """Every document of a file's text."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            data = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
        except _Wrong as wrong:
            yield Unreadable(file=file, line=None, why=str(wrong))
            return
        except RecursionError:
            yield Unreadable(file=file, line=None, why="has more levels within each other than any object.")
            return
        except ValueError:
            pass  # YAML may begin so, too
        else:
            if _is_too_deep(data):
                yield Unreadable(file=file, line=None, why=f"has more than {_DEEPEST} levels within each other.")
                return
            # A tab is no part of a text in JSON, and YAML does not take one between texts.
            yield _judged(data, file, text.replace("\t", " "), 1)
            return
    begins = [0, *(match.start() for match in _DOCUMENT.finditer(text) if match.start())]
    line = 1
    for begin, end in zip(begins, [*begins[1:], len(text)], strict=True):
        part = text[begin:end]
        yield from _of_document(part, file, line)
        line += part.count("\n")


def _of_document(text: str, file: str, first_line: int) -> Iterator[Found]:
    if all(line.lstrip()[:1] in ("", "#", "%") or line.strip() == "---" for line in text.splitlines()):
        return  # nothing but remarks and directives
    try:
        _check_depth(text)
        loader = _LOADER(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                data = None if node is None else _Reader().value(node)
                if data is not None:
                    yield _judged(data, file, text, first_line)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or "it has a character that YAML does not allow"
        hint = " It looks like a chart's template: give what `helm template` prints." if _TEMPLATE.search(text) else ""
        line = first_line + min(mark.line if mark is not None else 0, max(0, len(text.splitlines()) - 1))
        yield Unreadable(file=file, line=line, why=f"is not YAML: {why}.{hint}")
    except _Wrong as wrong:
        yield Unreadable(file=file, line=first_line + wrong.line, why=str(wrong))


def _judged(data: Any, file: str, text: str, first_line: int) -> Found:
    """Whether a document is an object of Kubernetes."""
    first = _first_written(text, first_line)
    kind = data.get("kind") if isinstance(data, dict) else None
    if kind is None or ("apiVersion" not in data and "metadata" not in data and "spec" not in data):
        return Skipped(file=file, line=first, why="no Kubernetes object: it has no kind and apiVersion")
    if not isinstance(kind, str) or not isinstance(data.get("apiVersion"), str):
        return Unreadable(file=file, line=first, why="kind and apiVersion must both be texts. Correct them.")
    return Manifest(file=file, data=data, text=text, first_line=first_line)


def plain(text: str) -> Any:
    """What the only document of `text` says, with nothing said twice; None where there is none.

    Raises:
        ValueError: it cannot be read; the message says why, and in which line.
    """
    try:
        _check_depth(text)
        node = yaml.compose(text, Loader=_LOADER)
        return None if node is None else _Reader().value(node)
    except yaml.YAMLError as error:
        raise ValueError(f"is not YAML: {' '.join(str(error).split())}.") from None
    except _Wrong as wrong:
        raise ValueError(f"line {wrong.line + 1}: {wrong}") from None


class _Wrong(Exception):
    """A document that may not be taken for what it seems; the message says why."""

    def __init__(self, why: str, line: int = 0) -> None:
        super().__init__(why)
        self.line = line
        """Counted from 0, in the document."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A mapping of JSON, in which nothing is written twice and nothing claims to come from Pulumi."""
    made: dict[str, Any] = {}
    for key, value in pairs:
        if key in made:
            raise _Wrong(f"{key!r} is written twice in one mapping, so one of the two would be lost. Take one out.")
        if key == SIGNATURE or (isinstance(value, str) and value in UNKNOWNS):
            raise _Wrong(_FOREIGN)
        made[key] = value
    return made


def _no_number(text: str) -> Any:
    raise _Wrong(f"{text} is no number in JSON.")


_FOREIGN = "has a mark by which Pulumi tells secrets and unknowns, which no manifest has. Take it out."


def _check_depth(text: str) -> None:
    """Look at the levels before YAML's library goes through them, which it does by recursion in C."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = event.start_mark.line if event.start_mark is not None else 0
            raise _Wrong(f"has more than {_DEEPEST} levels within each other.", line)


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
            _Wrong: it is too large, has no end, or says something twice.
        """
        self._values += 1
        if self._values > _MOST_VALUES:
            raise _Wrong(f"has more than {_MOST_VALUES} values, aliases counted.", node.start_mark.line)
        if isinstance(node, yaml.ScalarNode):
            value = _scalar(node)
            if isinstance(value, str) and value in UNKNOWNS:
                raise _Wrong(_FOREIGN, node.start_mark.line)
            return value
        if len(self._within) >= _DEEPEST or any(node is outer for outer in self._within):
            raise _Wrong("has an alias of what it stands in, or too many levels by aliases.", node.start_mark.line)
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
                raise _Wrong("has a key that is a list or a mapping; Kubernetes knows texts alone.", line)
            if key.value == "<<" and not key.style:
                for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    if not isinstance(other, yaml.MappingNode):
                        raise _Wrong("merges with << what is no mapping.", line)
                    merged = {**self.value(other), **merged}
                continue
            if key.value in own:
                raise _Wrong(f"{key.value!r} is written again, so one of the two would be lost. Take one out.", line)
            if key.value == SIGNATURE:
                raise _Wrong(_FOREIGN, line)
            own[key.value] = self.value(value)
        return {**merged, **own}


def _collect(node: yaml.Node, path: str, first_line: int, found: dict[str, Part]) -> None:
    """Put the parts of `node` into `found`; what comes by an alias has the line where it is written."""
    if len(found) > _MOST_VALUES:
        return
    pairs: list[tuple[yaml.Node, str, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and not key.style:
                for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    _collect(other, path, first_line, found)
            elif isinstance(key, yaml.ScalarNode):
                pairs.append((key, f"{path}.{key.value}" if path else key.value, value))
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(item, f"{path}[{index}]", item) for index, item in enumerate(node.value)]
    for mark, below, value in pairs:
        text = value.value if isinstance(value, yaml.ScalarNode) else None
        found[below] = Part(line=first_line + mark.start_mark.line, text=text)
        _collect(value, below, first_line, found)


def _whole(text: str) -> int:
    """As Go's strconv.ParseInt with base 0, which kubectl's YAML library uses."""
    digits = text.replace("_", "")
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567"
    return sign * int(f"0o{digits[1:]}" if octal else digits, 0)


_SCALARS: tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...] = (
    (re.compile(r"|~|null|Null|NULL"), lambda _text: None),
    (re.compile(r"true|True|TRUE|y|Y|yes|Yes|YES|on|On|ON"), lambda _text: True),
    (re.compile(r"false|False|FALSE|n|N|no|No|NO|off|Off|OFF"), lambda _text: False),
    (re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)"), _whole),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: -math.inf if text[0] == "-" else math.inf),
    (re.compile(r"\.(nan|NaN|NAN)"), lambda _text: math.nan),
)
"""What an unquoted text may be besides a text, as kubectl's library (sigs.k8s.io/yaml, YAML 1.1 in part) has it.

Pulumi's stack files are YAML 1.2 (settings/stack_file.py): there `yes` is a text.
"""


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
