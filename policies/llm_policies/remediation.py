"""Applies a remediation's edits to what the engine sent, without touching a secret."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llm_policies.rule import REMOVE, Edit
from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS


class Refused(Exception):
    """An edit that would rewrite a secret, something unknown, or what is not as the rule took it to be."""


def apply(properties: dict[str, Any], edits: Iterable[Edit]) -> bool:
    """Change `properties` in place; whether there was anything to change.

    Raises:
        Refused: nothing may be changed; `properties` is then half changed and must be thrown away.
    """
    changed = False
    for edit in edits:
        holder, key = _holder(properties, edit.path)
        old = holder[key] if isinstance(holder, list) else holder.get(key)
        if _holds_closed(old):
            raise Refused(_path(edit))
        if edit.value is REMOVE:
            changed |= _removed(holder, key)
        elif old != edit.value:
            holder[key] = edit.value
            changed = True
    return changed


def _holder(properties: dict[str, Any], path: tuple[str | int, ...]) -> tuple[Any, Any]:
    """The mapping or list that holds the last key of `path`."""
    here: Any = _opened(properties)
    for position, key in enumerate(path[:-1]):
        if isinstance(here, list) and isinstance(key, int) and key < len(here):
            here = here[key]
        elif isinstance(here, dict) and isinstance(key, str):
            if here.get(key) is None:
                here[key] = [] if isinstance(path[position + 1], int) else {}
            here = here[key]
        else:
            raise Refused(".".join(map(str, path)))
        here = _opened(here)
        if _is_closed(here):
            raise Refused(".".join(map(str, path)))
    last = path[-1]
    fits = isinstance(here, dict) and isinstance(last, str)
    if isinstance(here, list) and last == len(here):
        here.append(None)
    if not fits and not (isinstance(here, list) and isinstance(last, int) and last < len(here)):
        raise Refused(".".join(map(str, path)))
    return here, last


def _removed(holder: Any, key: Any) -> bool:
    if isinstance(holder, dict) and key not in holder:
        return False
    del holder[key]
    return True


def _opened(value: Any) -> Any:
    """The mapping or list that is marked as secret as a whole, for one secret in it: the mark stays around it."""
    while isinstance(value, dict) and value.get(SIGNATURE) == SECRET and isinstance(value.get("value"), dict | list):
        value = value["value"]
    return value


def _is_closed(value: Any) -> bool:
    """Whether `value` is a secret, an asset, or not known yet."""
    return (isinstance(value, dict) and SIGNATURE in value) or (isinstance(value, str) and value in UNKNOWNS)


def _holds_closed(value: Any) -> bool:
    """Whether `value` is closed, or something in it, which would be lost with it."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return _is_closed(value) or any(_holds_closed(item) for item in inner)


def _path(edit: Edit) -> str:
    return ".".join(str(key) for key in edit.path)
