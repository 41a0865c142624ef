"""The files that `assetPaths` and `archivePaths` name, as the outputs `assets` and `archive`.

The rules are those of the official plugin: every file below the folder is held against each pattern in turn, a pattern
that begins with `!` takes away again what those before it have found, and `**` may stand anywhere and matches anything.
"""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins._values import ARCHIVE, ASSET, SIGNATURE

Asset = dict[str, Any]

_EXACT = {"*": "[^/]*", "**": ".*", "?": "[^/]"}


class BadPattern(ValueError):
    """A pattern that means nothing; the message says why."""


def find(folder: str, patterns: Sequence[str]) -> dict[str, Asset]:
    """Files below `folder` that `patterns` name, as assets by their path in it.

    Raises:
        BadPattern: one of the patterns cannot be understood.
        OSError: a file cannot be read; one that is a link to a folder counts as one.
    """
    rules = [(pattern.startswith("!"), matcher(pattern.removeprefix("!"))) for pattern in patterns]
    found: dict[str, Asset] = {}
    for path in _files(folder):
        wanted = False
        for excludes, matches in rules:
            if matches(path):
                wanted = not excludes
        if wanted:
            file = Path(folder, path)
            found[path] = {SIGNATURE: ASSET, "hash": _hash(file.read_bytes()), "path": os.path.normpath(file)}
    return found


def archive(assets: Mapping[str, Asset]) -> dict[str, Any]:
    """One archive of `assets`, with the hash that the official plugin gives it: that of a tar file of them."""
    packed = b"".join(_packed(name, Path(assets[name]["path"]).read_bytes()) for name in sorted(assets))
    end = bytes(2 * tarfile.BLOCKSIZE)
    return {SIGNATURE: ARCHIVE, "assets": dict(assets), "hash": _hash(packed + end)}


def matcher(pattern: str) -> Callable[[str], bool]:
    """Tells whether a path is one that `pattern` means, in the syntax of github.com/gobwas/glob.

    Python's own globs, and those of the libraries on them, take `**` for whole folders only and know no `{a,b}`.

    Raises:
        BadPattern: a bracket or a brace has no end, or holds nothing.
    """
    expression, position, depth = "", 0, 0
    while position < len(pattern):
        character = pattern[position]
        position += 1
        if character == "\\":
            expression += re.escape(pattern[position : position + 1])
            position += 1
        elif character == "*" and pattern[position : position + 1] == "*":
            expression += _EXACT["**"]
            position += 1
        elif character in _EXACT:
            expression += _EXACT[character]
        elif character == "[":
            part, position = _characters(pattern, position)
            expression += part
        elif character == "{":
            expression, depth = f"{expression}(?:", depth + 1
        elif character == "}" and depth:
            expression, depth = f"{expression})", depth - 1
        elif character == "," and depth:
            expression += "|"
        else:
            expression += re.escape(character)
    if depth:
        raise BadPattern(f"{pattern}: a brace has no end")
    compiled = re.compile(expression, re.DOTALL)
    return lambda path: compiled.fullmatch(path) is not None


def _characters(pattern: str, start: int) -> tuple[str, int]:
    """The class of characters after a `[` at `start`: a range or a list, as a regular expression, and where it ends."""
    end = pattern.find("]", start)
    inside = pattern[start:end]
    negated = inside.startswith("!")
    inside = inside.removeprefix("!")
    if end < 0 or not inside:
        raise BadPattern(f"{pattern}: a bracket has no end or holds nothing")
    is_range = inside[1:2] == "-"
    if "\\" in inside or (is_range and (len(inside) != 3 or inside[2] < inside[0])):
        raise BadPattern(f"{pattern}: [{inside}] is neither a range (a-z) nor a list of characters (abc)")
    held = f"{re.escape(inside[0])}-{re.escape(inside[2])}" if is_range else re.escape(inside)
    return f"[{'^' if negated else ''}{held}]", end + 1


def _files(folder: str) -> Iterator[str]:
    """Paths of the files below `folder`, in it and in order; links to folders are not followed."""
    for where, folders, files in os.walk(folder):
        folders.sort()
        links = [name for name in folders if Path(where, name).is_symlink()]
        for name in sorted([*files, *links]):
            yield Path(where, name).relative_to(folder).as_posix()


def _packed(name: str, content: bytes) -> bytes:
    """A file as Go's archive/tar writes it: Python's leaves the numbers of devices empty, Go's writes zeros."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    header = bytearray(info.tobuf(tarfile.PAX_FORMAT))
    block = memoryview(header)[-tarfile.BLOCKSIZE :]  # those before it hold a name that is too long or not ASCII
    block[329:345] = b"0000000\0" * 2
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    padding = bytes(-len(content) % tarfile.BLOCKSIZE)
    return bytes(header) + content + padding


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
