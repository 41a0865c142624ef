"""What a site's rules ask for beyond the defaults: where images come from, and who else may come in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from settings.base import Name, StrictModel

# host[:port][/path], as a reference to an image begins.
_REGISTRY = re.compile(
    r"([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(:[0-9]+)?"
    r"|localhost(:[0-9]+)?|[a-z0-9]([a-z0-9-]*[a-z0-9])?:[0-9]+)"
    r"(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
)


def _registry(mirror: str) -> str:
    if not _REGISTRY.fullmatch(mirror):
        raise ValueError(
            f"{mirror!r} is not a registry's host with a path, if it has one; write e.g. 'registry.lan:5000/mirror', "
            "without scheme and without '/' at its end."
        )
    return mirror


def _level(value: Any) -> Any:
    if value == "restricted":
        return {"level": "restricted", "reason": None}
    if isinstance(value, str) and value in ("baseline", "privileged"):
        raise ValueError(
            f"{value!r} without a reason lets pods have privileges that none of ours needs. Write {{level: {value}, "
            "reason: who else runs there and needs it}, or leave it out."
        )
    if isinstance(value, str):
        raise ValueError(f"{value!r} is not a level of Pod Security; write restricted, or leave it out.")
    if isinstance(value, dict) and value.get("reason", "") is None and value.get("level") != "restricted":
        raise ValueError(
            "reason says nothing. Write who runs in the models' namespace and needs more, or leave it out."
        )
    return value


class PodSecurityLevel(StrictModel):
    """A level of Pod Security, and why it is not the strictest."""

    level: Literal["restricted", "baseline", "privileged"] = Field(description="What pods of the namespace may have.")
    reason: Annotated[str, Field(min_length=10)] | None = Field(
        description="Why the models' namespace needs less than restricted."
    )


PodSecurity = Annotated[
    PodSecurityLevel, BeforeValidator(_level, json_schema_input_type=Literal["restricted"] | PodSecurityLevel)
]


class SecuritySettings(StrictModel):
    """Closed by default: what is written here opens, or moves, something."""

    registry_mirror: Annotated[str, AfterValidator(_registry)] | None = Field(
        default=None,
        description="Registry that stands for those of all images, e.g. 'registry.lan:5000'; it has their paths and "
        "tags below it.",
    )
    image_pull_secrets: list[Name] = Field(
        default_factory=list,
        description="Secrets with logins to registries (kubernetes.io/dockerconfigjson), which must be in the models' "
        "namespace.",
    )
    client_namespaces: list[Name] = Field(
        default_factory=list,
        description="Namespaces whose pods may reach the engines past the edge, and so without a key.",
    )
    pod_security: PodSecurity = Field(
        default=PodSecurityLevel(level="restricted", reason=None),
        description="Level of Pod Security of the models' namespace: restricted, or {level: ..., reason: ...}.",
    )
