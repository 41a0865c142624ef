"""Numbers as Kubernetes writes them."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

# As apimachinery's resource.Quantity has it: `E` is a suffix, `E3` and `e3` are exponents.
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40}))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]{1,3}))?", re.ASCII
)
_MULTIPLIER = {
    "": Fraction(1),
    **{unit: Fraction(1, 1000**power) for power, unit in enumerate("mun", start=1)},
    **{unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Fraction(1024**power) for power, unit in enumerate("KMGTPE", start=1)},
}

INFINITE = (float("inf"), float("-inf"))


def quantity(value: object) -> Fraction:
    """The number that a Kubernetes quantity stands for, e.g. `2Gi` or 1.0.

    Raises:
        ValueError: `value` is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool) and value == value and value not in INFINITE:
        return Fraction(value)
    if not isinstance(value, str):
        raise ValueError("not a Kubernetes quantity")
    return _quantity(value)


@lru_cache(maxsize=1024)  # a stack has few different ones
def _quantity(text: str) -> Fraction:
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError("not a Kubernetes quantity")
    number, unit, exponent = match.groups()
    return Fraction(number) * _MULTIPLIER[unit or ""] * Fraction(10) ** int(exponent or 0)
