"""The GPU nodes of a site, declared once for all rules that count GPUs or memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from llm_policies.gpu_resources import GPU_RESOURCES, is_gpu


class PoolError(ValueError):
    """A pool that says something wrong."""


@dataclass(frozen=True, kw_only=True)
class Taint:
    """What keeps pods away that do not tolerate it."""

    key: str
    effect: str
    value: str = ""

    def __str__(self) -> str:
        """As kubectl writes it."""
        return f"{self.key}{f'={self.value}' if self.value else ''}:{self.effect}"


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Equal nodes with GPUs of one kind."""

    resource: str = GPU_RESOURCES[0]
    """What pods ask for to have one, e.g. `amd.com/gpu`, or a part of a card (`nvidia.com/mig-1g.10gb`)."""

    nodes: int = 1
    gpus: int = 1
    """Of one node, in whole cards, or in parts where those are the resource."""

    memory_mib: int | None = None
    """Of one card; None where it is not told."""

    time_slices: int = 1
    """Pods that share one card; the node advertises so many times its cards."""

    labels: Mapping[str, str] = field(default_factory=dict)
    """Of its nodes."""

    taints: tuple[Taint, ...] = ()

    node: str | None = None
    """Name of its only node, where it is a Node among the objects; None where it is declared."""

    has_all_labels: bool = False
    """Whether its nodes have no labels but `labels`."""

    @property
    def advertised(self) -> int:
        """What one node advertises of its resource."""
        return self.gpus * self.time_slices

    def written(self) -> dict[str, Any]:
        """As `read_pools` reads it."""
        said = {"nodes": self.nodes, "gpus": self.gpus, "memoryMiB": self.memory_mib, "timeSlices": self.time_slices}
        return {
            "resource": self.resource,
            **{key: value for key, value in said.items() if value is not None},
            "labels": dict(self.labels),
            "taints": [str(taint) for taint in self.taints],
        }


_KEYS = {"resource", "nodes", "gpus", "memoryMiB", "timeSlices", "labels", "taints"}


def read_pools(written: Mapping[str, Any]) -> dict[str, Pool]:
    """Pools by name, from JSON or YAML.

    Args:
        written: e.g. `{gpu-a: {gpus: 4, memoryMiB: 81920, taints: ["nvidia.com/gpu=present:NoSchedule"]}}`.

    Raises:
        PoolError: with every mistake.
    """
    mistakes: list[str] = []
    pools = {name: _pool(str(name), said, mistakes) for name, said in written.items()}
    if mistakes:
        raise PoolError("\n".join(mistakes))
    return pools


def _pool(name: str, said: Any, mistakes: list[str]) -> Pool:
    if not isinstance(said, Mapping):
        mistakes.append(f"pools.{name}: expected a mapping such as {{gpus: 4, memoryMiB: 81920}}.")
        return Pool()
    mistakes += [f"pools.{name}.{key}: there is no such setting." for key in said if key not in _KEYS]

    def number(key: str, least: int = 1) -> int | None:
        value = said.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or value % 1 or value < least:
            mistakes.append(f"pools.{name}.{key}: {value!r} is not a whole number of at least {least}.")
            return None
        return int(value)

    labels, taints = said.get("labels"), said.get("taints")
    if labels is not None and not (
        isinstance(labels, Mapping) and all(isinstance(value, str) for value in labels.values())
    ):
        mistakes.append(f"pools.{name}.labels: expected a mapping of texts, as Kubernetes has it; quote numbers.")
        labels = None
    if taints is not None and not isinstance(taints, list | tuple):
        mistakes.append(f"pools.{name}.taints: expected a list such as [nvidia.com/gpu=present:NoSchedule].")
        taints = None
    resource = said.get("resource")
    if resource is not None and not (isinstance(resource, str) and is_gpu(resource)):
        mistakes.append(
            f"pools.{name}.resource: {resource!r} is no GPU that rules count. Write one of {', '.join(GPU_RESOURCES)}, "
            "or a part of a GPU such as nvidia.com/mig-1g.10gb."
        )
        resource = None
    nodes, gpus, slices = number("nodes"), number("gpus", 0), number("timeSlices")
    return Pool(
        resource=GPU_RESOURCES[0] if resource is None else resource,
        nodes=1 if nodes is None else nodes,
        gpus=1 if gpus is None else gpus,
        memory_mib=number("memoryMiB"),
        time_slices=1 if slices is None else slices,
        labels={str(key): value for key, value in (labels or {}).items()},
        taints=tuple(_taint(name, taint, mistakes) for taint in taints or ()),
    )


def _taint(pool: str, said: Any, mistakes: list[str]) -> Taint:
    text = str(said)
    first, colon, effect = text.rpartition(":")
    if not colon or effect not in ("NoSchedule", "PreferNoSchedule", "NoExecute"):
        mistakes.append(f"pools.{pool}.taints: {text!r} is not 'key=value:NoSchedule', as kubectl writes it.")
        return Taint(key=text, effect="NoSchedule")
    key, _, value = first.partition("=")
    return Taint(key=key, value=value, effect=effect)
