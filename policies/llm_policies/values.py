"""Reads what the engine, or a manifest, says of an object: without a guess where it is unknown, or of the wrong type.

A value knows its path. What cannot be judged raises a `Doubt`, so that no rule takes it for an answer: an unknown of a
preview is undecided, a wrong type is a finding.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any, TypeVar

from llm_policies.quantities import INFINITE, quantity

UNKNOWNS = frozenset(
    {
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)
"""How the engine writes what is known after the deployment only, by its type (sdk/go/common/resource/plugin)."""

SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Key of a mapping that stands for a value of another kind (sdk/go/common/resource/sig)."""

SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # what marks a secret, and none itself

_PERCENT = re.compile(r"([0-9]{1,9})%", re.ASCII)
_LONGEST_SHOWN = 60

_Item = TypeVar("_Item")
_Number = TypeVar("_Number", int, float, Fraction)


class Doubt(Exception):
    """A value that a rule needs, and cannot judge."""

    def __init__(self, message: str, of: Value | None = None) -> None:
        """What is in doubt, `of` which value where it is one."""
        super().__init__(message)
        self.of = of


class Undecided(Doubt):
    """It is known after the deployment only."""

    def __init__(self, path: str, of: Value | None = None) -> None:
        super().__init__(f"{path} is known after the deployment only", of)


class Unsaid(Doubt):
    """A patch says nothing of it: what it is, is elsewhere."""


class Malformed(Doubt):
    """It is not of the type that Kubernetes has there."""

    def __init__(self, value: Value, expected: str) -> None:
        """What may be secret is told by its kind alone."""
        told = _Hidden(value.raw) if value.is_secret else value.raw
        super().__init__(f"{value.path} is {shown(told)}, not {expected}", value)


def shown(value: object) -> str:
    """`value` for a message: short, and no secret."""
    match value:
        case {}:
            return "a secret" if value.get(SIGNATURE) == SECRET else "a mapping"
        case list() | tuple():
            return "a list"
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            value = int(value)  # the engine sends all numbers as floats
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def each(items: Iterable[_Item], judge: Callable[[_Item], Iterable[str | Doubt]]) -> Iterator[str | Doubt]:
    """What `judge` says of each of `items`; a doubt about one does not keep the others from being judged."""
    for item in items:
        try:
            yield from judge(item)
        except Doubt as doubt:
            yield doubt


def hidden(value: Value) -> Value:
    """`value`, shown in no message: a variable or an argument may be a secret."""
    found = value.replaced(value.raw)
    found.is_secret = True
    return found


