"""Which node runs which replica, and which GPUs stay free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from planning.catalogue import gpu_models
from planning.eligibility import HOSTNAME_LABEL, Eligibility, Kind, kind_of
from planning.packing import Demand, Space, pack
from planning.pending import nowhere, pending
from settings.autoscale import AutoscaleSettings
from settings.node import NodeSettings
from settings.stack import ModelSettings
from settings.storage import AccessMode

Score = tuple[int, int]
"""Problems and warnings; the fewer the better, problems first."""

Suits = Callable[[str, str], Score]
"""What speaks against running a server on the GPUs of a node, by their names."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where everything runs."""

    nodes: dict[str, tuple[str, ...]]
    """By server: the node of each replica."""

    candidates: dict[str, tuple[str, ...]]
    """By server: the nodes that it suits best, were they empty."""

    free: dict[str, int]
    """By node: GPUs (slices, where they are time-sliced) that no replica takes."""

    surge: dict[str, dict[str, int]]
    """By server and by each of its nodes: what is free for one more pod of it; less than `free` where its share of a
    sliced GPU would be more than the others leave."""


def replicas_of(server: ModelSettings) -> int:
    """Pods that `server` may come to; Ollama is one process that queues by itself."""
    return autoscale.max if (autoscale := autoscale_of(server)) else _replicas(server)


def fewest_replicas(server: ModelSettings) -> int:
    """Pods that `server` has at least."""
    return autoscale.min if (autoscale := autoscale_of(server)) else _replicas(server)


def autoscale_of(server: ModelSettings) -> AutoscaleSettings | None:
    """How the load decides the number of pods; None where it does not."""
    found: AutoscaleSettings | None = getattr(server, "autoscale", None)  # not every engine's settings have it
    return found


def _replicas(server: ModelSettings) -> int:
    found: int = getattr(server, "replicas", 1)  # not every engine's settings have it
    return found


def place(
    nodes: Mapping[str, NodeSettings],
    servers: Mapping[str, ModelSettings],
    problems: list[str],
    *,
    access_mode: AccessMode = "ReadWriteOnce",
    suits: Suits = lambda _server, _node: (0, 0),
) -> Placement:
    """Give each replica a node: largest servers first, each to the node where the least stays free.

    The replicas of a server are equal, so they all get nodes of one kind. A pod on a sliced node takes one slice;
    more would give it no more of the GPU, so servers of several GPUs go to nodes without slices. A volume that is
    ReadWriteOnce is one node's, and with it are all replicas that share it. A server goes to the smallest
    GPUs that it suits; to others that it fits too, where all find a place only so. What finds none is added to
    `problems`.
    """
    eligible = Eligibility(nodes)
    candidates = {name: eligible.nodes(server) for name, server in servers.items()}
    choices = {name: _Choice(name, eligible.kinds(allowed), suits) for name, allowed in candidates.items() if allowed}
    spaces = _spaces(nodes, servers)
    for chosen in (_Choice.smallest, _Choice.best, _Choice.all):
        demands = [_demand(name, servers[name], chosen(choice), access_mode) for name, choice in choices.items()]
        # Whoever has the fewest nodes to choose from chooses before others that need as many GPUs.
        demands.sort(key=lambda demand: (-demand.gpus, len(demand.nodes), demand.name))
        packing = pack(spaces, demands)
        if all(len(packing.nodes[demand.name]) == demand.replicas for demand in demands):
            break
    problems += [nowhere(name, servers[name], nodes) for name, allowed in candidates.items() if not allowed]
    problems += [
        pending(demand, servers[demand.name], packing, nodes, access_mode)
        for demand in demands
        if len(packing.nodes[demand.name]) < demand.replicas
    ]
    room = packing.room
    return Placement(
        nodes={name: packing.nodes[name] for name in servers if name in packing.nodes},
        candidates=dict.fromkeys(servers, ()) | {demand.name: demand.nodes for demand in demands},
        free=room.free,
        surge={
            demand.name: {
                node: room.free[node] if room.holds(node, demand, 1) else 0 for node in packing.nodes[demand.name]
            }
            for demand in demands
        },
    )


class _Choice:
    """The nodes of one server by how well it suits them; it is tried on a kind when that is asked for."""

    def __init__(self, name: str, kinds: Mapping[Kind, tuple[str, ...]], suits: Suits) -> None:
        self._kinds = [nodes for _, nodes in sorted(kinds.items(), key=lambda item: _memory_mib(item[0]))]
        self._score = cache(lambda nodes: suits(name, nodes[0]))

    def smallest(self) -> tuple[str, ...]:
        """The nodes with the least memory for a pod that nothing speaks against: larger ones stay for others."""
        if len(self._kinds) == 1:
            return self._kinds[0]
        return next((nodes for nodes in self._kinds if self._score(nodes) == (0, 0)), None) or self.best()

    def best(self) -> tuple[str, ...]:
        """All nodes with the best score."""
        return self._with_least(lambda score: score)

    def all(self) -> tuple[str, ...]:
        """All nodes with the fewest problems, whatever the warnings."""
        return self._with_least(lambda score: score[:1])

    def _with_least(self, of: Callable[[Score], tuple[int, ...]]) -> tuple[str, ...]:
        if len(self._kinds) == 1:
            return self._kinds[0]
        least = min(of(self._score(nodes)) for nodes in self._kinds)
        return tuple(node for nodes in self._kinds if of(self._score(nodes)) == least for node in nodes)


def _memory_mib(kind: Kind) -> tuple[float, Kind]:
    """Memory of one slice, for a stable order; a GPU of which nothing is known comes last."""
    model = gpu_models().get(kind[0])
    return (model.memory_mib / kind[1] if model else float("inf")), kind


def _demand(name: str, server: ModelSettings, nodes: tuple[str, ...], access_mode: AccessMode) -> Demand:
    return Demand(
        name=name,
        replicas=replicas_of(server),
        gpus=server.gpus,
        share=server.gpu_share,
        nodes=nodes,
        together=access_mode == "ReadWriteOnce",
    )


def _spaces(nodes: Mapping[str, NodeSettings], servers: Mapping[str, ModelSettings]) -> dict[str, Space]:
    named = any(HOSTNAME_LABEL in server.node_selector for server in servers.values())
    return {
        name: Space(
            slots=node.gpus.count * node.gpus.time_slices,
            slices=node.gpus.time_slices,
            kind=kind_of(node),
            twin=(
                kind_of(node),
                node.gpus.count,
                tuple(sorted(node.labels.items())),
                tuple(node.taints),
                name if named else None,
            ),
        )
        for name, node in nodes.items()
    }
