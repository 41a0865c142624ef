"""What a cluster holds of this program's, and what Pulumi's state and previews say of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Named = tuple[str, str, str]
"""Kind, namespace (empty where there is none) and name of an object."""


def written_objects(get: Callable[[str], Any]) -> set[Named]:
    """All objects in which a field is written by Pulumi; `get` reads a path of the API server."""
    bases = ["/api/v1", *(f"/apis/{group['preferredVersion']['groupVersion']}" for group in get("/apis")["groups"])]
    return {
        (kind["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        for base in bases
        for kind in get(base)["resources"]
        if "list" in kind["verbs"] and kind["kind"] != "Event"
        for item in get(f"{base}/{kind['name']}")["items"] or []
        if any(entry["manager"].startswith("pulumi-kubernetes") for entry in item["metadata"].get("managedFields", ()))
    }


def objects_of(state: dict[str, Any]) -> set[Named]:
    """The objects in a state, as `pulumi stack export` prints it."""
    found = [item["outputs"] for item in state["deployment"]["resources"] if item["type"].startswith("kubernetes:")]
    return {(item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]) for item in found}


def steps(preview: dict[str, Any]) -> list[str]:
    """What `pulumi preview --json` says it would do, without what stays the same."""
    return [f"{step['op']} {step['urn']}" for step in preview["steps"] if step["op"] != "same"]
