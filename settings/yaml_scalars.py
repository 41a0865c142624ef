"""What an unquoted text of YAML is, as the Go libraries of Pulumi and kubectl read it (go.yaml.in/yaml, resolve.go)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

TEXT = "tag:yaml.org,2002:str"
_PLAIN = "?"
"""The tag of a text without quotes that has none: YAML's own name for it."""

_READ = frozenset({_PLAIN, *(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "null"))})
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_LOADER):  # type: ignore[misc]  # of which of the two, the installation decides
    """Leaves to `scalar` what a plain text is: the library's own guess hides whether a tag was written."""

    def resolve(self, kind: type[yaml.Node], _value: str | None, implicit: Any) -> str:
        """The tag of a node without one."""
        return _PLAIN if kind is yaml.ScalarNode and implicit[0] else "!"


Readings = tuple[tuple[re.Pattern[str], Callable[[str], Any]], ...]
"""What is made of a text that matches; the first counts."""


def readings(*, true: str, false: str) -> Readings:
    """Those of a library that takes texts for truth values which the expressions `true` and `false` match."""
    return (
        (re.compile(r"|~|null|Null|NULL"), lambda _text: None),
        (re.compile(true), lambda _text: True),
        (re.compile(false), lambda _text: False),
        (re.compile(r"[-+]?(0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)"), _whole),
        (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), _decimal),
        (re.compile(r"[-+]?\.(inf|Inf|INF)"), lambda text: -math.inf if text[0] == "-" else math.inf),
        (re.compile(r"\.(nan|NaN|NAN)"), lambda _text: math.nan),
    )


def scalar(node: yaml.ScalarNode, known: Readings) -> Any:
    """The value of a node of `Loader` by the readings that are `known`; a text where none of them fits.

    A tag decides, as with the Go libraries: `!!str 8000` is a text, `!!int "8000"` a number.
    """
    if node.tag not in _READ:
        return node.value
    for pattern, made in known:
        if pattern.fullmatch(node.value):
            try:
                return made(node.value)
            except ValueError:  # `0x_`, or more digits than a number can have
                break
    return node.value


def _whole(text: str) -> int:
    """As Go's strconv.ParseInt with base 0."""
    digits = text.replace("_", "")
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    octal = len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567"
    return sign * int(f"0o{digits[1:]}" if octal else digits, 0)


def _decimal(text: str) -> float | str:
    """What no number of 64 bits can hold stays a text, as Go's strconv.ParseFloat has it."""
    return text if math.isinf(number := float(text)) else number
