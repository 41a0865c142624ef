"""What an unquoted text of YAML is, as the Go libraries of Pulumi and kubectl read it (go.yaml.in/yaml, resolve.go)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import yaml

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
    """The value of `node` by the readings that are `known`; a text where none of them fits."""
    if node.style or not node.tag.startswith("tag:yaml.org,2002:"):
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
