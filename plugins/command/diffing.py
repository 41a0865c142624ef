"""What differs between two versions of a command's inputs, as the official plugin's framework sees it.

Secrecy counts: a text that has become secret, or is not any more, has changed, and its command runs again. What is
within a secret is not gone into: a connection changes as a whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pulumi.runtime.proto import provider_pb2 as pb

from plugins._properties import Change, Path, same
from plugins._values import SIGNATURE

REPLACES = "triggers"
"""Replaces when it comes or goes. That a changed element replaces, too, the SDK says (`replace_on_changes`)."""


def diff(old: dict[str, Any], new: dict[str, Any]) -> pb.DiffResponse:
    """The answer to Diff for the inputs before and now, with secrets and unknowns wrapped."""
    kinds = pb.PropertyDiff
    plain = {"add": kinds.ADD, "delete": kinds.DELETE, "update": kinds.UPDATE}
    replacing = {"add": kinds.ADD_REPLACE, "delete": kinds.DELETE_REPLACE, "update": kinds.UPDATE_REPLACE}
    found = {change.shown_path: change for change in _of_maps(old, new, ())}
    return pb.DiffResponse(
        changes=pb.DiffResponse.DIFF_SOME if found else pb.DiffResponse.DIFF_NONE,
        replaces=[path for path in found if path == REPLACES],
        diffs=sorted({str(change.path[0]) for change in found.values()}),
        detailedDiff={
            path: kinds(kind=(replacing if path == REPLACES else plain)[change.kind]) for path, change in found.items()
        },
        hasDetailedDiff=True,
    )


def _of_maps(old: dict[str, Any], new: dict[str, Any], path: Path) -> Iterator[Change]:
    for name in [*old, *(name for name in new if name not in old)]:
        here = (*path, name)
        if old.get(name) is None:
            if new.get(name) is not None:
                yield Change(here, "add", new[name])
        elif new.get(name) is None:
            yield Change(here, "delete", old[name])
        else:
            yield from _of_values(old[name], new[name], here)


def _of_values(old: Any, new: Any, path: Path) -> Iterator[Change]:
    if _is_asset(old) or _is_asset(new):
        if not (_is_asset(old) and _is_asset(new) and _content(old) == _content(new)):
            yield Change(path, "update", new)
    elif isinstance(old, dict) and isinstance(new, dict):
        yield from _of_maps(old, new, path)
    elif isinstance(old, list) and isinstance(new, list):
        for index, (before, now) in enumerate(zip(old, new, strict=False)):
            yield from _of_values(before, now, (*path, index))
        for index in range(len(old), len(new)):
            yield Change((*path, index), "add", new[index])
        for index in range(len(new), len(old)):
            yield Change((*path, index), "delete", old[index])
    elif not same(path, old, new):
        yield Change(path, "update", new)


def _is_asset(value: Any) -> bool:
    return isinstance(value, dict) and SIGNATURE in value


def _content(asset: dict[str, Any]) -> tuple[str, Any]:
    """What makes an asset the one it is: its kind and its content, wherever that came from."""
    return asset[SIGNATURE], asset.get("hash") or asset
