"""Manifests as they are written, for people to be shown the line: files, folders and standard input, by document."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import yaml

from cli.kubectl_yaml import MOST_VALUES, Wrong, check_depth, json_value, yaml_value
from settings.yaml_scalars import Loader

ENDINGS = (".yaml", ".yml", ".json")
STDIN = "<stdin>"

_LARGEST = 64 * 2**20
"""Bytes of one file; a cluster's whole list of CRDs has a tenth of it."""

_DOCUMENT = re.compile(r"^---(?=[ \t\r\n]|\Z)", re.MULTILINE)
"""Nothing else begins so at the margin, not even within a block of text; kubectl divides files by it, too."""

_NO_FILE = "is a pipe or a device, to which nobody may ever write. Name it by itself."

_SOURCE = re.compile(r"^# Source: (\S.*?)\s*$", re.MULTILINE)
_TEMPLATE = re.compile(r"\{\{-?\s*(?:[.$\"(]|if |range |with |include |template |define |toYaml |/\*)")


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is written for one path of a document."""

    line: int
    text: str | None
    """Of a text, number or truth value; None of a mapping or a list."""

    below: dict[str, Part] = field(default_factory=dict)
    """By key, in a list by index: `[0]`."""


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
    def source(self) -> str | None:
        """The template that Helm has made it of."""
        found = _SOURCE.search(self.text)
        return None if found is None else found[1]

    @cached_property
    def parts(self) -> dict[str, Part]:
        """Where each part stands, by the path that messages have, e.g. `spec.ports[0].name`; the object's own is ''."""
        try:
            node = yaml.compose(self.text, Loader=Loader)
        except yaml.YAMLError:
            node = None  # JSON with what YAML does not know, such as halves of a character
        found = {"": (whole := Part(line=self.line, text=None))}
        if node is not None:
            _collect(node, "", whole, self.first_line, found)
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
    """Every document of files, of folders with all below them, and of `stdin` for `-`; one after the other.

    A file counts once, by however many paths and links it is given: its objects would stand against themselves.
    """
    seen: set[str] = set()
    for path in paths:
        if path == "-":
            yield from _of_stream(stdin, STDIN)
            continue
        is_folder = os.path.isdir(path)  # noqa: PTH112  # Path's own raises where one may not look
        files = list(_within(Path(path))) if is_folder else [Path(path)]
        if not files:
            yield Unreadable(file=path, line=None, why=f"has no file that ends in {', '.join(ENDINGS)}.")
        for file in files:
            if isinstance(file, Unreadable):
                yield file
            elif (real := os.path.realpath(file)) not in seen:
                seen.add(real)
                yield from _of_file(file)


def _within(folder: Path) -> Iterator[Path | Unreadable]:
    """Manifests of a folder and those below it, also by links; hidden ones are left out."""
    folders = [folder]
    seen: set[str] = set()
    while folders:
        here = folders.pop()
        if (real := os.path.realpath(here)) in seen:
            continue  # links may lead in circles
        seen.add(real)
        try:
            paths = sorted(path for path in here.iterdir() if not path.name.startswith("."))
        except OSError as error:
            yield _unreadable(here, error)
            continue
        below: list[Path] = []
        for path in paths:
            try:
                mode = path.stat().st_mode
            except OSError as error:
                # A link to nothing is no folder. Of what else cannot be looked at nobody knows.
                if path.name.endswith(ENDINGS) or not isinstance(error, FileNotFoundError):
                    yield _unreadable(path, error)
                continue
            if stat.S_ISDIR(mode):
                below.append(path)
            elif path.name.endswith(ENDINGS):
                yield path if stat.S_ISREG(mode) else Unreadable(file=path.as_posix(), line=None, why=_NO_FILE)
        folders += reversed(below)


def _of_file(file: Path) -> Iterator[Found]:
    try:
        with file.open("rb") as stream:
            yield from _of_stream(stream, file.as_posix())
    except OSError as error:
        yield _unreadable(file, error)


def _unreadable(path: Path, error: OSError) -> Unreadable:
    return Unreadable(file=path.as_posix(), line=None, why=f"cannot be read: {error.strerror}.")


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
            data = json_value(text)
        except Wrong as wrong:
            yield Unreadable(file=file, line=None, why=str(wrong))
            return
        except ValueError:
            pass  # YAML may begin so, too
        else:
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
        check_depth(text)
        loader = Loader(text)
        try:
            while loader.check_node():
                node = loader.get_node()
                data = None if node is None else yaml_value(node)
                if data is not None:
                    yield _judged(data, file, text, first_line)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        why = getattr(error, "problem", None) or "it has a character that YAML does not allow"
        hint = " It looks like a chart's template: give what `helm template` prints." if _TEMPLATE.search(text) else ""
        if why.startswith("found character") and mark is not None and "\t" in text.splitlines()[mark.line]:
            hint = " It is a tab: indent by blanks."
        line = first_line + min(mark.line if mark is not None else 0, max(0, len(text.splitlines()) - 1))
        yield Unreadable(file=file, line=line, why=f"is not YAML: {why}.{hint}")
    except Wrong as wrong:
        yield Unreadable(file=file, line=first_line + wrong.line, why=str(wrong))


def _judged(data: Any, file: str, text: str, first_line: int) -> Found:
    """Whether a document is an object of Kubernetes."""
    first = _first_written(text, first_line)
    kind = data.get("kind") if isinstance(data, dict) else None
    if _is_of_kustomize(data) or (kind is None and PurePath(file).stem == "kustomization"):
        return Skipped(file=file, line=first, why="of kustomize: check what `kubectl kustomize` makes of its folder")
    if kind is None or ("apiVersion" not in data and "metadata" not in data and "spec" not in data):
        return Skipped(file=file, line=first, why="no Kubernetes object: it has no kind and apiVersion")
    if "apiVersion" not in data:
        return Unreadable(file=file, line=first, why="has no apiVersion, so kubectl refuses it. Add it.")
    if not isinstance(kind, str) or not isinstance(data["apiVersion"], str):
        return Unreadable(file=file, line=first, why="kind and apiVersion must both be texts. Correct them.")
    return Manifest(file=file, data=data, text=text, first_line=first_line)


def _is_of_kustomize(data: Any) -> bool:
    return isinstance(data, dict) and str(data.get("apiVersion")).startswith("kustomize.config.k8s.io/")


def _collect(node: yaml.Node, path: str, part: Part, first_line: int, found: dict[str, Part]) -> None:
    """Put what is below `node` into its `part` and into `found`; what comes by an alias has the line of its own."""
    if len(found) > MOST_VALUES:
        return
    pairs: list[tuple[yaml.Node, str, str, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode) and key.value == "<<" and not key.style:
                for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    _collect(other, path, part, first_line, found)
            elif isinstance(key, yaml.ScalarNode):
                pairs.append((key, key.value, f"{path}.{key.value}" if path else key.value, value))
    elif isinstance(node, yaml.SequenceNode):
        pairs = [(item, f"[{index}]", f"{path}[{index}]", item) for index, item in enumerate(node.value)]
    for mark, name, where, value in pairs:
        text = value.value if isinstance(value, yaml.ScalarNode) else None
        below = Part(line=first_line + mark.start_mark.line, text=text)
        found[where] = part.below[name] = below
        _collect(value, where, below, first_line, found)
