"""Which engine a command line starts, and the words that this engine is given: also within a shell's script."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Engine = Literal["vllm", "sglang", "ollama", "llamacpp", "tgi"]

_MODULES: dict[str, Engine] = {"vllm.entrypoints": "vllm", "sglang.launch_server": "sglang"}
"""How that begins which `python -m` is given."""

_PROGRAMS: dict[str, tuple[tuple[str, ...], Engine]] = {
    "vllm": (("serve",), "vllm"),
    "sglang": (("serve",), "sglang"),
    "ollama": (("serve",), "ollama"),
    "llama-server": ((), "llamacpp"),
    "text-generation-launcher": ((), "tgi"),
}
"""Programs that serve with the words behind them."""

_NO_SERVERS = frozenset(
    {
        *("vllm", "ollama", "sglang", "genai-perf", "huggingface-cli", "hf", "sleep", "tail", "echo", "printf", "cp"),
        *(":", "true", "[", "test", "cd", "set", "unset", "export", "declare", "trap", "wait", "read", "exit"),
        *("done", "fi", "esac", "break", "source", "."),
    }
)
"""Programs in the images of engines that serve nothing, unless with words that _PROGRAMS has, and words of a shell."""

_KEYWORDS = frozenset({"if", "then", "else", "elif", "while", "until", "do", "!", "{", "exec", "nohup", "time"})
"""Words of a shell before a command."""

_SHELLS = frozenset({"sh", "bash", "ash", "dash", "zsh", "busybox", "su", "runuser"})
_SCRIPT_FLAG = re.compile(r"-[a-z]*c")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_PUNCTUATION = ";&|()<>\n"
# With blanks in it, or marks of its own; a shell takes it as one. Not longer, or one that does not end takes for ever.
_SUBSTITUTION = re.compile(r"\$\(\([^()]{0,500}\)\)|\$\([^()]{0,500}\)|\$\{[^{}]{0,500}\}|`[^`]{0,500}`")
_WITHIN_A_WORD = re.compile(r"(?<=[^\s;&|()<>])#")
_KEPT = re.compile("\0([0-9]+)\0")
_ESCAPED_COMMENT = re.compile(r"^(\s*#.*?)\\+$", re.MULTILINE)
_LONGEST_SCRIPT = 50_000
"""Characters that are read as a shell does."""

_DEEPEST = 5
"""Scripts within scripts, and substitutions within substitutions."""

_IMAGES: dict[str, Engine] = {
    "vllm": "vllm",
    "sglang": "sglang",
    "llama.cpp": "llamacpp",
    "text-generation-inference": "tgi",
}
_BESIDE = re.compile(
    r"(?<![a-z])(router|gateway|proxy|exporter|operator|controller|dashboard|web-?ui|ui|bench(mark)?)(?![a-z])"
)
"""In the name of an image: it goes with an engine, and is none (`vllm/vllm-router`)."""


@dataclass(frozen=True)
class CommandLine:
    """What a container runs, as far as its words say it."""

    engine: Engine | None
    """The engine that is started; None where none is named, as in a script that is a file, or the image's own."""

    words: tuple[str, ...]
    """Those that the engine is given; all, where none is named."""

    starts: int
    """How many engines are started, one after the other or side by side."""

    serves_nothing: bool
    """Whether each program is known, and serves nothing."""

    assigned: dict[str, str]
    """Variables that are set on the way to the engine (`NAME=value program`, `export NAME=value`)."""


@lru_cache(maxsize=256)  # each rule asks for others of the same words
def read(words: tuple[str, ...]) -> CommandLine:
    """What the words of `command` and `args` run."""
    commands = list(_commands(words))
    assigned: dict[str, str] = {}
    at_the_last: dict[str, str] = {}
    started: list[tuple[Engine, tuple[str, ...]]] = []
    for command in commands:
        found = _start(command)
        if found is None:
            _assign(command, assigned)
        else:
            started.append(found)
            before = command[: len(command) - len(found[1])]
            at_the_last = assigned | _pairs(before)
    given = [words for _, words in started] or commands
    return CommandLine(
        engine=started[0][0] if started else None,
        words=tuple(word for words in given for word in words),
        starts=len(started),
        serves_nothing=bool(commands) and not started and all(map(_serves_nothing, commands)),
        assigned=at_the_last if started else assigned,
    )


def _assign(command: tuple[str, ...], assigned: dict[str, str]) -> None:
    """Set or unset what a command of a shell alone does; what is set before a program is that program's."""
    if command[0] == "unset":
        for name in command[1:]:
            assigned.pop(name, None)
    elif command[0] in ("export", "declare") or all(map(_ASSIGNMENT.fullmatch, command)):
        assigned |= _pairs(command)


