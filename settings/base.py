"""What all settings share: strict, frozen models in camelCase, and the words that name things in Kubernetes."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

_RFC1123_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_UNIT_BYTES: dict[str | None, int] = {
    None: 1,
    **{unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), start=1)},
    **{unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T", "P"), start=1)},
}
_SMALLEST_MEMORY_BYTES = 1024**2
_LONGEST_SERVICE_NAME = 49


class StrictModel(BaseModel):
    """Base of all settings: a misspelt key or a value of the wrong type is an error; nothing changes later."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, alias_generator=to_camel, validate_by_name=True)


def _rfc1123_label(name: str) -> str:
    if _RFC1123_LABEL.fullmatch(name):
        return name
    suggestion = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
    hint = f"; try {suggestion!r}" if _RFC1123_LABEL.fullmatch(suggestion) else ""
    raise ValueError(
        f"{name!r} is not an RFC 1123 label (a-z, 0-9 and '-', at most 63), so Kubernetes would refuse it{hint}."
    )


def _service_name(name: str) -> str:
    if not name[0].isalpha() or len(name) > _LONGEST_SERVICE_NAME:
        raise ValueError(
            f"{name!r} must start with a letter and have at most {_LONGEST_SERVICE_NAME} characters: a Service is "
            "named so, and a Job with 14 characters more."
        )
    return name


def quantity_bytes(quantity: str) -> int:
    """The bytes that a Kubernetes quantity of memory or storage stands for.

    Args:
        quantity: digits and one of Kubernetes' suffixes, e.g. `4Gi` (4 x 2^30) or `4G` (4 x 10^9).

    Raises:
        ValueError: `quantity` is not one.
    """
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(
            f"{quantity!r} is not a Kubernetes quantity; write e.g. '4Gi' (2^30) or '4G' (10^9), without a space."
        )
    number, unit = match.groups()
    return int(Fraction(number) * _UNIT_BYTES[unit])


def _size(quantity: str) -> str:
    size = quantity_bytes(quantity)
    if size < _SMALLEST_MEMORY_BYTES:
        raise ValueError(f"{quantity!r} is {size} bytes, too little for anything here; write e.g. '50Gi'.")
    return quantity


Name = Annotated[str, AfterValidator(_rfc1123_label)]
"""A name that Kubernetes accepts for every kind of object (RFC 1123 label)."""

ServiceName = Annotated[Name, AfterValidator(_service_name)]
"""A name that is also a Service's (RFC 1035 label), with room for the suffixes of its other objects."""

Size = Annotated[str, AfterValidator(_size)]
"""An amount of memory or storage as a Kubernetes quantity of at least 1Mi."""
