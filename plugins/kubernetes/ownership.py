"""Who owns which fields of an object: Kubernetes' managedFields, as far as updates need them."""

from __future__ import annotations

import copy
import re
from typing import Any

from plugins.kubernetes.objects import Object, pluck

CREATOR = "pulumi-kubernetes"
"""Field manager of an object's creation, which is a plain POST so that an existing object is refused."""

# Managers whose plain writes are ours, or those of tools that an object is taken over from.
_TAKEN_OVER = frozenset(
    {CREATOR, "pulumi-kubernetes.exe", "pulumi-resource-kubernetes", "kubectl", "before-first-apply"}
)


def managed_fields(live: Object) -> list[dict[str, Any]]:
    """The object's entries of managedFields."""
    return pluck(live, "metadata", "managedFields", default=None) or []


def applied_by(live: Object, wanted: Object | None = None) -> str:
    """The manager of this program that applied the object last, as a run that was cut off has left it; or empty.

    With `wanted`, the inputs of a Patch resource, only one that holds all their fields: other Patch resources may
    change the same object, and a manager that two of them shared would take the fields of one off with the other's.
    """
    parts = [path for path in _leaves(wanted or {}) if path not in _IDENTITY]
    found = (
        str(entry.get("manager", ""))
        for entry in reversed(managed_fields(live))
        if entry.get("operation") == "Apply" and all(_owned(entry.get("fieldsV1") or {}, path) for path in parts)
    )
    return next((name for name in found if name.startswith("pulumi-kubernetes-")), "")


_IDENTITY: tuple[list[str | int], ...] = (["apiVersion"], ["kind"], ["metadata", "name"], ["metadata", "namespace"])


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[list[str | int]]:
    """Paths to all that is no mapping."""
    if isinstance(value, dict):
        return [leaf for name, item in value.items() for leaf in _leaves(item, (*path, name))]
    return [list(path)]


def _ours_by_write(entry: dict[str, Any]) -> bool:
    if entry.get("subresource"):
        return False
    if entry.get("manager") == "kubectl":
        return True
    return entry.get("manager") in _TAKEN_OVER and entry.get("operation") == "Update"


def was_written(live: Object) -> bool:
    """Whether fields are still owned by the creation, and not by an apply."""
    return any(_ours_by_write(entry) for entry in managed_fields(live))


def as_applied(live: Object, manager: str) -> list[dict[str, Any]] | None:
    """The managedFields with which fields owned by the creation belong to `manager`'s apply; None if none are.

    Otherwise a field taken out of the program would stay in the object: its creation would still own it.
    """
    entries = managed_fields(live)
    if not was_written(live):
        return None
    kept = [entry for entry in entries if not _ours_by_write(entry)]
    ours = [entry for entry in entries if _ours_by_write(entry)]
    fields: dict[str, Any] = {}
    for entry in ours:
        fields = _union(fields, entry.get("fieldsV1") or {})
    applied = next((entry for entry in kept if entry["manager"] == manager and entry["operation"] == "Apply"), None)
    if applied is not None:
        applied = {**applied, "fieldsV1": _union(applied.get("fieldsV1") or {}, fields)}
        return [applied if entry["manager"] == manager and entry["operation"] == "Apply" else entry for entry in kept]
    return [{**ours[0], "manager": manager, "operation": "Apply", "fieldsV1": fields}, *kept]


def _union(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    result = dict(one)
    for name, value in other.items():
        result[name] = _union(result[name], value) if name in result else value
    return result


def apply_ignored(inputs: Object, live: Object, ignored: list[str], manager: str) -> Object:
    """`inputs` as they are to be applied when changes of the fields `ignored` are to be left alone.

    A field that only others own is left out, so that it stays theirs (a replica count of an autoscaler); any other
    is applied with the value that it has now.

    Args:
        inputs: the new inputs.
        live: the object as it is.
        ignored: property paths as in `ignoreChanges`.
        manager: the resource's field manager.
    """
    result = copy.deepcopy(inputs)
    theirs, ours = _fields(live, manager)
    for path in ignored:
        parts = path_parts(path)
        value = pluck(live, *parts)
        if _owned(theirs, parts) and not _owned(ours, parts):
            _remove(result, parts)
        elif value is not None:
            _put(result, parts, value)
    return result


def _fields(live: Object, manager: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields of others and ours; ours includes what the creation wrote."""
    theirs: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    for entry in managed_fields(live):
        fields = entry.get("fieldsV1") or {}
        if entry.get("manager") == manager or _ours_by_write(entry):
            ours = _union(ours, fields)
        else:
            theirs = _union(theirs, fields)
    return theirs, ours


def path_parts(path: str) -> list[str | int]:
    """A property path's parts: `spec.containers[0]["a.b"]`."""
    parts: list[str | int] = []
    for name, index, quoted in re.findall(r'([^.\[\]"]+)|\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]', path):
        if index or (name.isdigit() and f"[{name}]" in path):
            parts.append(int(index or name))
        else:
            parts.append(name or quoted.replace('\\"', '"'))
    return parts


def _owned(fields: dict[str, Any], parts: list[str | int]) -> bool:
    """Whether `fields` (a fieldsV1) has the path; lists are not gone into: their elements have keys there."""
    here: Any = fields
    for part in parts:
        if isinstance(part, int):
            return bool(here)
        if f"f:{part}" not in here:
            return False
        here = here[f"f:{part}"]
    return True


def _remove(obj: Any, parts: list[str | int]) -> None:
    parent = pluck(obj, *parts[:-1])
    if isinstance(parent, dict):
        parent.pop(parts[-1], None)


def _put(obj: Any, parts: list[str | int], value: Any) -> None:
    """Set the value at `parts`, where its parent is there or can be made."""
    for part in parts[:-1]:
        if isinstance(obj, list):
            if not isinstance(part, int) or part >= len(obj):
                return
            obj = obj[part]
        elif isinstance(obj, dict):
            obj = obj.setdefault(part, {})
        else:
            return
    last = parts[-1]
    if isinstance(last, str) and isinstance(obj, dict):
        obj[last] = value
    if isinstance(last, int) and isinstance(obj, list) and last < len(obj):
        obj[last] = value
