"""What the release of vLLM that the planner knows accepts on its command line and in its environment.

vllm_release.json was written by vLLM's own parser; the contract tests hold it against that.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

FILE = Path(__file__).with_suffix(".json")

Kind = Literal["bool", "switch", "int", "float", "size", "sizeOrAuto", "json", "mapping", "mappingOrText", "text"]
"""A `bool` can be switched off too, a `switch` only on; a `size` may be written as 8k (1000) or 8K (1024)."""

# A tag such as v0.33.0, v0.33.0-cu129 or v0.33.0-x86_64, with or without a digest behind it.
_VERSION = re.compile(r":v?(\d+\.\d+\.\d+)(-[\w.-]+)?(@sha256:[0-9a-f]+)?$")


@dataclass(frozen=True, kw_only=True)
class Flag:
    """One flag of `vllm serve`."""

    kind: Kind
    off: str | None = None
    """What switches a `bool` off."""

    aliases: tuple[str, ...] = ()
    many: bool = False
    """Whether several values may follow it."""

    choices: tuple[str | int, ...] = ()
    """Its only values; empty where the parser takes any."""


@dataclass(frozen=True, kw_only=True)
class Release:
    """One release of vLLM. Names of flags are without dashes."""

    version: str
    flags: Mapping[str, Flag]
    tool_call_parsers: tuple[str, ...]
    reasoning_parsers: tuple[str, ...]
    attention_backends: tuple[str, ...]
    """Those for NVIDIA GPUs."""

    environment: frozenset[str]
    """Variables that begin with VLLM_."""

    names: Mapping[str, str] = field(init=False)
    """The flag that each spelling means: its own name, aliases, and what switches it off."""

    def __post_init__(self) -> None:
        names = {spelling: name for name, flag in self.flags.items() for spelling in (*flag.aliases, flag.off or name)}
        object.__setattr__(self, "names", names | {name: name for name in self.flags})


@cache
def release() -> Release:
    """The release that is known, read from its file once."""
    raw: dict[str, Any] = json.loads(FILE.read_text())
    return Release(
        version=raw["vllm"],
        flags={
            name: Flag(
                kind=flag["kind"],
                off=flag.get("off"),
                aliases=tuple(flag.get("aliases", ())),
                many=flag.get("many", False),
                choices=tuple(flag.get("choices", ())),
            )
            for name, flag in raw["flags"].items()
        },
        tool_call_parsers=tuple(raw["toolCallParsers"]),
        reasoning_parsers=tuple(raw["reasoningParsers"]),
        attention_backends=tuple(raw["attentionBackends"]),
        environment=frozenset(raw["environment"]),
    )


def version_of(image: str) -> str | None:
    """The release that the tag of `image` names; None where there is none, or a digest alone."""
    found = _VERSION.search(image)
    return found.group(1) if found else None
