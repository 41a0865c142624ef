"""Makes foreign text harmless in GitHub's Markdown: nothing in it is markup, a mention, a link or a table's border."""

from __future__ import annotations

import re

LONGEST = 160
"""Characters of one value that are shown."""

_NEW_LINE = re.compile(r"\s*(\r\n|\r|\n)\s*")
_NEW_LINE_SIGN = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Controls, halves of characters, and what changes the direction or the look of the text around it."""


def code(text: str, *, longest: int = LONGEST) -> str:
    """`text` as a code span, in which GitHub takes nothing for markup, link or mention; not for a table: see `cell`."""
    text = shortened(text, longest)
    one_line = _NEW_LINE.sub(f" {_NEW_LINE_SIGN} ", text).replace("\t", " ")
    shown = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", one_line)
    if not shown.strip():
        return "*(empty)*" if not shown else "*(blank)*"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", shown)), default=0))
    # One space inside of each fence is taken off again, and is needed where the text begins or ends with a backtick.
    space = " " if shown[0] in " `" or shown[-1] in " `" else ""
    return f"{fence}{space}{shown}{space}{fence}"


def cell(text: str, *, longest: int = LONGEST) -> str:
    """`text` as a code span for a table, where `|` would end the cell even in code."""
    return code(text, longest=longest).replace("|", r"\|")


def shortened(text: str, longest: int) -> str:
    """The beginning of `text`, saying how long all of it is where that is more."""
    if len(text) <= longest:
        return text
    return f"{text[:longest].rstrip()}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters)"


def around_difference(old: str, new: str, *, longest: int = LONGEST) -> tuple[str, str]:
    """Both texts, long ones from shortly before the place where they part."""
    if max(len(old), len(new)) <= longest:
        return old, new
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, same - 20)
    before = "\N{HORIZONTAL ELLIPSIS}" if start else ""
    return before + old[start:], before + new[start:]
