"""Small questions about Kubernetes objects as plain dicts."""

from __future__ import annotations

from typing import Any

Object = dict[str, Any]

AUTONAMED = "pulumi.com/autonamed"
SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT_SECONDS = "pulumi.com/timeoutSeconds"
WAIT_FOR = "pulumi.com/waitFor"
PATCH_FORCE = "pulumi.com/patchForce"
PATCH_FIELD_MANAGER = "pulumi.com/patchFieldManager"
DELETION_PROPAGATION = "pulumi.com/deletionPropagationPolicy"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
REFUSED_ANNOTATIONS = ("pulumi.com/replaceUnready",)

_MISSING = object()


def pluck(obj: Any, *path: str | int, default: Any = None) -> Any:
    """The value at `path`, or `default` where the path ends early."""
    for part in path:
        if isinstance(part, str):
            obj = obj.get(part, _MISSING) if isinstance(obj, dict) else _MISSING
        else:
            obj = obj[part] if isinstance(obj, list) and part < len(obj) else _MISSING
        if obj is _MISSING:
            return default
    return obj


def name_of(obj: Object) -> str:
    """`metadata.name`, empty if there is none."""
    name = pluck(obj, "metadata", "name")
    return name if isinstance(name, str) else ""


def namespace_of(obj: Object) -> str:
    """`metadata.namespace`, empty if there is none."""
    namespace = pluck(obj, "metadata", "namespace")
    return namespace if isinstance(namespace, str) else ""


def annotation(obj: Object, name: str) -> str:
    """The annotation's value, empty if there is none."""
    value = pluck(obj, "metadata", "annotations", name)
    return value if isinstance(value, str) else ""


def group_version_kind(obj: Object) -> str:
    """`apps/v1/Deployment`, `v1/Pod`: the key by which kinds are told apart here."""
    return f"{obj.get('apiVersion')}/{obj.get('kind')}"


def identifier(obj: Object) -> str:
    """Pulumi's id of an object: `namespace/name`, or the name alone."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace else name_of(obj)


def shown_name(obj: Object) -> str:
    """The name in messages: without the namespace where that is `default`."""
    namespace = namespace_of(obj)
    return f"{namespace}/{name_of(obj)}" if namespace not in ("", "default") else name_of(obj)


def conditions(obj: Object) -> dict[str, Object]:
    """`status.conditions` by their type."""
    found = pluck(obj, "status", "conditions")
    listed = found if isinstance(found, list) else []  # a custom resource's may be anything
    return {item["type"]: item for item in listed if isinstance(item, dict) and isinstance(item.get("type"), str)}


def owned_by(obj: Object, owner: Object) -> bool:
    """Whether `owner` is among the owners of `obj`."""
    uid = pluck(owner, "metadata", "uid")
    return any(ref.get("uid") == uid for ref in pluck(obj, "metadata", "ownerReferences", default=None) or [])


def parse_identifier(identifier_: str) -> tuple[str, str]:
    """Namespace (may be empty) and name from Pulumi's id."""
    namespace, _, name = identifier_.rpartition("/")
    return namespace, name


def is_patch_type(token: str, kind: Any) -> bool:
    """Whether the type token `token` is the Patch resource of `kind`: `kubernetes:core/v1:NodePatch` of `Node`."""
    return bool(kind) and token.rpartition(":")[2] == f"{kind}Patch"


def type_token(urn: str) -> str:
    """The resource's type from its URN: the last of its chain of parents' types."""
    return urn.split("::")[2].rpartition("$")[2]


def kind_of_token(token: str) -> Object:
    """apiVersion and kind from a type token: `kubernetes:apps/v1:Deployment`."""
    _, module, kind = token.split(":")
    return {"apiVersion": module.removeprefix("core/"), "kind": kind}
