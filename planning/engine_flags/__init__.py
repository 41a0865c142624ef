"""The flags of engines' command lines, as data of one release, and what is said of a stack file's `extraArgs`.

The tables hold names, kinds and variables alone; each says which release it was read from. A value that an engine of
that release would refuse, or would take for something else, is told here and not when the pod starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

from settings.problems import did_you_mean

Kind = Literal["int", "float", "text", "choice", "switch", "command"]
"""A switch has no value; a command prints something and ends the process."""

Value = bool | int | float | str

_FOLDER = Path(__file__).parent
_NUMBER = re.compile(r"-?[0-9]+")
_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE]-?[0-9]+)?")


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag under all of its names, each with its dashes; the first is the one that documents use."""

    names: tuple[str, ...]
    kind: Kind
    choices: tuple[str, ...] = ()
    env: str | None = None
    """Variable by which the engine takes the same."""

    instead: str | None = None
    """What took its place, where the release refuses it."""


@dataclass(frozen=True, kw_only=True)
class FlagTable:
    """All flags of one release of an engine's program."""

    engine: str
    release: str
    """The one that it was read from."""

    flags: tuple[Flag, ...]
    taken_for: tuple[str, ...] = ()
    """Other releases that are taken to have the same flags, as they are a few days apart; they were not compared."""

    by_name: Mapping[str, Flag] = field(init=False)
    """By each of their names."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "by_name", {name: flag for flag in self.flags for name in flag.names})


@dataclass(frozen=True, kw_only=True)
class Argument:
    """One flag of a command line."""

    name: str
    """With its dashes."""

    value: str | None
    """None for a switch."""


@cache
def flag_table(program: str) -> FlagTable:
    """The flags of `program`: `llama-server` or `text-generation-launcher`."""
    raw = json.loads((_FOLDER / f"{program}.json").read_text())
    return FlagTable(
        engine=raw["engine"],
        release=raw["release"],
        taken_for=tuple(raw.get("takenFor", ())),
        flags=tuple(
            Flag(
                names=tuple(row["names"]),
                kind=row["kind"],
                choices=tuple(row.get("choices", ())),
                env=row.get("env"),
                instead=row.get("instead"),
            )
            for row in raw["flags"]
        ),
    )


def extra_arguments(
    path: str,
    given: Mapping[str, Value],
    table: FlagTable,
    *,
    settings: Mapping[str, str],
    refused: Mapping[str, str],
    problems: list[str],
) -> tuple[Argument, ...]:
    """The flags that `given` asks for beside those that the plan writes.

    Args:
        path: of `given` in the stack file, e.g. `models.chat.extraArgs`.
        given: value by the flag's name without its dashes.
        table: what the engine knows.
        settings: by flag (its first name), the setting of the stack file that is written instead.
        refused: by flag (its first name), why nobody may set it.
        problems: what is wrong is added.
    """
    return tuple(_extra_arguments(path, given, table, settings, refused, problems))


def _extra_arguments(
    path: str,
    given: Mapping[str, Value],
    table: FlagTable,
    settings: Mapping[str, str],
    refused: Mapping[str, str],
    problems: list[str],
) -> Iterator[Argument]:
    seen: dict[str, str] = {}
    for key, value in given.items():
        flag = table.by_name.get(f"--{key}")
        at = f"{path}.{key}"
        if flag is None:
            # What would be refused next is no help.
            allowed = (name for name, other in table.by_name.items() if other.names[0] not in refused)
            known = [name.removeprefix("--") for name in allowed if name.startswith("--")]
            problems.append(
                f"{at}: {table.engine} {table.release} has no flag --{key}, so it would refuse to start"
                f"{did_you_mean(key, known) or '. Take it out.'}"
            )
            continue
        first = flag.names[0]
        if flag.instead is not None:
            problems.append(
                f"{at}: --{key} is gone, so {table.engine} {table.release} would refuse to start. Write {flag.instead}."
            )
        elif flag.kind == "command":
            problems.append(f"{at}: --{key} prints something and ends, so nothing would be served. Take it out.")
        elif first in refused:
            problems.append(f"{at}: --{key} {refused[first]}")
        elif first in settings:
            problems.append(f"{at}: --{key} is written by the plan, which would not know of this. {settings[first]}")
        elif first in seen:
            problems.append(f"{at}: is the same flag as {seen[first]!r}, and the last would hold. Keep one of them.")
        elif (wrong := _wrong(flag, key, value)) is not None:
            problems.append(f"{at}: {wrong}")
        else:
            seen[first] = key
            yield _argument(flag, key, value)


def _wrong(flag: Flag, key: str, value: Value) -> str | None:
    """What is wrong with `value`; None where it can be written."""
    if flag.kind == "switch":
        if not isinstance(value, bool):
            return f"--{key} takes no value, got {value!r}. Write true or false."
        if not value and _opposite(flag, key) is None:
            return f"--{key} can only be switched on, and is off by default. Take it out."
        return None
    if isinstance(value, bool):
        return f"--{key} takes a value, got {str(value).lower()}. Write the value."
    text = str(value)
    if flag.kind == "int" and not _NUMBER.fullmatch(text):
        return f"{value!r} is not a whole number, as --{key} takes it."
    if flag.kind == "float" and not _DECIMAL.fullmatch(text):
        return f"{value!r} is not a number, as --{key} takes it."
    if flag.choices and text not in flag.choices:
        return f"{value!r} is not one of {', '.join(flag.choices)}{did_you_mean(text, flag.choices)}"
    if not text:
        return f"is empty, and --{key} takes a value. Write it, or take the flag out."
    return None


def _argument(flag: Flag, key: str, value: Value) -> Argument:
    if flag.kind != "switch":
        return Argument(name=f"--{key}", value=str(value))
    return Argument(name=f"--{key}" if value else str(_opposite(flag, key)), value=None)


def _opposite(flag: Flag, key: str) -> str | None:
    """The name that switches off what `key` switches on; None where the flag has none."""
    other = f"--{key.removeprefix('no-')}" if key.startswith("no-") else f"--no-{key}"
    return other if other in flag.names else None
