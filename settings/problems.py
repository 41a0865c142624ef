"""What is wrong with a stack file, told in its own words: path, value, consequence, repair."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping

from settings.secret_texts import masked

_NEAR = 0.72
"""So near that `vlm` means vllm, and `sglang` not ollama."""

_SHORTEST_PREFIX = 3
_MOST_NEAR = 3
_MOST_TOLD = 100
_LONGEST = 1_500
"""Characters of one problem; what a file quotes into it may be of any length."""


STACK = "<stack>"
"""Stands for the stack's name in commands of a problem, until it is known."""


def set_secret(path: str) -> str:
    """The command that sets the secret at `path`, for a problem of a stack file."""
    whole = f"--path '{path}'" if "." in path else path
    return f"`bin/pulumi config set --stack {STACK} --secret {whole}`"


class SeveralErrors(ValueError):
    """What a validator finds wrong in several places of one value."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        """`problems`: path below the value, '' for the value itself, and what is wrong there."""
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{below}: {told}" if below else told for below, told in self.problems))


class StackError(Exception):
    """A stack that cannot be followed; the message lists every problem, one a line, as they stand in the file.

    Whoever finds a problem may quote what is written: what looks like a secret is taken out here, for all of them.
    """

    def __init__(self, heading: str, problems: Iterable[str], lines: Mapping[str, int] | None = None) -> None:
        """What is wrong.

        Args:
            heading: what has the problems, e.g. `Pulumi.dev.yaml has`.
            problems: lines of `path: fact, consequence, repair`.
            lines: line in the file by path, where there is a file.
        """
        found = [(line_of(problem, lines or {}), _told(problem)) for problem in problems]
        found.sort(key=lambda item: item[0] or 0)  # stable: what is in no line comes first, as it was found
        self.problems = tuple(problem for _, problem in found)
        self.lines = tuple(line for line, _ in found)
        """Of each of the problems; None for what is in no line."""
        count = f"{len(found)} problem{'s' if len(found) != 1 else ''}"
        told = [f"  line {line}: {problem}" if line else f"  {problem}" for line, problem in found[:_MOST_TOLD]]
        if len(found) > _MOST_TOLD:
            told.append(f"  ... and {len(found) - _MOST_TOLD} more.")
        super().__init__("\n".join([f"{heading} {count}:", *told]))


class SettingsError(StackError):
    """A stack file that says what it may not."""

    def __init__(self, source: str, problems: Iterable[str], lines: Mapping[str, int] | None = None) -> None:
        """`source` is the file's name; the rest as for StackError."""
        self.source = source
        if named := re.fullmatch(r"Pulumi\.([\w.-]+)\.yaml", source):
            problems = [problem.replace(f"--stack {STACK}", f"--stack {named[1]}") for problem in problems]
        super().__init__(f"{source} has", problems, lines)


def _told(problem: str) -> str:
    """On one line, with nothing in it that acts on a terminal."""
    text = "".join(c if c.isprintable() else repr(c)[1:-1] for c in masked(problem))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


def line_of(problem: str, lines: Mapping[str, int]) -> int | None:
    """The line of what `problem` begins with, or of the nearest thing around it that is written."""
    path = problem.partition(": ")[0]
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return lines.get(path)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The nearest of `known`, or None where none is near. Neither case nor separators make a difference."""
    return next(iter(_near(word, known)), None)


def _near(word: str, known: Iterable[str]) -> list[str]:
    """The nearest of `known`; several where each of them is `word` with more words behind it."""
    candidates = {plain(name): name for name in known}
    written = plain(word)
    if len(written) > 2 * max(map(len, candidates), default=0):
        return []  # the comparison takes the longer the longer the texts are
    if written in candidates:
        return [candidates[written]]
    # `a100` is a100-40gb or a100-80gb cut short, and no a10 misspelt.
    longer = [name for name in candidates.values() if re.match(rf"{re.escape(word)}[^a-z0-9]", name, re.IGNORECASE)]
    if longer and len(written) >= _SHORTEST_PREFIX:
        return sorted(longer, key=lambda name: (len(name), name))[:_MOST_NEAR]
    near = difflib.get_close_matches(written, candidates, n=1, cutoff=_NEAR)
    if not near and len(written) >= _SHORTEST_PREFIX:
        near = sorted((name for name in candidates if name.startswith(written)), key=len)[:1]
    return [candidates[name] for name in near]


def plain(word: str) -> str:
    """`word` without case and separators, which nobody remembers."""
    return re.sub(r"[^a-z0-9]", "", word.lower())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `known`, or nothing where none is near."""
    near = _near(word, known)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
