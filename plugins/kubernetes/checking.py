"""Check: from what the program says to the inputs that are kept: kind, name, namespace, Secret data in base64."""

from __future__ import annotations

import base64
import random
from typing import Any

from plugins._provider import Failure, Refused
from plugins._values import UNKNOWN, Secret, has_unknown, reveal
from plugins.kubernetes.awaiting.wait_for import parse
from plugins.kubernetes.kinds import built_in
from plugins.kubernetes.objects import AUTONAMED, LAST_APPLIED, REFUSED_ANNOTATIONS, WAIT_FOR, Object, annotation, pluck

_UNDERSCORED = {
    f"x_kubernetes_{name.replace('-', '_')}": f"x-kubernetes-{name}"
    for name in (
        "embedded-resource",
        "int-or-string",
        "list-map-keys",
        "list-type",
        "map-type",
        "preserve-unknown-fields",
        "validations",
    )
}
_DASHED = {dashed: underscored for underscored, dashed in _UNDERSCORED.items()}
_SERVERS_OWN = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
)
_REFUSED_GROUPS = ("helm.sh/", "yaml", "kustomize")


def refuse(token: str) -> None:
    """Raise Refused for the resource types that are no Kubernetes kinds: charts, YAML files, kustomizations, lists."""
    module = token.removeprefix("kubernetes:").rpartition(":")[0]
    if module.startswith(_REFUSED_GROUPS):
        raise Refused(token)
    name = token.rpartition(":")[2]
    if name.endswith("List") and name != "List" and built_in(module.removeprefix("core/")):
        raise Failure(
            f"{token}: list resources exist for compatibility with YAML manifests and Helm charts, and cannot be "
            "created directly. Use the underlying resource type instead"
        )


def dashed(value: Any) -> Any:
    """`x_kubernetes_...` keys, which the SDK cannot write otherwise, as Kubernetes writes them."""
    return _renamed(value, _UNDERSCORED)


def underscored(value: Any) -> Any:
    """The reverse of `dashed`, for outputs."""
    return _renamed(value, _DASHED)


def _renamed(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, Secret):
        return Secret(_renamed(value.value, names))
    if isinstance(value, dict):
        return {names.get(name, name): _renamed(item, names) for name, item in value.items()}
    if isinstance(value, list):
        return [_renamed(item, names) for item in value]
    return value


def normalized(inputs: Object) -> Object:
    """`inputs` without the fields that are the server's own, with a Secret's stringData as base64 data."""
    result = dict(inputs)
    metadata = result.get("metadata")
    if isinstance(metadata, dict):
        result["metadata"] = {name: value for name, value in metadata.items() if name not in _SERVERS_OWN}
    if result.get("apiVersion") == "v1" and result.get("kind") == "Secret":
        _encode_string_data(result)
    return result


def _encode_string_data(secret: Object) -> None:
    """Move `stringData` into `data`; left alone while it is not known. It wins over `data`, as on the server."""
    strings, data = reveal(secret.get("stringData")), reveal(secret.get("data"))
    if strings is None:
        return
    if has_unknown(strings) or has_unknown(data):
        return
    encoded = {name: base64.b64encode(str(value).encode()).decode() for name, value in strings.items()}
    secret["data"] = {**(data or {}), **encoded}
    del secret["stringData"]


def concealed_secret(obj: Object) -> Object:
    """A Secret with its data marked secret, whatever its inputs were; any other object as it is.

    `kubectl apply` has left a copy of the data in an annotation.
    """
    if obj.get("kind") != "Secret" or obj.get("apiVersion") != "v1":
        return obj
    result = dict(obj)
    for name in ("data", "stringData"):
        if name in result and not isinstance(result[name], Secret):
            result[name] = Secret(reveal(result[name]))
    copied = pluck(result, "metadata", "annotations", LAST_APPLIED)
    if copied is not None and not isinstance(copied, Secret):
        annotations = {**result["metadata"]["annotations"], LAST_APPLIED: Secret(reveal(copied))}
        result["metadata"] = {**result["metadata"], "annotations": annotations}
    return result


def check_annotations(inputs: Object) -> None:
    """Raise Refused for annotations of Pulumi that are not done here, and Failure for a waitFor that says nothing."""
    for name in REFUSED_ANNOTATIONS:
        if annotation(inputs, name):
            raise Refused(f"the annotation {name}")
    try:
        parse(annotation(inputs, WAIT_FOR) or "condition=Ready")
    except ValueError as error:
        raise Failure(f"the annotation {WAIT_FOR}: {error}") from error


def with_name(inputs: Object, olds: Object, *, name: str, proposed: str | None, seed: bytes, patch: bool) -> Object:
    """`inputs` with a name: its own, the one that the object has got before, or a new one, which is annotated.

    Args:
        inputs: the checked inputs; their name may be unknown.
        olds: inputs of the last time; empty for a new object.
        name: the resource's logical name.
        proposed: the engine's name where autonaming is configured; empty where it is switched off; else None.
        seed: the engine's random seed, which makes a plan's names come true.
        patch: whether this is a Patch resource, which must name its object.

    Raises:
        Failure: a name is needed and there is none.
    """
    metadata = inputs.get("metadata", {})
    if metadata is UNKNOWN or pluck(inputs, "metadata", "name") not in (None, ""):
        return inputs
    if patch:
        raise Failure("patch resources require the `.metadata.name` field to be set")
    if pluck(inputs, "metadata", "generateName"):
        raise Failure("the `.metadata.generateName` field is not supported in Server-Side Apply mode")
    if olds and annotation(olds, AUTONAMED) == "true":
        given = str(pluck(olds, "metadata", "name"))
    elif proposed is not None:
        given = proposed
        if not given:
            raise Failure("autonaming is disabled, resource requires the .metadata.name field to be set")
    else:
        given = unique_name(f"{name}-", seed)
    annotations = metadata.get("annotations") if isinstance(metadata, dict) else None
    named = {**(metadata or {}), "name": given}
    if annotations is not UNKNOWN:
        named["annotations"] = {**(annotations or {}), AUTONAMED: "true"}
    return {**inputs, "metadata": named}


def unique_name(prefix: str, seed: bytes) -> str:
    """`prefix` and eight hex digits: the same for the same seed, at random without one."""
    generator = random.Random(prefix.encode() + seed) if seed else random.SystemRandom()  # noqa: S311 # names, no secrets
    return f"{prefix}{generator.getrandbits(32):08x}"
