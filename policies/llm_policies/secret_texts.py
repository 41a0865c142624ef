"""The texts of an object that a program marks as secret, so that no message has one of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS

_SHORTEST_SECRET = 3
"""Characters; what is shorter is in any text by chance, and Pulumi's own output does not hide it either."""

_SHORTEST_NEAR_SECRET = 8
_FREE_TEXT = ("value", "args", "command", "data", "stringData")


def secret_texts(raw: Any) -> Iterator[str]:
    """The texts within `raw`, as JSON has it, that are secret or may be.

    One secret variable makes the provider mark the whole list of containers. Of such a list only those texts count that
    may hold a secret: the values of variables, words of commands, data. A container's name would be hidden otherwise.
    """
    match raw:
        case str():  # nearly all: to ask first whether it is a mapping is slow
            return
        case {} if raw.get(SIGNATURE) == SECRET:
            inner = raw.get("value")
            if isinstance(inner, str):
                yield from _long(inner, _SHORTEST_SECRET)
            else:
                yield from _near_secrets(inner, free=False)
                yield from secret_texts(inner)
        case {}:
            for key, value in raw.items():
                yield from secret_texts(value)
                if key in ("data", "stringData") and isinstance(value, Mapping) and value.get(SIGNATURE) == SECRET:
                    yield from _near_secrets(value.get("value"), free=True)
        case list() | tuple():
            for value in raw:
                yield from secret_texts(value)


def _near_secrets(raw: Any, *, free: bool) -> Iterator[str]:
    """The texts of a marked mapping or list that may be what it is marked for: all where it is `free` text."""
    match raw:
        case {}:
            for key, value in raw.items():
                yield from _near_secrets(value, free=free or key in _FREE_TEXT)
        case list() | tuple():
            for value in raw:
                yield from _near_secrets(value, free=free)
        case str() if free:
            yield from _long(raw, _SHORTEST_NEAR_SECRET)


def _long(text: str, shortest: int) -> Iterator[str]:
    if len(text) >= shortest and text not in UNKNOWNS:
        yield text
