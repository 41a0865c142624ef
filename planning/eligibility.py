"""Which nodes a server may run on, however empty they are: by GPU, labels and taints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple

from planning.catalogue import gpu_models
from settings.labels import parse_taint
from settings.node import NodeSettings
from settings.server import GpuServerSettings

HOSTNAME_LABEL = "kubernetes.io/hostname"
"""Set by the kubelet; the node's name."""

_GPU_TAINT = ("nvidia.com/gpu", "NoSchedule")
"""Tolerated by every pod that takes a GPU, whatever its value."""


class Misfit(NamedTuple):
    """Why a node is none of a server's."""

    setting: Literal["gpuModel", "nodeSelector", "gpus", "tolerations"]
    """Of the server, which could be changed."""

    reason: str
    """What follows the node's name, e.g. `is time-sliced`."""


Kind = tuple[str, int, str]
"""GPU model, slices, platform: the replicas of a server are on nodes of one kind."""


def kind_of(node: NodeSettings) -> Kind:
    """What makes a difference to a server: the GPU, how it is shared, the platform."""
    return node.gpus.model, node.gpus.time_slices, node.platform


def misfits(name: str, node: NodeSettings, server: GpuServerSettings) -> Iterator[Misfit]:
    """All that speaks against the node `name` for `server`; nothing for one that it may run on."""
    if server.gpu_model not in (None, node.gpus.model) and not _may_be_meant(server.gpu_model, node.gpus.model):
        yield Misfit("gpuModel", f"has {node.gpus.model}")
    if lacking := lacking_labels(name, node, server):
        yield Misfit("nodeSelector", f"lacks the label {', '.join(lacking)}")
    if server.gpus > 1 and node.gpus.time_slices > 1:
        yield Misfit("gpus", "is time-sliced")
    elif node.gpus.count < server.gpus:
        yield Misfit("gpus", f"has {node.gpus.count} GPU{'s' if node.gpus.count > 1 else ''} in all")
    if taints := untolerated(node, server):
        yield Misfit("tolerations", f"has the taint {', '.join(taints)}")


def _may_be_meant(wanted: str | None, written: str) -> bool:
    """Whether a node's GPU that nobody knows may be the one that is wanted: its name is a problem of its own."""
    return wanted in gpu_models() and written not in gpu_models()


def lacking_labels(name: str, node: NodeSettings, server: GpuServerSettings) -> list[str]:
    """Labels that `server` asks for and the node does not have, as far as the stack file says."""
    has = {**node.labels, HOSTNAME_LABEL: name}
    return [f"{key}={value}" for key, value in server.node_selector.items() if has.get(key) != value]


def untolerated(node: NodeSettings, server: GpuServerSettings) -> list[str]:
    """Taints of the node that keep `server` away."""
    tolerated = {parse_taint(text) for text in server.tolerations}
    taints = ((text, parse_taint(text)) for text in node.taints)
    return [text for text, taint in taints if taint not in tolerated and (taint.key, taint.effect) != _GPU_TAINT]


class Eligibility:
    """The nodes of servers, worked out once for all that ask for the same."""

    def __init__(self, nodes: Mapping[str, NodeSettings]) -> None:
        self._nodes = nodes
        self._known: dict[object, tuple[str, ...]] = {}
        self._kinds: dict[tuple[str, ...], dict[Kind, tuple[str, ...]]] = {}

    def nodes(self, server: GpuServerSettings) -> tuple[str, ...]:
        """Nodes that nothing speaks against."""
        selector, tolerations = tuple(server.node_selector.items()), tuple(server.tolerations)
        key = (server.gpus, server.gpu_model, selector, tolerations)
        if key not in self._known:
            self._known[key] = tuple(
                name for name, node in self._nodes.items() if next(misfits(name, node, server), None) is None
            )
        return self._known[key]

    def kinds(self, names: tuple[str, ...]) -> Mapping[Kind, tuple[str, ...]]:
        """The nodes `names` by their kinds."""
        if names not in self._kinds:
            found: dict[Kind, list[str]] = {}
            for name in names:
                found.setdefault(kind_of(self._nodes[name]), []).append(name)
            self._kinds[names] = {kind: tuple(of_kind) for kind, of_kind in found.items()}
        return self._kinds[names]
