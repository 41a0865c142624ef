"""What is kept of an object in Pulumi's state, and how it is read back."""

from __future__ import annotations

from typing import Any

from plugins._values import Secret, conceal, reveal
from plugins.kubernetes.checking import concealed_secret, dashed, normalized, underscored
from plugins.kubernetes.kinds import built_in
from plugins.kubernetes.objects import LAST_APPLIED, PATCH_FIELD_MANAGER, Object, annotation

INPUTS, API_VERSION, FIELD_MANAGER = "__inputs", "__initialApiVersion", "__fieldManager"


def checkpoint(*, inputs: Object, live: Object, api_version: str, field_manager: str) -> dict[str, Any]:
    """The outputs of a resource.

    Args:
        inputs: its inputs, with their secrets marked.
        live: the object as the API server gave it.
        api_version: the apiVersion with which it was first created.
        field_manager: the name under which its fields are applied.

    Returns:
        The live object with the secrets of the inputs marked, and what the next operation has to know.
    """
    outputs = concealed_secret(conceal(underscored(live), underscored(inputs)))
    return {
        **outputs,
        INPUTS: underscored(concealed_secret(inputs)),
        API_VERSION: api_version,
        FIELD_MANAGER: field_manager,
    }


def old_inputs(state: dict[str, Any]) -> Object:
    """The inputs in a resource's outputs, with secrets laid open."""
    found: Object = dashed(reveal(state.get(INPUTS) or {}))
    return found


def old_live(state: dict[str, Any]) -> Object:
    """The object in a resource's outputs, with secrets laid open."""
    live = {name: value for name, value in state.items() if name not in (INPUTS, API_VERSION, FIELD_MANAGER)}
    found: Object = dashed(reveal(live))
    return found


def field_manager(state: dict[str, Any], inputs: Object) -> str:
    """The field manager's name: the annotation's, else the state's; empty for a new resource."""
    return annotation(inputs, PATCH_FIELD_MANAGER) or _text(state, FIELD_MANAGER)


def initial_api_version(state: dict[str, Any], inputs: Object) -> str:
    """The apiVersion with which the resource was first created."""
    return _text(state, API_VERSION) or str(inputs.get("apiVersion", ""))


def _text(state: dict[str, Any], name: str) -> str:
    value = state.get(name)
    value = value.value if isinstance(value, Secret) else value
    return value if isinstance(value, str) else ""


def imported(live: Object) -> Object:
    """The inputs of an object that is taken over: all that is not the server's own.

    Of a custom resource only which one it is: the official provider knows the properties of built-in kinds alone.
    """
    if not built_in(str(live.get("apiVersion"))):
        metadata = {name: live["metadata"][name] for name in ("name", "namespace") if name in live["metadata"]}
        return {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": metadata}
    inputs = normalized({name: value for name, value in live.items() if name != "status"})
    annotations = dict(inputs["metadata"].get("annotations") or {})
    for servers in ("deployment.kubernetes.io/revision", LAST_APPLIED):
        annotations.pop(servers, None)
    metadata = {name: value for name, value in inputs["metadata"].items() if name != "annotations"}
    return {**inputs, "metadata": metadata | ({"annotations": annotations} if annotations else {})}