def _pairs(words: tuple[str, ...]) -> dict[str, str]:
    return {match[1]: match[2] for word in words if (match := _ASSIGNMENT.fullmatch(word))}


def _serves_nothing(command: tuple[str, ...]) -> bool:
    return _name(command[0]) in _NO_SERVERS or _ASSIGNMENT.fullmatch(command[0]) is not None


def _start(command: tuple[str, ...]) -> tuple[Engine, tuple[str, ...]] | None:
    """The engine that a command starts, whatever is put before it (`tini --`, `env A=b`), and what it is given."""
    for place, word in enumerate(command):
        if (engine := _MODULES.get(".".join(word.split(".", 2)[:2]))) is not None:
            return engine, command[place + 1 :]
        if (program := _PROGRAMS.get(_name(word))) is not None:
            end = place + 1 + len(program[0])
            if command[place + 1 : end] == program[0]:
                return program[1], command[end:]
    return None


def _name(word: str) -> str:
    return word.rpartition("/")[2]


def _commands(words: tuple[str, ...], depth: int = 0) -> Iterator[tuple[str, ...]]:
    """The simple commands, without a shell's quotes, comments and keywords; those of scripts within it, too."""
    place = _script_place(words) if depth < _DEEPEST else None
    if place is None:
        plain = tuple(part for word in words for part in _parts(word))
        if plain:
            yield plain
        return
    command: list[str] = []
    for word in [*_lexed(words[place]), "\n"]:
        if word in ("$@", "$*"):
            command += words[place + 2 :]  # the first behind the script is its name
        elif word and not word.strip(_PUNCTUATION) and not set(word) & set("<>"):
            if command:
                yield from _commands(tuple(command), depth + 1)
            command = []
        elif command or word not in _KEYWORDS:
            command.append(word)


def takes_a_script(word: str) -> bool:
    """Whether the word behind `word` may be a shell's script."""
    return _SCRIPT_FLAG.fullmatch(word) is not None


def _script_place(words: tuple[str, ...]) -> int | None:
    """Where a shell's script is among `words`; None where there is none."""
    shell = False
    for place, word in enumerate(words[1:], start=1):
        shell = shell or (place > 1 and _name(words[place - 2]) in _SHELLS)
        # The image may have the shell itself.
        shell_of_image = place == 1 and " " in word.strip()
        if (shell or shell_of_image) and takes_a_script(words[place - 1]):
            return place + 1 if word == "--" and place + 1 < len(words) else place
    alone = len(words) == 1 and " " in words[0].strip()
    return 0 if alone and _start(tuple(words[0].split())) is not None else None


def _parts(word: str) -> list[str]:
    """A word of its own; several where somebody has written options into one."""
    return word.split() if " " in word and "--" in word else [word]


def _lexed(script: str) -> list[str]:
    """The words of a script, and its punctuation; where it is very long or its quotes stay open, split at blanks."""
    if len(script) > _LONGEST_SCRIPT:
        return script.split()
    kept: list[str] = []

    def keep(found: re.Match[str]) -> str:
        kept.append(found[0])
        return f"\0{len(kept) - 1}\0"

    script = _ESCAPED_COMMENT.sub(r"\1", script.replace("\0", "").replace("\1", "")).replace("\\\n", " ")
    for _ in range(_DEEPEST):
        script = _SUBSTITUTION.sub(keep, script)
    lexer = shlex.shlex(_Script(_WITHIN_A_WORD.sub("\1", script)), posix=True, punctuation_chars=_PUNCTUATION)
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        words = script.split()

    def restored(word: str) -> str:
        while "\0" in word:  # one stands within another
            word = _KEPT.sub(lambda place: kept[int(place[1])], word)
        return word.replace("\1", "#")

    return [restored(word) for word in words]


class _Script(io.StringIO):
    """Text of which a comment is read without the end of its line, which ends the command before it."""

    def readline(self, size: int = -1, /) -> str:  # type: ignore[override]  # as typeshed has it for TextIOBase
        line = super().readline(size)
        if line.endswith("\n"):
            self.seek(self.tell() - 1)
        return line


def engine_of_image(image: str) -> Engine | None:
    """The engine that an image is made for, by its name; None for others, and for what stands beside an engine."""
    name = image.lower().partition("@")[0].rpartition("/")[2].partition(":")[0]
    if _BESIDE.search(name):
        return None
    if name == "ollama":
        return "ollama"
    return next((engine for part, engine in _IMAGES.items() if part in name), None)
