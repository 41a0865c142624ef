"""States and event logs as runs that died have left them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from on_mocks import Raw

NOW = 1_800_000_000.0
PROVIDER = {"urn": "urn:pulumi:test::llm-serving::pulumi:providers:kubernetes::cluster", "id": "4f1e"}
OLD = {"urn": "old", "type": "pulumi:pulumi:Stack"}


def stamp(seconds: float) -> str:
    """A time as Kubernetes and Pulumi write it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def resource(
    type_: str = "kubernetes:apps/v1:Deployment", name: str = "chat", metadata: dict[str, str] | None = None
) -> Raw:
    """A resource before it is made."""
    return {
        "urn": f"urn:pulumi:test::llm-serving::{type_}::{name}",
        "type": type_,
        "custom": True,
        "provider": f"{PROVIDER['urn']}::{PROVIDER['id']}",
        "inputs": {"metadata": metadata or {"name": name, "namespace": "llm"}},
    }


def pending(item: Raw, kind: str = "creating") -> Raw:
    """A note in the state that this is being done."""
    return {"type": kind, "resource": item}


def failed(item: Raw, seconds: float = NOW, op: str = "create") -> list[str]:
    """The events of a creation that began at `seconds` and failed."""
    step = {"op": op, "urn": item["urn"], "new": item}
    return [
        json.dumps({"timestamp": seconds, "resourcePreEvent": {"metadata": step}}),
        json.dumps({"timestamp": seconds + 1, "resOpFailedEvent": {"metadata": step, "status": 2}}),
    ]


def state(*resources: Raw, operations: tuple[Raw, ...] = (), written: float = NOW) -> Raw:
    """A state with the provider, and with these after it."""
    return {
        "version": 3,
        "deployment": {
            "manifest": {"time": stamp(written)},
            "resources": [{**PROVIDER, "type": "pulumi:providers:kubernetes", "custom": True}, *resources],
            "pending_operations": [*operations],
        },
    }


def resources_of(left: Raw) -> list[Raw]:
    """What is in the state, without the provider."""
    return [item for item in left["deployment"]["resources"] if item["urn"] != PROVIDER["urn"]]


def found_live(item: Raw, *managers: str, made: float = NOW) -> Raw:
    """The resource after a refresh that has found it, made by Pulumi if nothing else is said."""
    entries = [{"manager": manager} for manager in managers or ("pulumi-kubernetes",)]
    metadata = {"creationTimestamp": stamp(made), "managedFields": entries}
    return {**item, "id": "llm/chat", "outputs": {"metadata": metadata}}
