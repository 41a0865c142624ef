"""What a run that died had begun to create, and how it gets into the state: pure functions of states and events.

Pulumi writes down what it is about to create, and forgets it again when the call fails, whatever the reason was: when
the plugin has died or the connection was lost, the object may be there and nobody knows of it, so that the next run
is refused because of it. What was begun is therefore taken into the state without outputs; a refresh then finds it
and completes it, or takes it out again.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Resource = dict[str, Any]
State = dict[str, Any]
"""What `pulumi stack export` prints."""

_HIDDEN = "[secret]"
_SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "plaintext": '""'}
"""A secret as Pulumi takes it into a state, encrypting it: events do not say what it was, a refresh does."""

_CREATOR = "pulumi-kubernetes"
_SKEW_SECONDS = 60.0
"""By how much the cluster's clock may differ from this machine's."""

_LATER_SECONDS = 30.0
"""A state that was written so long after the last event of a run was written by another one."""


@dataclass(frozen=True)
class Begun:
    """A resource whose creation was begun and, as far as the state knows, not ended."""

    resource: Resource
    since: float
    """When, in seconds since 1970; 0 where it is not known."""

    @property
    def urn(self) -> str:
        """Its URN."""
        return str(self.resource["urn"])

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rpartition("::")[2]

    @property
    def id(self) -> str | None:
        """The id that the Kubernetes provider gives to an object; None for what has none that can be told."""
        metadata = (self.resource.get("inputs") or {}).get("metadata") or {}
        if not str(self.resource.get("type", "")).startswith("kubernetes:") or "name" not in metadata:
            return None
        return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])


def begun(state: State, events: Iterable[str]) -> list[Begun]:
    """Creations that the state holds as pending, or that have failed in the run that wrote it.

    Args:
        state: as it was left.
        events: the lines of that run's event log.
    """
    starts: dict[str, float] = {}
    failed: list[Resource] = []
    last = 0.0
    for event in _parsed(events):
        last = float(event.get("timestamp", 0))
        step = (event.get("resourcePreEvent") or {}).get("metadata") or {}
        if step.get("op") in ("create", "create-replacement"):
            starts[step["urn"]] = last
        step = (event.get("resOpFailedEvent") or {}).get("metadata") or {}
        if step.get("op") in ("create", "create-replacement") and step.get("new"):
            failed.append(_of_event(step["new"]))
    deployment = state.get("deployment") or {}
    pending = [item["resource"] for item in _pending(state) if item["type"] == "creating"]
    written = _seconds((deployment.get("manifest") or {}).get("time"))
    found = [*pending, *(failed if written < last + _LATER_SECONDS else [])]
    known = {(item["urn"], item.get("id")) for item in _resources(state)}
    return [
        item
        for item in (Begun(resource, starts.get(resource["urn"], 0.0)) for resource in found)
        if (item.urn, item.id) not in known
    ]


def provisional(state: State, found: Iterable[Begun]) -> State:
    """`state` with nothing pending, and with what was `found` in it, without outputs.

    What it was to replace is marked to be deleted, as Pulumi itself does it.
    """
    result = copy.deepcopy(state)
    if not result.get("deployment"):
        return result
    result["deployment"].pop("pending_operations", None)
    resources: list[Resource] = result["deployment"].setdefault("resources", [])
    for item in found:
        if item.id is None:
            continue
        for other in resources:
            if other["urn"] == item.urn:
                other["delete"] = True
        resources.append({**item.resource, "id": item.id, "outputs": {}})
    return result


def unseen(state: State) -> list[str]:
    """URNs of what is in the state without outputs, because nobody has looked at it yet."""
    return [
        item["urn"] for item in _resources(state) if item["type"].startswith("kubernetes:") and not item.get("outputs")
    ]


def settled(state: State, found: Iterable[Begun]) -> State:
    """`state` as it is after a refresh, without what somebody else has made under the same name.

    What was marked to be deleted stays where its successor turned out not to be there.
    """
    result = copy.deepcopy(state)
    since = {item.urn: item.since for item in found if item.id is not None}
    if not since:
        return result
    resources = [
        item
        for item in _resources(result)
        if item.get("delete") or item["urn"] not in since or _is_ours(item, since[item["urn"]])
    ]
    living = {item["urn"] for item in resources if not item.get("delete")}
    for item in resources:
        if item.get("delete") and item["urn"] in since and item["urn"] not in living:
            del item["delete"]
    result["deployment"]["resources"] = resources
    return result


def _is_ours(resource: Resource, since: float) -> bool:
    """Whether a run of Pulumi's has made the object, not before `since`."""
    if resource["type"].endswith("Patch"):  # changes what somebody else has made
        return True
    metadata = (resource.get("outputs") or {}).get("metadata") or {}
    managers = [str(entry.get("manager", "")) for entry in metadata.get("managedFields") or ()]
    made = _seconds(metadata.get("creationTimestamp"))
    return any(manager.startswith(_CREATOR) for manager in managers) and made >= since - _SKEW_SECONDS


def _of_event(new: Mapping[str, Any]) -> Resource:
    """A resource as a state holds it, from what an event tells."""
    names = ("urn", "type", "parent", "provider", "protect", "retainOnDelete")
    kept = {name: new[name] for name in names if new.get(name)}
    return {**kept, "custom": True, "inputs": _unhidden(new.get("inputs") or {})}


def _unhidden(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _unhidden(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_unhidden(item) for item in value]
    return _SECRET if value == _HIDDEN else value


def _resources(state: State) -> list[Resource]:
    found: list[Resource] = (state.get("deployment") or {}).get("resources") or []
    return found


def _pending(state: State) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (state.get("deployment") or {}).get("pending_operations") or []
    return found


def _parsed(lines: Iterable[str]) -> Iterable[dict[str, Any]]:
    for line in lines:
        try:
            yield json.loads(line)
        except ValueError:  # the last line of a run that was killed
            return


def _seconds(timestamp: str | None) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0
