"""Reads Kubernetes objects out of what the engine sends. Knows nothing of our components.

Properties are Mapping and Sequence, not dict and list, and all numbers are floats.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

GPU_RESOURCES = ("nvidia.com/gpu", "amd.com/gpu")

_TEMPLATED = {
    "Deployment": ("spec", "template", "spec"),
    "StatefulSet": ("spec", "template", "spec"),
    "DaemonSet": ("spec", "template", "spec"),
    "ReplicaSet": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "Pod": ("spec",),
}
# As apimachinery's resource.Quantity has it: `E` is a suffix, `E3` and `e3` are exponents.
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?[0-9]+))?", re.ASCII)
_MULTIPLIER = {
    "": Fraction(1),
    **{unit: Fraction(1, 1000**power) for power, unit in enumerate("mun", start=1)},
    **{unit: Fraction(1000**power) for power, unit in enumerate("kMGTPE", start=1)},
    **{f"{unit}i": Fraction(1024**power) for power, unit in enumerate("KMGTPE", start=1)},
}


def kind(resource_type: str) -> str:
    """`Deployment` of `kubernetes:apps/v1:Deployment`; empty for what is not Kubernetes'."""
    package, _, rest = resource_type.partition(":")
    return rest.rpartition(":")[2] if package == "kubernetes" else ""


def name(properties: Mapping[str, Any]) -> str:
    """The object's own name, or `(unnamed)` while it has none."""
    return str((properties.get("metadata") or {}).get("name") or "(unnamed)")


def namespace(properties: Mapping[str, Any]) -> str:
    """The object's own namespace; `default` where it names none."""
    return str((properties.get("metadata") or {}).get("namespace") or "default")


def pod_spec(resource_type: str, properties: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The pod that the object is or makes; None for kinds without one."""
    path = _TEMPLATED.get(kind(resource_type))
    if path is None:
        return None
    here: Any = properties
    for key in path:
        here = (here or {}).get(key)
    return here if isinstance(here, Mapping) else None


def containers(spec: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every container of the pod: those that serve, those before them and those put in later."""
    for key in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(key) or ()


def quantity(value: object) -> Fraction:
    """The number that a Kubernetes quantity stands for, e.g. `2Gi` or 1.0.

    Raises:
        ValueError: `value` is none.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        return Fraction(value)
    match = _QUANTITY.fullmatch(str(value))
    if match is None:
        raise ValueError(f"{value!r} is not a Kubernetes quantity")
    number, unit, exponent = match.groups()
    return Fraction(number) * _MULTIPLIER[unit or ""] * Fraction(10) ** int(exponent or 0)


def gpus(spec: Mapping[str, Any]) -> int:
    """GPUs of the pod, as the scheduler counts them."""
    counts = [
        quantity(limits[resource])
        for container in spec.get("containers") or ()
        if (limits := (container.get("resources") or {}).get("limits"))
        for resource in GPU_RESOURCES
        if resource in limits
    ]
    return int(sum(counts))


def option(container: Mapping[str, Any], *names: str) -> str | None:
    """The value of the last of the options `names` in a container's command line; None where none is given.

    Both `--option value` and `--option=value` are read, and `_` counts as `-`, as vLLM has it.
    """
    words = [str(word) for key in ("command", "args") for word in container.get(key) or ()]
    value: str | None = None
    for position, word in enumerate(words):
        flag, equals, rest = word.partition("=")
        if flag.replace("_", "-") in names:
            value = rest if equals else words[position + 1] if position + 1 < len(words) else ""
    return value
