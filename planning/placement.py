"""Which node runs which replica, and which GPUs stay free."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from planning.catalogue import gpu_models
from planning.eligibility import HOSTNAME_LABEL, Eligibility, Kind, kind_of
from planning.packing import Demand, Space, pack
from planning.pending import nowhere, pending
from settings.autoscale import AutoscaleSettings
from settings.node import NodeSettings
from settings.stack import ModelSettings
from settings.storage import AccessMode

Score = tuple[int, int]
"""Problems and warnings; the fewer the better, problems first. Kinds of nodes are compared by it, so what is told on
each of them makes no difference."""

Suits = Callable[[str, str], Score]
"""What speaks against running a server on the GPUs of a node, by their names."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where everything runs."""

    nodes: dict[str, tuple[str, ...]]
    """By server: the node of each replica."""

    candidates: dict[str, tuple[str, ...]]
    """By server: the nodes on which the fewest problems are told of it, were they empty; the best first."""

    free: dict[str, int]
    """By node: GPUs (slices, where they are time-sliced) that no replica takes."""

    surge: dict[str, dict[str, int]]
    """By server and by node that one more pod of it may run on: what is free for that pod; less than `free` where its
    share of a sliced GPU would be more than the others leave. A volume that is one node's keeps the pod there, with
    another it may run on every node of its kind."""


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
    """Give each replica a node, in the order of `servers`, each where the least stays free.

    The replicas of a server are equal, so they all get nodes of one kind. A pod on a sliced node takes one slice;
    more would give it no more of the GPU, so servers of several GPUs go to nodes without slices. A volume that is
    ReadWriteOnce is one node's, and with it are all replicas that share it. A server goes to the smallest GPUs on which
    nothing more is told of it than on others, to others that it fits too where all find a place only so. A server that
    is added at the end moves no other to another kind of node unless it has no place else: volumes stay behind. What
    finds none is added to `problems`.
    """
    eligible = Eligibility(nodes)
    candidates = {name: eligible.nodes(server) for name, server in servers.items()}
    demands = [
        _demand(name, servers[name], _preferred(name, eligible.kinds(allowed), suits), access_mode)
        for name, allowed in candidates.items()
        if allowed
    ]
    spaces = _spaces(nodes, servers)
    packing = pack(spaces, demands)
    if not packing.exhausted:
        # Whoever needs most and has the fewest nodes to choose from first: a way is found sooner, but neighbours move.
        packing = pack(spaces, sorted(demands, key=lambda demand: (-demand.gpus, len(demand.nodes))))
    problems += [nowhere(name, servers[name], nodes) for name, allowed in candidates.items() if not allowed]
    problems += [
        pending(demand, demands, servers[demand.name], packing, nodes, access_mode)
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
                node: room.free[node] if room.holds(node, demand, 1) else 0
                for node in _reachable(demand, packing.nodes[demand.name], spaces)
            }
            for demand in demands
        },
    )


def _preferred(name: str, kinds: Mapping[Kind, tuple[str, ...]], suits: Suits) -> tuple[tuple[str, ...], ...]:
    """The nodes of a server by their kinds, without those kinds on which more problems are told of it than on others.

    Fewest warnings first, then least memory for a pod: larger GPUs stay for others.
    """
    by_size = [nodes for _, nodes in sorted(kinds.items(), key=lambda item: _memory_mib(item[0]))]
    if len(by_size) == 1:
        return tuple(by_size)  # nothing to compare: it is not tried
    scores = {nodes: suits(name, nodes[0]) for nodes in by_size}
    fewest = min(problems for problems, _ in scores.values())
    return tuple(sorted((n for n in by_size if scores[n][0] == fewest), key=lambda n: scores[n][1]))


def _memory_mib(kind: Kind) -> tuple[float, Kind]:
    """Memory of one slice, for a stable order; a GPU of which nothing is known comes last."""
    model = gpu_models().get(kind[0])
    return (model.memory_mib / kind[1] if model else float("inf")), kind


def _demand(
    name: str, server: ModelSettings, preferred: tuple[tuple[str, ...], ...], access_mode: AccessMode
) -> Demand:
    return Demand(
        name=name,
        replicas=replicas_of(server),
        gpus=server.gpus,
        share=server.gpu_share,
        nodes=tuple(node for of_kind in preferred for node in of_kind),
        together=access_mode == "ReadWriteOnce",
        ranks={node: rank for rank, of_kind in enumerate(preferred) for node in of_kind},
    )


def _reachable(demand: Demand, placed: Sequence[str], spaces: Mapping[str, Space]) -> Sequence[str]:
    """Nodes that one more pod of a server may run on, whose replicas are on `placed`."""
    if demand.together or not placed:
        return placed
    return [node for node in demand.nodes if spaces[node].kind == spaces[placed[0]].kind]


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
