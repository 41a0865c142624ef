"""What differs between two versions of a resource's properties, path by path, and the engine's form of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pulumi.runtime.proto import provider_pb2 as pb

from plugins._values import UNKNOWN

Path = tuple[str | int, ...]
"""Path of a property: names and list indices."""
Kind = Literal["add", "delete", "update"]

_PLAIN_NAME = re.compile(r'[^."\[\]]+')


@dataclass(frozen=True)
class Change:
    """One property that differs; `value` is what was added or taken away, or the new value."""

    path: Path
    kind: Kind
    value: Any
    replace: bool = False

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


def same(_path: Path, old: Any, new: Any) -> bool:
    """Whether two plain values are equal; True is not 1, and nothing is known to equal an unknown."""
    if old is UNKNOWN or new is UNKNOWN:
        return False
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


def differences(
    old: Any, new: Any, path: Path = (), equal: Callable[[Path, Any, Any], bool] = same
) -> Iterator[Change]:
    """What differs between `old` and `new`, both with secrets laid open; a missing property is the same as a null.

    Args:
        old: the value before.
        new: the value now; may hold unknowns.
        path: where both are.
        equal: tells whether two values at a path mean the same.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        for name in [*old, *(name for name in new if name not in old)]:
            yield from differences(old.get(name), new.get(name), (*path, name), equal)
    elif isinstance(old, list) and isinstance(new, list):
        for index in range(max(len(old), len(new))):
            here = (*path, index)
            if index >= len(new):
                yield Change(here, "delete", old[index])
            elif index >= len(old):
                yield Change(here, "add", new[index])
            else:
                yield from differences(old[index], new[index], here, equal)
    elif old is None and new is None:
        return
    elif new is None:
        yield Change(path, "delete", old)
    elif old is None:
        yield Change(path, "add", new)
    elif not equal(path, old, new):
        yield Change(path, "update", new)


def diff_response(found: list[Change], *, delete_before_replace: bool = False) -> pb.DiffResponse:
    """The answer to Diff for the changes `found`."""
    return pb.DiffResponse(
        changes=pb.DiffResponse.DIFF_SOME if found else pb.DiffResponse.DIFF_NONE,
        replaces=[change.shown_path for change in found if change.replace],
        deleteBeforeReplace=delete_before_replace,
        diffs=sorted({str(change.path[0]) for change in found}),
        detailedDiff={change.shown_path: _detail(change) for change in found},
        hasDetailedDiff=True,
    )


def _detail(change: Change) -> pb.PropertyDiff:
    kinds = pb.PropertyDiff
    plain = {"add": kinds.ADD, "delete": kinds.DELETE, "update": kinds.UPDATE}
    replace = {"add": kinds.ADD_REPLACE, "delete": kinds.DELETE_REPLACE, "update": kinds.UPDATE_REPLACE}
    kind = (replace if change.replace else plain)[change.kind]
    # A deleted property is not in the outputs' new value; the engine shows it from the inputs.
    return kinds(kind=kind, inputDiff=change.kind == "delete")
