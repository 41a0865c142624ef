"""Stack files with something else in one or two of their places."""

from __future__ import annotations

import copy
from typing import Any, Protocol, TypeVar

from hypothesis import strategies as st
from on_mocks import Raw

_T = TypeVar("_T")


class Draw(Protocol):
    """What hypothesis draws values with."""

    def __call__(self, strategy: st.SearchStrategy[_T]) -> _T: ...


_MEANT = ["chat", "4Gi", "4GB", "vllm", "auto", "true", "1", "/v1", "selfSigned", "generated", "local", "localhost"]
_STRANGE = ["", " ", "\N{HANGUL SYLLABLE GA}", "a\nb", "$(id)", "{{ x }}", "x" * 300, "\x00", "9" * 30]
TEXTS = st.sampled_from([*_MEANT, *_STRANGE]) | st.text(max_size=12)

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.integers()
    | st.floats(width=32)
    | st.sampled_from([10**19, 2**31, 2**63, -(2**70), float("nan"), float("inf"), 0.5, 1.0])
    | TEXTS
)

KEYS = (
    st.sampled_from(["chat", "help", "a", "engine", "model", "gpus", "host", "secure", "autoscale", "", "x.y"]) | TEXTS
)

VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
"""Anything that JSON can have, and NaN and Infinity, which YAML has."""


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in `value`, by keys and indices."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


def mutated(draw: Draw, raw: Raw) -> Raw:
    """`raw` with one to three changes: a value replaced, taken out, or put in under some key."""
    result = copy.deepcopy(raw)
    for _ in range(draw(st.integers(1, 3))):
        there = [place for place in places(result) if place]
        if not there:
            return result
        *way, last = draw(st.sampled_from(there))
        holder: Any = result
        for key in way:
            holder = holder[key]
        match draw(st.sampled_from(["replace", "replace", "replace", "remove", "add"])):
            case "remove":
                del holder[last]
            case "add" if isinstance(holder, dict):
                holder[draw(KEYS)] = draw(VALUES)
            case _:
                holder[last] = draw(VALUES)
    return result
