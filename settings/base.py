"""What all settings share: strict, frozen models in camelCase, and the words that name things in Kubernetes."""

from __future__ import annotations

import re
import unicodedata
from fractions import Fraction
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema
from pydantic.alias_generators import to_camel

_RFC1123_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(Ki|Mi|Gi|Ti|Pi|k|M|G|T|P)?")
_ALMOST_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp])i?b?", re.IGNORECASE)
_UNIT_BYTES: dict[str | None, int] = {
    None: 1,
    **{unit: 1024**power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi"), start=1)},
    **{unit: 1000**power for power, unit in enumerate(("k", "M", "G", "T", "P"), start=1)},
}
_SMALLEST_MEMORY_BYTES = 1024**2
_LARGEST_BYTES = 2**63 - 1
"""Kubernetes keeps the value of a quantity in 64 bits, and takes what is larger for this (resource.Quantity)."""

_LONGEST_QUANTITY = 32
_LONGEST_SERVICE_NAME = 49
_LONGEST_SUBDOMAIN = 253
# Letters of other scripts that look like those of a name.
_LOOKALIKES = str.maketrans("\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458", "aeopcyxisj")
# domain[:port]/path[:tag][@digest], as distribution/reference of the container registries has it, in lower case.
_IMAGE = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(?:@sha256:[a-f0-9]{64})?"
)


class StrictModel(BaseModel):
    """Base of all settings: a misspelt key or a value of the wrong type is an error; nothing changes later."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        alias_generator=to_camel,
        validate_by_name=True,
        allow_inf_nan=False,
    )


def label_suggestion(name: str) -> str | None:
    """A name that Kubernetes accepts and that is as near to `name` as can be; None where little would be left."""
    plain = unicodedata.normalize("NFKD", name.lower()).translate(_LOOKALIKES)
    kept = "".join(c for c in plain if not unicodedata.category(c).startswith(("M", "C")))  # accents, zero width
    if re.search(r"[^\W_]", re.sub(r"[a-z0-9]", "", kept)):
        return None  # letters of a script that has no others here
    suggestion = re.sub(r"[^a-z0-9]+", "-", kept).strip("-")[:63].strip("-")
    return suggestion if _RFC1123_LABEL.fullmatch(suggestion) else None


def _rfc1123_label(name: str) -> str:
    if _RFC1123_LABEL.fullmatch(name):
        return name
    suggestion = label_suggestion(name)
    hint = f"; try {suggestion!r}" if suggestion and suggestion != name else ""
    raise ValueError(
        f"{name!r} is not an RFC 1123 label (a-z, 0-9 and '-', at most 63), so Kubernetes would refuse it"
        f"{_odd_character(name)}{hint}."
    )


def _odd_character(name: str) -> str:
    """The first character that is no printable ASCII, since it may not be seen, or may be taken for another."""
    for place, character in enumerate(name, start=1):
        if not " " <= character <= "~":
            called = unicodedata.name(character, "a control character")
            return f": character {place} is U+{ord(character):04X}, {called}"
    return ""


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
    match = _QUANTITY.fullmatch(quantity) if len(quantity) <= _LONGEST_QUANTITY else None
    if match is None:
        raise ValueError(f"{quantity!r} is not a Kubernetes quantity; {_quantity_meant(quantity)}.")
    number, unit = match.groups()
    return int(Fraction(number) * _UNIT_BYTES[unit])


def _quantity_meant(quantity: str) -> str:
    """What to write in the place of what is none."""
    almost = _ALMOST_QUANTITY.fullmatch(quantity.strip()) if len(quantity) <= _LONGEST_QUANTITY else None
    if quantity.startswith("-") and _QUANTITY.fullmatch(quantity[1:]):
        return f"it must be positive, so write e.g. '{quantity[1:]}'"
    if almost is None:
        return "write e.g. '4Gi' (2^30) or '4G' (10^9), without a space"
    number, letter = almost[1], almost[2].upper()
    power = "KMGTP".index(letter) + 1
    decimal = "k" if letter == "K" else letter
    return f"write '{number}{letter}i' ({number} x 2^{10 * power} bytes) or '{number}{decimal}' (x 10^{3 * power})"


def _size(quantity: str) -> str:
    size = quantity_bytes(quantity)
    if size < _SMALLEST_MEMORY_BYTES:
        gib = f"{quantity}Gi" if quantity.isdigit() and int(quantity) else "50Gi"
        raise ValueError(f"{quantity!r} is {size} bytes, too little for anything here; write e.g. '{gib}'.")
    if size > _LARGEST_BYTES:
        raise ValueError(f"{quantity!r} is more than the 2^63 - 1 bytes that Kubernetes counts; write e.g. '50Gi'.")
    return quantity


def _not_bare(quantity: object) -> object:
    if isinstance(quantity, int | float) and not isinstance(quantity, bool):
        raise ValueError(f"{quantity!r} is a number without a unit, which would be bytes; write e.g. '{quantity}Gi'.")
    return quantity


def _subdomain(name: str) -> str:
    if len(name) > _LONGEST_SUBDOMAIN or not all(_RFC1123_LABEL.fullmatch(label) for label in name.split(".")):
        raise ValueError(
            f"{name!r} is not an RFC 1123 subdomain (labels of a-z, 0-9 and '-' with dots between them, at most "
            f"{_LONGEST_SUBDOMAIN} characters), so Kubernetes has no object of that name{_odd_character(name)}."
        )
    return name


def _image(image: str) -> str:
    if not _IMAGE.fullmatch(image):
        raise ValueError(
            f"{image!r} is no reference of a container image, so it could not be pulled. Write "
            "'registry/repository:tag' or 'registry/repository@sha256:...', the repository in small letters."
        )
    return image


Name = Annotated[
    str,
    AfterValidator(_rfc1123_label),
    WithJsonSchema({"type": "string", "pattern": f"^{_RFC1123_LABEL.pattern}$"}),
]
"""A name that Kubernetes accepts for every kind of object (RFC 1123 label)."""

ServiceName = Annotated[
    Name,
    AfterValidator(_service_name),
    WithJsonSchema({"type": "string", "pattern": f"^[a-z]([a-z0-9-]{{0,{_LONGEST_SERVICE_NAME - 2}}}[a-z0-9])?$"}),
]
"""A name that is also a Service's (RFC 1035 label), with room for the suffixes of its other objects."""

Subdomain = Annotated[
    str,
    AfterValidator(_subdomain),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^{_RFC1123_LABEL.pattern}(\.{_RFC1123_LABEL.pattern})*$",
            "maxLength": _LONGEST_SUBDOMAIN,
        }
    ),
]
"""The name of an object whose kind allows dots (RFC 1123 subdomain)."""

Size = Annotated[
    str,
    BeforeValidator(_not_bare, json_schema_input_type=str),
    AfterValidator(_size),
    WithJsonSchema({"type": "string", "pattern": f"^{_QUANTITY.pattern}$", "examples": ["512Mi", "4Gi", "50Gi"]}),
]
"""An amount of memory or storage as a Kubernetes quantity of at least 1Mi."""

Image = Annotated[str, AfterValidator(_image), WithJsonSchema({"type": "string", "pattern": f"^{_IMAGE.pattern}$"})]
"""A container image, as the container runtime takes it."""
