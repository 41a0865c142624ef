"""Keeps a comment within what GitHub takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

LIMIT = 65_536
"""Characters of a comment's body that GitHub takes; of a longer one it takes nothing (422 body is too long)."""

_NOTE_ROOM = 120
"""For what is said in the place of items that are left out."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A heading, and lines that may be left out from the end."""

    head: str = ""
    items: Sequence[str] = field(default_factory=tuple)


def joined(sections: Sequence[Section], *, limit: int = LIMIT) -> str:
    """The sections in order, with as many items as fit; what is left out is counted where it would be.

    Every heading is kept, since each says that there is something; the room for items goes to the first sections first,
    so these are the ones that matter most.
    """
    room = limit - sum(len(section.head) + _NOTE_ROOM for section in sections)
    parts = []
    for section in sections:
        kept: list[str] = []
        for item in section.items:
            if room < len(item) + 1:
                break
            room -= len(item) + 1
            kept.append(item)
        parts.append(_text(section, kept))
    return "\n\n".join(parts) + "\n"


def _text(section: Section, kept: Sequence[str]) -> str:
    """A table follows its heading at once; a list needs an empty line in between."""
    apart = "\n" if section.head.endswith((" |", ">")) else "\n\n"
    text = section.head + (apart + "\n".join(kept) if kept else "")
    missing = len(section.items) - len(kept)
    return f"{text}\n\n*{missing:,} more are left out: GitHub takes no longer comment.*" if missing else text
