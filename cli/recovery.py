"""What a run that died had begun to create, and how it gets into the state: pure functions of states and events.

Pulumi writes down what it is about to create, and forgets it again when the call fails, whatever the reason was: when
the plugin has died or the connection was lost, the object may be there and nobody knows of it, so that the next run
is refused because of it. What was begun is therefore taken into the state without outputs; a refresh then finds it
and completes it, or takes it out again. Until then it counts as begun, however often that fails.
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

_LAST_SECONDS = 120.0
"""Within which what a killed run had asked for is there: a plugin repeats a lost request for a minute."""

_CREATIONS = ("create", "create-replacement")


@dataclass(frozen=True)
class Begun:
    """A resource whose creation was begun, and of which nobody has seen yet what became of it."""

    resource: Resource
    id: str
    """As the Kubernetes provider gives it, which follows from the object's name."""

    since: float
    """When it was begun, in seconds since 1970; 0 where no event tells."""

    until: float
    """After which no object can be this creation's: any time where no event tells."""

    @property
    def urn(self) -> str:
        """Its URN."""
        return str(self.resource["urn"])

    @property
    def name(self) -> str:
        """Its name in the program."""
        return self.urn.rpartition("::")[2]


def begun(state: State, events: Iterable[str]) -> list[Begun]:
    """Creations that the state holds as pending or unseen, or that have failed in the run that wrote it.

    Those whose id does not follow from a name are not among them, and are simply begun again; nor are those of a
    provider that the state does not know, which are another stack's.

    Args:
        state: as it was left.
        events: the lines of that run's event log.
    """
    starts: dict[str, float] = {}
    failed: list[Resource] = []
    first = last = 0.0
    for event in _parsed(events):
        last = float(event.get("timestamp", 0))
        first = first or last
        if step := _creation(event, "resourcePreEvent"):
            starts[step["urn"]] = last
        if step := _creation(event, "resOpFailedEvent"):
            failed.append(_of_event(step["new"]))
    deployment = state.get("deployment") or {}
    resources = _resources(state)
    waiting = [item for item in resources if _is_unseen(item)]
    pending = [item["resource"] for item in _pending(state) if item["type"] == "creating"]
    written = _seconds((deployment.get("manifest") or {}).get("time"))
    providers = {f"{item['urn']}::{item['id']}" for item in resources if item["type"].startswith("pulumi:providers:")}
    # One that waits for its replacement is deleted already, and has its successor's id.
    known = {(item["urn"], item.get("id")) for item in resources if item.get("outputs") and not _is_replaced(item)}
    found: dict[tuple[str, str], Begun] = {}
    for item in [*waiting, *pending, *(failed if written < last + _LATER_SECONDS else [])]:
        urn, identifier = item["urn"], _identifier(item)
        if identifier and item.get("provider") in providers and (urn, identifier) not in known:
            one = Begun(item, identifier, starts.get(urn, first), last + _LAST_SECONDS)
            found.setdefault((urn, identifier), one)
    return list(found.values())


def needed(events: Iterable[str]) -> list[str]:
    """The lines of an event log without what `begun` does not read, such as the stack's outputs.

    What stays of a resource are its inputs, from which a refresh takes which fields to read; Pulumi has hidden the
    secrets among them, and the others stand in the state as well.
    """
    result: list[dict[str, Any]] = []
    for event in _parsed(events):
        kept: dict[str, Any] = {"timestamp": event.get("timestamp", 0)}
        if step := _creation(event, "resourcePreEvent"):
            kept["resourcePreEvent"] = {"metadata": {"op": step["op"], "urn": step["urn"]}}
        if (step := _creation(event, "resOpFailedEvent")) and _identifier(step["new"]):
            kept["resOpFailedEvent"] = {"metadata": {"op": step["op"], "urn": step["urn"], "new": _fields(step["new"])}}
        result.append(kept)
    ends = (0, len(result) - 1)  # tell when the run was
    return [json.dumps(kept) for index, kept in enumerate(result) if len(kept) > 1 or index in ends]


def provisional(state: State, found: Iterable[Begun]) -> State:
    """`state` with nothing pending, and with what was `found` in it, without outputs.

    What it was to replace is marked to be deleted, as Pulumi itself does it. Where that is deleted already, what was
    found takes its place, since dependents stand behind it.
    """
    result = copy.deepcopy(state)
    if not result.get("deployment"):
        return result
    result["deployment"].pop("pending_operations", None)
    resources: list[Resource] = result["deployment"].setdefault("resources", [])
    for item in found:
        if any(_is_unseen(other) and _key(other) == (item.urn, item.id) for other in resources):
            continue
        new = {**item.resource, "id": item.id, "outputs": {}}
        place = next((i for i, other in enumerate(resources) if other["urn"] == item.urn and _is_replaced(other)), None)
        if place is not None:
            resources[place] = new
            continue
        for other in resources:
            if other["urn"] == item.urn:
                other["delete"] = True
        resources.append(new)
    return result


