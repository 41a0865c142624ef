"""What changes between two versions of an object's inputs, and what of them is still there on the server."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from kubernetes.utils.quantity import parse_quantity

from plugins._properties import Change, Path, differences
from plugins._properties import same as same_value
from plugins.kubernetes.immutable import replaces

_QUANTITY_PARENTS = frozenset({"requests", "limits", "capacity", "hard", "default", "defaultRequest", "max", "min"})
_QUANTITY_NAMES = frozenset({"sizeLimit", "averageValue", "divisor"})


def changes(old: dict[str, Any], new: dict[str, Any], immutable: list[Path]) -> list[Change]:
    """The properties in which `new` differs from `old`, both with secrets laid open; `new` may hold unknowns.

    A change in a field that cannot be changed in place is marked to replace, also where it is not known yet.
    """
    return [
        Change(change.path, change.kind, change.value, replace=replaces(change.path, immutable, change.value))
        for change in differences(old, new, equal=same)
    ]


def same(path: Path, old: Any, new: Any) -> bool:
    """Whether two values mean the same at `path`: quantities may be written differently, e.g. 1024Mi and 1Gi."""
    if same_value(path, old, new):
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
        parsed: Decimal = parse_quantity(value)  # type: ignore[no-untyped-call]  # the client is not typed
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
        result: dict[str, Any] = {}
        for name, value in inputs.items():
            if value is None:  # nothing was asked for: what the server makes of that is its own
                result[name] = None
            elif name in live:
                result[name] = observed(value, live[name], (*path, name))
            elif value in ({}, [], "", False, 0):  # the server leaves out what is empty
                result[name] = value
        return result
    if isinstance(inputs, list) and isinstance(live, list):
        both = zip(inputs, live, strict=False)
        common = [observed(value, there, (*path, index)) for index, (value, there) in enumerate(both)]
        # What others have added is a change only to a list of plain values: a list of objects may be added to.
        grown = live[len(inputs) :] if not any(isinstance(item, dict) for item in live) else []
        return [*common, *grown]
    return inputs if same(path, inputs, live) else live
