"""What a container is told to run: its own command, and those of its probes and hooks, with the probes' headers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from llm_policies.containers import Container
from llm_policies.values import Doubt, Unsaid, Value, hidden

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_COMMANDS: dict[tuple[str, ...], str] = {
    **{(probe, "exec"): f"the command of its {probe}" for probe in _PROBES},
    ("lifecycle", "postStart", "exec"): "the command of its postStart hook",
    ("lifecycle", "preStop", "exec"): "the command of its preStop hook",
}


class Word(NamedTuple):
    """One word of a command line."""

    text: str
    in_shell: bool
    """Whether it is part of a text that a shell reads, as after `sh -c`."""


def command_lines(container: Container) -> Iterator[tuple[str, list[Word] | Doubt]]:
    """Every command line with words for where it is; a doubt in place of one that cannot be read."""
    yield "its command line", _read([container.value.get("command"), container.value.get("args")])
    for keys, where in _COMMANDS.items():
        try:
            command = container.value.get(*keys, "command")
        except Doubt as doubt:
            yield where, doubt
        else:
            yield where, _read([command])
    for probe in _PROBES:
        try:
            headers = container.value.get(probe, "httpGet", "httpHeaders").items()
            texts = [text for header in headers if (text := hidden(header.get("value")).text()) is not None]
        except Doubt as doubt:
            yield f"the headers of its {probe}", doubt
        else:
            yield f"the headers of its {probe}", [Word(text, in_shell=False) for text in texts]


def _read(lists: list[Value]) -> list[Word] | Doubt:
    try:
        texts = [text for words in lists for word in _said(words) if (text := hidden(word).text()) is not None]
    except Doubt as doubt:
        return doubt
    return [word for text in texts for word in _words(text)]


def _said(words: Value) -> list[Value]:
    """The items of a list; none where a patch leaves it out."""
    try:
        return words.items()
    except Unsaid:
        return []


@lru_cache(maxsize=256)  # pods of a stack have the same scripts
def _words(text: str) -> tuple[Word, ...]:
    """A text with blanks is taken for a shell's; a backslash alone joins its lines."""
    parts = text.split()
    if len(parts) < 2:
        return (Word(text, in_shell=False),)
    return tuple(Word(part, in_shell=True) for part in parts if part != "\\")
