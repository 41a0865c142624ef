"""Which node runs which replica, and which GPUs stay free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from settings.node import NodeSettings
from settings.stack import ModelSettings
from settings.storage import AccessMode
from settings.vllm import VllmSettings

_WHERE: dict[AccessMode, str] = {"ReadWriteOnce": "one node", "ReadWriteMany": "nodes of one kind"}
_ELSE: dict[AccessMode, str] = {
    "ReadWriteOnce": ", or name a storage class that several nodes can use, with storage.accessMode ReadWriteMany",
    "ReadWriteMany": "",
}


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where everything runs."""

    nodes: dict[str, tuple[str, ...]]
    """By server: the node of each replica."""

    free: dict[str, int]
    """By node: GPUs (slices, where they are time-sliced) that no replica takes."""


def replicas_of(server: ModelSettings) -> int:
    """Pods that `server` may come to; Ollama is one process that queues by itself."""
    if not isinstance(server, VllmSettings):
        return 1
    return server.autoscale.max if server.autoscale else server.replicas


def fewest_replicas(server: ModelSettings) -> int:
    """Pods that `server` has at least."""
    if isinstance(server, VllmSettings) and server.autoscale:
        return server.autoscale.min
    return replicas_of(server)


def place(
    nodes: Mapping[str, NodeSettings],
    servers: Mapping[str, ModelSettings],
    problems: list[str],
    *,
    access_mode: AccessMode = "ReadWriteOnce",
) -> Placement:
    """Give each replica a node: largest servers first, each to the node where the least stays free.

    The replicas of a server are equal, so they all get nodes of one kind. A pod on a sliced node takes one slice;
    more would give it no more of the GPU, so servers of several GPUs go to nodes without slices. A volume that is
    ReadWriteOnce is one node's, and with it are all replicas that share it. What finds no place is added to `problems`
    and left out.
    """
    free = {name: node.gpus.count * node.gpus.time_slices for name, node in nodes.items()}
    placed: dict[str, tuple[str, ...]] = {}
    for name, server in sorted(servers.items(), key=lambda item: (-item[1].gpus, item[0])):
        suitable = [n for n, node in nodes.items() if server.gpus == 1 or node.gpus.time_slices == 1]
        largest = max((nodes[n].gpus.count for n in suitable), default=0)
        if largest < server.gpus:
            problems.append(
                f"models.{name}.gpus: {server.gpus} GPUs for one pod, but the largest node that is not time-sliced has "
                f"{largest}: the pod would stay Pending for ever. Lower gpus, or add such a node."
            )
            continue
        replicas = replicas_of(server)
        kinds = _kinds(nodes, suitable)
        together = kinds if access_mode == "ReadWriteMany" else [[node] for kind in kinds for node in kind]
        ways = [_fill(pool, replicas, server.gpus, free) for pool in together]
        chosen = max(ways, key=lambda way: (len(way), -min((free[n] for n in way), default=0)))
        if len(chosen) < replicas:
            problems.append(
                f"models.{name}: {replicas - len(chosen)} of {replicas} replicas find no free GPU (each takes "
                f"{server.gpus}, all on {_WHERE[access_mode]}), so their pods would stay Pending. Add GPUs or slices, "
                f"or take something away{_ELSE[access_mode]}."
            )
        for node in chosen:
            free[node] -= server.gpus
        placed[name] = tuple(chosen)
    return Placement(nodes={name: placed[name] for name in servers if name in placed}, free=free)


def _kinds(nodes: Mapping[str, NodeSettings], names: Sequence[str]) -> list[list[str]]:
    """`names` by what makes a difference to a server: the GPU, how it is shared, the platform."""
    kinds: dict[tuple[str, int, str], list[str]] = {}
    for name in names:
        node = nodes[name]
        kinds.setdefault((node.gpus.model, node.gpus.time_slices, node.platform), []).append(name)
    return list(kinds.values())


def _fill(pool: Sequence[str], replicas: int, gpus: int, free: Mapping[str, int]) -> list[str]:
    """The node of each replica for which `pool` has room."""
    left = {name: free[name] for name in pool}
    chosen: list[str] = []
    while len(chosen) < replicas and (fitting := [name for name in pool if left[name] >= gpus]):
        chosen.append(min(fitting, key=lambda name: left[name]))
        left[chosen[-1]] -= gpus
    return chosen
