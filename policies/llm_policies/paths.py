"""Paths of requests, as edges write them."""

from __future__ import annotations

import re

_ALTERNATIVES = re.compile(r"\((?:\?:)?([\w/.|-]+)\)")
_SPECIAL = re.compile(r"[\\^$*+?{}()\[\]|]")


def normalised(path: str) -> str:
    """`path` as two that lead to the same are written alike: no `//`, no `/` at its end."""
    return "/" + "/".join(part for part in path.split("/") if part)


def is_below(path: str, top: str) -> bool:
    """Whether `path` is `top` or below it."""
    path, top = normalised(path), normalised(top)
    return top == "/" or path == top or path.startswith(f"{top}/")


def starts_of(pattern: str) -> tuple[str, ...]:
    """What every path begins with that a regular expression matches from its start; `/` where nobody can tell."""
    pattern = pattern.removeprefix("^")
    special = _SPECIAL.search(pattern)
    if special is None:
        return (pattern or "/",)
    if "|" in re.sub(r"\([^()]*\)", "", pattern):
        return ("/",)  # the other side of the bar begins otherwise
    before, at = pattern[: special.start()], special.start()
    group = _ALTERNATIVES.match(pattern, at)
    if group is not None and pattern[group.end() : group.end() + 1] not in ("*", "?", "{"):
        return tuple((before + part) or "/" for part in group[1].split("|"))
    if pattern[at] in "*?{":
        before = before[:-1]  # what stands before may be there or not
    return (before or "/",)
