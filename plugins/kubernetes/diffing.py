"""What changes between two versions of an object's inputs, property by property."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from kubernetes.utils.quantity import parse_quantity

from plugins._values import UNKNOWN
from plugins.kubernetes.immutable import Path, replaces

Kind = Literal["add", "delete", "update"]

_QUANTITY_PARENTS = frozenset({"requests", "limits", "capacity", "hard", "default", "defaultRequest", "max", "min"})
_QUANTITY_NAMES = frozenset({"sizeLimit", "averageValue", "divisor"})
_PLAIN_NAME = re.compile(r'[^."\[\]]+')


@dataclass(frozen=True)
class Change:
    """One property that differs."""

    path: Path
    kind: Kind
    replace: bool

    @property
    def shown_path(self) -> str:
        """The path as Pulumi writes it: `spec.containers[0].image`, `metadata.labels["a.b/c"]`."""
        text = ""
        for part in self.path:
            if isinstance(part, int):
                text += f"[{part}]"
            elif _PLAIN_NAME.fullmatch(part):
                text += f".{part}" if text else part
            else:
                escaped = part.replace('"', '\\"')
                text += f'["{escaped}"]'
        return text


def changes(old: dict[str, Any], new: dict[str, Any], immutable: list[Path]) -> list[Change]:
    """The properties in which `new` differs from `old`, both with secrets laid open; `new` may hold unknowns.

    A change in a field that cannot be changed in place is marked to replace, also where it is not known yet.
    """
    found = []
    for path, kind, value in _differences((), old, new):
        found.append(Change(path, kind, replaces(path, immutable, value)))
    return found


def _differences(path: Path, old: Any, new: Any) -> Iterator[tuple[Path, Kind, Any]]:
    """(path, kind, the value that is added or taken away) of what differs below `path`."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            here = (*path, name)
            if name not in new:
                if old[name] is not None:
                    yield here, "delete", old[name]
            elif name not in old:
                if new[name] is not None:
                    yield here, "add", new[name]
            else:
                yield from _differences(here, old[name], new[name])
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            here = (*path, index)
            if index >= len(new):
                yield here, "delete", old[index]
            elif index >= len(old):
                yield here, "add", new[index]
            else:
                yield from _differences(here, old[index], new[index])
    elif new is None and old is not None:
        yield path, "delete", old
    elif old is None and new is not None:
        yield path, "add", new
    elif not same(path, old, new):
        yield path, "update", new


def same(path: Path, old: Any, new: Any) -> bool:
    """Whether two values mean the same at `path`: quantities may be written differently, e.g. 1024Mi and 1Gi."""
    if new is UNKNOWN or old is UNKNOWN:
        return False
    # True == 1 in Python, not in JSON.
    if isinstance(old, bool) == isinstance(new, bool) and old == new:
        return True
    if not _is_quantity(path):
        return False
    before, after = _quantity(old), _quantity(new)
    return before is not None and before == after


def _is_quantity(path: Path) -> bool:
    names = [part for part in path if isinstance(part, str)]
    if not names:
        return False
    return (
        names[-1] in _QUANTITY_NAMES
        or (len(names) > 1 and names[-2] in _QUANTITY_PARENTS)
        or names[-2:] == ["target", "value"]
    )


def _quantity(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        parsed: Decimal = parse_quantity(value)
    except ValueError:
        return None
    return parsed


def observed(inputs: Any, live: Any, path: Path = ()) -> Any:
    """The inputs as the live object has them: the same shape, with the live values.

    What the server only writes differently, and what is empty and therefore left out by it, stays as it was, so that
    a refresh shows no change where there is none.

    Args:
        inputs: what was asked for.
        live: what is there.
        path: where in the object this is.

    Returns:
        Values of `live` at the places of `inputs`. A place that is gone is left out.
    """
    if isinstance(inputs, dict) and isinstance(live, dict):
        result = {}
        for name, value in inputs.items():
            if name in live:
                result[name] = observed(value, live[name], (*path, name))
            elif value in (None, {}, [], "", False, 0):  # the server leaves out what is empty
                result[name] = value
        return result
    if isinstance(inputs, list) and isinstance(live, list):
        common = [
            observed(value, live[index], (*path, index)) for index, value in enumerate(inputs) if index < len(live)
        ]
        # Elements that others have added are a change only where the list is one of plain values.
        grown = live[len(inputs) :] if not any(isinstance(item, dict) for item in live) else []
        return [*common, *grown]
    return inputs if same(path, inputs, live) else live