class Value:
    """A value of an object, and where it is."""

    __slots__ = ("_key", "_within", "is_secret", "partial", "raw")

    def __init__(self, raw: Any, path: str = "", *, partial: bool = False, is_secret: bool = False) -> None:
        """A value as JSON has it.

        Args:
            raw: mapping, list, text, number, truth value or None; mappings with SIGNATURE may stand for secrets.
            path: for messages, e.g. `spec.replicas`.
            partial: whether absence means nothing, as in a patch.
            is_secret: whether it is part of a secret, or may be one: no message shows it.
        """
        self._within: Value | None = None
        self._key: str | int | tuple[str, ...] = path
        self.partial = partial
        self.is_secret = is_secret
        self.raw = raw
        self._open()

    def _open(self) -> None:
        """Take the mark of a secret off what it marks."""
        while isinstance(self.raw, Mapping) and self.raw.get(SIGNATURE) == SECRET:
            self.raw, self.is_secret = self.raw.get("value"), True

    def _child(self, raw: Any, key: str | int | tuple[str, ...]) -> Value:
        """What is at `key`, below several, or here with none.

        Rules ask for thousands: nothing is done here that can be done later.
        """
        child = Value.__new__(Value)
        child._within, child._key, child.raw = self, key, raw
        child.partial, child.is_secret = self.partial, self.is_secret
        if type(raw) is dict and SIGNATURE in raw:
            child._open()
        return child

    @property
    def path(self) -> str:
        """Where it is, for messages, e.g. `spec.containers[0].image`."""
        if self._within is None:
            return str(self._key)
        around = self._within.path
        if isinstance(self._key, int):
            return f"{around}[{self._key}]"
        keys = (self._key,) if isinstance(self._key, str) else self._key
        return ".".join((around, *keys) if around else keys)

    def replaced(self, raw: Any) -> Value:
        """`raw` at its place."""
        return self._child(raw, ())  # a child with no key of its own is at the same place

    def outwards(self) -> Iterator[Value]:
        """It, and each that it is in, up to the whole."""
        here: Value | None = self
        while here is not None:
            yield here
            here = here._within

    @property
    def exists(self) -> bool:
        """Whether anything is said: also of what is known later only.

        Raises:
            Unsaid: a patch leaves it out.
        """
        if self.raw is None and self.partial:
            raise Unsaid(self.path, self)
        return self.raw is not None

    @property
    def is_unknown(self) -> bool:
        """Whether it is known after the deployment only."""
        return isinstance(self.raw, str) and self.raw in UNKNOWNS

    def malformed(self, expected: str) -> Malformed:
        """Why it cannot be judged, to be raised: it is not `expected`."""
        return Malformed(self, expected)

    def get(self, *keys: str) -> Value:
        """What is below `keys`; of nothing, nothing.

        Raises:
            Doubt: something on the way is unknown, or no mapping.
        """
        raw = self.raw
        for key in keys:
            if type(raw) is not dict or SIGNATURE in raw:  # the rare ones, and what ends here
                return self._below(keys)
            raw = raw.get(key)
        return self._child(raw, keys)

    def _below(self, keys: tuple[str, ...]) -> Value:
        here = self
        for key in keys:
            raw = here._mapping()
            here = here._child(raw.get(key) if raw is not None else None, key)
        return here

    def pairs(self) -> list[tuple[str, Value]]:
        """Keys and values of a mapping; none of nothing."""
        return [
            (str(key), self._child(value, str(key)))
            for key, value in (self._mapping() or {}).items()
            if key != SIGNATURE
        ]

    def items(self) -> list[Value]:
        """Values of a list; none of nothing.

        Raises:
            Doubt: it is unknown, or no list.
        """
        raw = self._known()
        if raw is None:
            return []
        if not isinstance(raw, list | tuple):
            raise hidden(self).malformed("a list")
        return [self._child(item, index) for index, item in enumerate(raw)]

    def text(self) -> str | None:
        """A text, or None."""
        raw = self._known()
        if raw is not None and not isinstance(raw, str):
            raise self.malformed("a text")
        return raw

    def boolean(self) -> bool | None:
        """A truth value, or None."""
        raw = self._known()
        if raw is not None and not isinstance(raw, bool):
            raise self.malformed("true or false")
        return raw

    def integer(self, *, least: int | None = None) -> int | None:
        """A whole number, or None. The engine sends all numbers as floats.

        Raises:
            Doubt: it is unknown, no whole number, or less than Kubernetes takes there (`least`).
        """
        raw = self._known()
        if raw is None:
            return None
        if isinstance(raw, bool) or not isinstance(raw, int | float) or raw != raw or raw in INFINITE or raw % 1:
            raise self.malformed("a whole number")
        if abs(raw) > _LARGEST:
            raise self.malformed("a whole number")
        return int(self._at_least(raw, least))

    def quantity(self, *, least: int | None = None) -> Fraction | None:
        """The number that a Kubernetes quantity stands for, e.g. `2Gi` or 1.0, capped as Kubernetes does, or None.

        Raises:
            Doubt: it is unknown, no quantity, or less than Kubernetes takes there (`least`).
        """
        raw = self._known()
        if raw is None:
            return None
        try:
            found = max(Fraction(-_LARGEST), min(Fraction(_LARGEST), quantity(raw)))
        except ValueError:
            raise self.malformed("a Kubernetes quantity") from None
        return self._at_least(found, least)

    def _at_least(self, number: _Number, least: int | None) -> _Number:
        if least is not None and number < least:
            raise self.malformed(f"{least} or more")
        return number

    def share(self, of: int) -> Fraction | None:
        """A number of pods, or a percentage of `of`; not rounded."""
        raw = self._known()
        if isinstance(raw, str) and (percent := _PERCENT.fullmatch(raw)):
            return Fraction(int(percent[1]) * of, 100)
        number = self.integer() if not isinstance(raw, str) else None
        if raw is not None and (number is None or number < 0):
            raise self.malformed("a number of pods or a percentage")
        return None if number is None else Fraction(number)

    def _mapping(self) -> Mapping[str, Any] | None:
        if type(self.raw) is dict and SIGNATURE not in self.raw:
            return self.raw
        raw = self._known()
        if raw is not None and (not isinstance(raw, Mapping) or SIGNATURE in raw):
            raise hidden(self).malformed("a mapping")
        return raw

    def _known(self) -> Any:
        if self.is_unknown:
            raise Undecided(self.path, self)
        if self.raw is None and self.partial:
            raise Unsaid(self.path, self)
        return self.raw


class _Hidden:
    """Stands for a value that no message may show: its kind is enough to correct a field."""

    def __init__(self, value: object) -> None:
        self._value = value

    def __repr__(self) -> str:
        match self._value:
            case None:
                return "nothing"
            case bool():
                return "a truth value"
            case int() | float():
                return "a number"
            case list() | tuple():
                return "a list"
            case Mapping():
                return "a mapping"
        return "a text"


_LARGEST = 2**63 - 1
"""Of numbers in Kubernetes: int64."""
