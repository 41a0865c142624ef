"""The grammar of Ollama's Modelfile: a text, and the commands that it says, each with its line.

As parser/parser.go of Ollama has it, which reads rune by rune; unlike it, this goes on after a mistake and finds all.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass

from settings.ollama_facts import INSTRUCTIONS, PARAMETERS, ROLES
from settings.problems import did_you_mean

QUOTES = '"""'
"""What texts of several lines stand in; Ollama takes what is between as it is, and knows no escapes."""

# A '#' is a comment only where an instruction could begin.
_NOTHING = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_WORD = re.compile(r"[^ \t\r\n]+")
_KEY = re.compile(r"[A-Za-z0-9_]*")
_ROLE = re.compile(r"[A-Za-z]*")
_REST_OF_LINE = re.compile(r"[^\r\n]*")
# A closing quote counts only at the end of a line, so that texts may have quotes within.
_QUOTED = re.compile(
    r'[ \t]*(?:"""(?P<three>.*?)"""|"(?!"")(?P<one>.*?)")[ \t]*(?=[\r\n]|\Z)',
    re.DOTALL,
)
_OPENED = re.compile(r'[ \t]*("""|")')
_NUMBER = re.compile(r"[\w.+-]+", re.ASCII)
_PLAIN = ("from", "adapter", "draft", "renderer", "parser", "requires")
"""Instructions whose value is one name."""

_EXAMPLES = {"parameter": "PARAMETER temperature 0.7", "message": "MESSAGE user Hello."}


@dataclass(frozen=True, kw_only=True)
class Command:
    """One instruction."""

    line: int
    """Counted from 1."""

    instruction: str
    """One of `INSTRUCTIONS`."""

    key: str = ""
    """The name of a PARAMETER, the role of a MESSAGE; '' for all others."""

    value: str


def read_commands(text: str) -> tuple[list[Command], list[tuple[int, str]]]:
    """The commands of `text`, and what is wrong with it: line (from 1) and fact, consequence, repair."""
    text = text.removeprefix("\ufeff")
    problems = [(_line(text, found.start()), _unprintable(found.group())) for found in _unprintables(text)]
    text = "".join(c for c in text if is_kept(c))  # as Ollama leaves them out
    reader = _Reader(text)
    reader.read()
    return reader.commands, sorted([*problems, *reader.problems])


def is_kept(character: str) -> bool:
    """Whether Ollama keeps `character` of a Modelfile: Go's strconv.IsPrint, tabs and line ends."""
    return character.isprintable() or character in "\t\r\n"


def dropped_character(text: str) -> str | None:
    """What to say of the first character of `text` that Ollama would leave out without a word; None without one."""
    found = next((c for c in text if not is_kept(c)), None)
    return None if found is None else _unprintable(found)


def write_commands(commands: Iterable[Command]) -> str:
    """The Modelfile that says `commands`."""
    return "".join(f"{_written(command)}\n" for command in commands)


def _written(command: Command) -> str:
    words = [command.instruction.upper(), command.key]
    plain = command.instruction in _PLAIN or (
        command.instruction == "parameter"
        and PARAMETERS.get(command.key) != "texts"
        and _NUMBER.fullmatch(command.value)
    )
    value = command.value if plain else f"{QUOTES}{command.value}{QUOTES}"
    return " ".join(word for word in (*words, value) if word)


def _unprintables(text: str) -> list[re.Match[str]]:
    kinds = {c for c in text if not is_kept(c)}
    return [match for c in sorted(kinds) if (match := re.search(re.escape(c), text))]


def _unprintable(character: str) -> str:
    name = unicodedata.name(character, "a control character").lower()
    return (
        f"has U+{ord(character):04X} ({name}), which Ollama leaves out of a Modelfile without a word. Write a plain "
        "space in its place, or take it out."
    )


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


class _Reader:
    """Goes through a text once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self.commands: list[Command] = []
        self.problems: list[tuple[int, str]] = []

    def read(self) -> None:
        """Collect commands and problems up to the end."""
        while True:
            self._take(_NOTHING)
            if self._at == len(self._text):
                return
            line = self._line
            told = self._command(line)
            if told is not None:
                self.problems.append((line, told))
                self._take(_REST_OF_LINE)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self._text, self._at)
        assert match, f"{pattern.pattern!r} matches the empty text"  # noqa: S101  # what it says is of the code, not of the input
        self._line += self._text.count("\n", self._at, match.end())
        self._at = match.end()
        return match

    def _blank(self) -> bool:
        """Take one blank; whether there was one."""
        there = self._text[self._at : self._at + 1] in (" ", "\t")
        self._at += there
        return there

    def _command(self, line: int) -> str | None:
        """Read one command; what is wrong with it."""
        word = self._take(_WORD).group()
        instruction = word.lower()
        if instruction not in INSTRUCTIONS:
            meant = did_you_mean(word, [name.upper() for name in INSTRUCTIONS])
            return f"{word!r} is no instruction{meant or f'; a text of several lines needs {QUOTES} around it.'}"
        if not self._blank():
            return f"{word} says nothing more; Ollama would refuse it. Write e.g. {self._example(instruction)}."
        key = ""
        if instruction in ("parameter", "message"):
            key = self._take(_KEY if instruction == "parameter" else _ROLE).group()
            told = self._wrong_key(instruction, key)
            if told is not None:
                return told
        return self._value(line, instruction, key)

    def _wrong_key(self, instruction: str, key: str) -> str | None:
        what = "name" if instruction == "parameter" else "role"
        if self._blank():
            if not key:
                return (
                    f"two blanks after {instruction.upper()}: Ollama would take the {what} for empty. Write "
                    f"e.g. {self._example(instruction)}."
                )
            if instruction == "message" and key not in ROLES:
                return f"role {key!r} is not one of {', '.join(ROLES)}{did_you_mean(key, ROLES) or '.'}"
            return None
        rest = self._text[self._at :]
        word = key + (found.group() if (found := _WORD.match(rest)) else "")
        if word == key:
            return f"{f'{instruction.upper()} {word}'.strip()} has no value. Write e.g. {self._example(instruction)}."
        read = "letters, digits and _" if what == "name" else "letters"
        return (
            f"{word!r} is no {what}: Ollama reads {read} alone, and "
            f"calls this an unexpected end. Write e.g. {self._example(instruction)}."
        )

    def _value(self, line: int, instruction: str, key: str) -> str | None:
        if opened := _OPENED.match(self._text, self._at):
            quoted = _QUOTED.match(self._text, self._at)
            if quoted is None:
                self._at = len(self._text)  # all that follows belongs to it
                return (
                    f"{instruction.upper()} begins with {opened.group(1)}, and no line ends with {opened.group(1)}, so "
                    "all that follows would be a part of it. Write it there, with nothing after it."
                )
            self._take(_QUOTED)
            value = quoted.group("one") if quoted.group("three") is None else quoted.group("three")
        else:
            value = self._take(_REST_OF_LINE).group().strip(" \t")
        if not value:
            return f"{instruction.upper()} says nothing more. Write e.g. {self._example(instruction)}, or leave it out."
        self.commands.append(Command(line=line, instruction=instruction, key=key, value=value))
        return None

    def _example(self, instruction: str) -> str:
        return repr(_EXAMPLES.get(instruction, f"{instruction.upper()} ..."))