def unseen(state: State) -> list[str]:
    """URNs of what is in the state without outputs, because nobody has looked at it yet."""
    return [item["urn"] for item in _resources(state) if _is_unseen(item)]


def settled(state: State, found: Iterable[Begun]) -> tuple[State, list[str]]:
    """`state` as it is after a refresh, without what the run that began it has not made, and the ids of that.

    What was marked to be deleted stays where its successor turned out not to be there. What could not be looked at
    is left for the next time.
    """
    result = copy.deepcopy(state)
    of = {(item.urn, item.id): item for item in found}
    resources = _resources(result)
    kept: list[Resource] = []
    left: list[str] = []
    for item in resources:
        if _key(item) not in of or item.get("delete") or not item.get("outputs") or _is_ours(item, of[_key(item)]):
            kept.append(item)
            continue
        left.append(str(item["id"]))
        has_other = any(other is not item and other["urn"] == item["urn"] for other in resources)
        if not has_other and any(_refers(other, item["urn"]) for other in resources):
            # Dependents need it in the state. So marked, Pulumi makes it, and never deletes what has its name.
            kept.append({**item, "outputs": {}, "pendingReplacement": True})
    living = {item["urn"] for item in kept if not item.get("delete")}
    for item in kept:
        if item.get("delete") and item["urn"] in {urn for urn, _ in of} - living:
            del item["delete"]
    if result.get("deployment"):
        result["deployment"]["resources"] = kept
    return result, left


def _is_ours(resource: Resource, of: Begun) -> bool:
    """Whether the run that began this creation has made the object: by its creator's mark, and within its time."""
    if resource["type"].endswith("Patch"):  # changes what somebody else has made
        return True
    metadata = (resource.get("outputs") or {}).get("metadata") or {}
    made = _seconds(metadata.get("creationTimestamp"))
    # An update's mark has more behind it, and says nothing of who has made the object.
    is_created = any(entry.get("manager") == _CREATOR for entry in metadata.get("managedFields") or ())
    return is_created and of.since - _SKEW_SECONDS <= made <= of.until


def _is_unseen(item: Resource) -> bool:
    """Whether it is an object's, and nobody has looked at that since it was taken into the state."""
    is_object = bool(item.get("custom")) and str(item["type"]).startswith("kubernetes:")
    return is_object and not (item.get("outputs") or item.get("delete") or _is_replaced(item))


def _is_replaced(item: Resource) -> bool:
    """Whether it was deleted so that its successor can be made."""
    return bool(item.get("pendingReplacement"))


def _key(item: Resource) -> tuple[str, str]:
    return str(item["urn"]), str(item.get("id"))


def _refers(item: Resource, urn: str) -> bool:
    """Whether `item` may not be in a state without the resource that has this URN."""
    by_property = (item.get("propertyDependencies") or {}).values()
    several = [item.get("dependencies"), *by_property]
    return urn in (item.get("parent"), item.get("deletedWith")) or any(urn in (urns or ()) for urns in several)


def _identifier(resource: Mapping[str, Any]) -> str | None:
    """The id that the Kubernetes provider gives to an object; None for what has none that can be told."""
    metadata = (resource.get("inputs") or {}).get("metadata") or {}
    is_object = str(resource.get("type", "")).startswith("kubernetes:")
    if not is_object or not isinstance(metadata, Mapping) or "name" not in metadata:
        return None
    return f"{metadata['namespace']}/{metadata['name']}" if "namespace" in metadata else str(metadata["name"])


def _creation(event: Mapping[str, Any], kind: str) -> dict[str, Any]:
    """What an event of this kind tells of a creation; empty if it is none."""
    step: dict[str, Any] = (event.get(kind) or {}).get("metadata") or {}
    is_told = kind == "resourcePreEvent" or step.get("new")
    return step if step.get("op") in _CREATIONS and is_told else {}


def _fields(new: Mapping[str, Any]) -> Resource:
    """Of what an event tells of a resource, that which a state holds before it is made."""
    names = ("urn", "type", "parent", "provider", "protect", "retainOnDelete", "inputs")
    return {name: new[name] for name in names if new.get(name)}


def _of_event(new: Mapping[str, Any]) -> Resource:
    """A resource as a state holds it, from what an event tells."""
    return {**_fields(new), "custom": True, "inputs": _unhidden(new.get("inputs") or {})}


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
            event = json.loads(line)
        except ValueError:  # empty, or cut off when the run was killed
            continue
        if isinstance(event, dict):
            yield event


def _seconds(timestamp: str | None) -> float:
    return datetime.fromisoformat(timestamp).timestamp() if timestamp else 0.0
