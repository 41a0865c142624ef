"""Why a pod would stay Pending, node by node, and what would help."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from heapq import nsmallest
from itertools import islice

from planning.catalogue import gpu_models
from planning.eligibility import lacking_labels, misfits, untolerated
from planning.gpu_names import gpu_meant
from planning.packing import WHOLE, Demand, Packing, Room
from settings.node import NodeSettings
from settings.server import GpuServerSettings
from settings.stack import ModelSettings
from settings.storage import AccessMode

_WHERE: dict[AccessMode, str] = {"ReadWriteOnce": "one node", "ReadWriteMany": "nodes of one kind"}
_ELSE: dict[AccessMode, str] = {
    "ReadWriteOnce": ", or name a storage class that several nodes can use, with storage.accessMode ReadWriteMany",
    "ReadWriteMany": "",
}
_MOST_NODES_TOLD = 4


def nowhere(name: str, server: GpuServerSettings, nodes: Mapping[str, NodeSettings]) -> str:
    """The problem of a server that could run on no node, however empty."""
    found = {other: list(misfits(other, node, server)) for other, node in nodes.items()}
    lacked_by_all = set.intersection(*({misfit.setting for misfit in of_one} for of_one in found.values()))
    if "gpuModel" in lacked_by_all:
        there_are = sorted({node.gpus.model for node in nodes.values()})
        wanted = str(server.gpu_model)
        guess = "" if wanted in gpu_models() else gpu_meant(wanted)
        return (
            f"models.{name}.gpuModel: no node has {server.gpu_model!r} but {', '.join(there_are)}, so its pods would "
            f"stay Pending{guess or '. Name one of these, or leave it out.'}"
        )
    if "nodeSelector" in lacked_by_all:
        lacking = {other: lacking_labels(other, node, server) for other, node in nodes.items()}
        nearest = min(lacking, key=lambda other: len(lacking[other]))
        return (
            f"models.{name}.nodeSelector: no node has all of these labels ({nearest} lacks "
            f"{', '.join(lacking[nearest])}), so its pods would stay Pending. Write the labels that a node has at "
            "nodes.<name>.labels, or choose by gpuModel."
        )
    if "gpus" in lacked_by_all:
        whole = (node.gpus.count for node in nodes.values() if node.gpus.time_slices == 1)
        return (
            f"models.{name}.gpus: {server.gpus} GPUs for one pod, but the largest node that is not time-sliced has "
            f"{max(whole, default=0)}: the pod would stay Pending for ever. Lower gpus, or add such a node."
        )
    if "tolerations" in lacked_by_all:
        taints = next(untolerated(node, server) for node in nodes.values())
        return (
            f"models.{name}.tolerations: every node has a taint that keeps it away, so its pods would stay Pending. "
            f"Write tolerations: {taints}."
        )
    told = [f"{other} {of_one[0].reason}" for other, of_one in sorted(found.items(), key=lambda item: len(item[1]))]
    return (
        f"models.{name}: no node has all that it asks for, so its pods would stay Pending: "
        f"{_few(told, len(told))}. Ask for less, or add such a node."
    )


def pending(
    demand: Demand,
    demands: Sequence[Demand],
    server: ModelSettings,
    packing: Packing,
    nodes: Mapping[str, NodeSettings],
    access_mode: AccessMode,
) -> str:
    """The problem of a server of which some replicas find no place, with what each node has, the nearest first.

    `demands` are those of all servers.
    """
    found, room = packing.nodes[demand.name], packing.room
    replicas = Counter(found)
    nearest = nsmallest(
        _MOST_NODES_TOLD, demand.nodes, key=lambda node: (-room.free[node] - replicas[node] * demand.gpus, node)
    )
    told = [f"{node} {_left(node, demand, room, replicas[node])}" for node in nearest]
    others = (node for node in nodes if node not in demand.nodes)
    told += [f"{node} {_other(node, nodes[node], server)}" for node in islice(others, _MOST_NODES_TOLD - len(told))]
    setting = _setting(demand, server, room)
    spread = _ELSE[access_mode] if _fits_spread(demand, room, replicas) else ""
    add = "Lower gpuShare, or add" if setting == ".gpuShare" else "Add"
    for node in nearest:
        if (slices := _slices_for_all(node, demand, demands, packing)) is not None:
            add = f"Write nodes.{node}.gpus.timeSlices: {slices}, with which all that is there shares its GPUs; or add"
            break
    repair = f"{add} GPUs or slices, or take something away"
    unsure = "" if packing.exhausted else " (no way was found to place all, but not every way was tried)"
    return (
        f"models.{demand.name}{setting}: {demand.replicas - len(found)} of {demand.replicas} "
        f"replicas find no free GPU (each takes {demand.gpus}, all on {_WHERE[access_mode]}), so their pods would stay "
        f"Pending: {_few(told, len(nodes))}{unsure}. {repair}{spread}."
    )


def _fits_spread(demand: Demand, room: Room, replicas: Counter[str]) -> bool:
    """Whether several nodes of one kind have room for all, which one of them has not."""
    found = Counter[Hashable]()
    for node in demand.nodes:
        found[room.spaces[node].kind] += replicas[node] + room.holds(node, demand, demand.replicas)
    return max(found.values(), default=0) >= demand.replicas


def _slices_for_all(node: str, demand: Demand, demands: Sequence[Demand], packing: Packing) -> int | None:
    """Slices of each GPU of a node without any that would hold `demand` too; None where none would, or nobody knows.

    With all others that find no place and may run there, if there is room for them.
    """
    space = packing.room.spaces[node]
    if space.slices > 1 or demand.share is None:
        return None
    short = [other for other in demands if len(packing.nodes[other.name]) < other.replicas and node in other.nodes]
    for coming in (short, [demand]):
        names = {other.name for other in coming}
        pods = [other for other in coming for _ in range(other.replicas)]
        pods += [
            other for other in demands if other.name not in names for _ in range(packing.nodes[other.name].count(node))
        ]
        shares = sorted((pod.share for pod in pods if pod.share is not None and pod.gpus == 1), reverse=True)
        for slices in range(2, len(pods) + 1) if len(shares) == len(pods) else ():
            if len(pods) <= slices * space.slots and sum(shares[:slices]) <= WHOLE:
                return slices
    return None


def _setting(demand: Demand, server: ModelSettings, room: Room) -> str:
    """The path of what could be changed, after the server's own."""
    if demand.share is not None and any(room.free[node] >= demand.gpus for node in demand.nodes):
        return ".gpuShare"
    return ".autoscale.max" if getattr(server, "autoscale", None) else ""  # not every engine's settings have it


def _left(node: str, demand: Demand, room: Room, replicas: int) -> str:
    space = room.spaces[node]
    if room.free[node] >= demand.gpus and not room.holds(node, demand, 1):
        share = 1 / space.slices if demand.share is None else demand.share
        return f"has a free slice, but too little of a GPU's memory beside its neighbours for {share:g} of it"
    if replicas:
        return f"has room for {replicas}"
    return f"has {room.free[node]} of {space.slots} {'slices' if space.slices > 1 else 'GPUs'} free"


def _other(name: str, node: NodeSettings, server: ModelSettings) -> str:
    misfit = next(misfits(name, node, server), None)
    return f"has {node.gpus.model}, which it suits less" if misfit is None else misfit.reason


def _few(told: list[str], count: int) -> str:
    """The first of `told`, and how many of `count` nodes are left out."""
    more = count - _MOST_NODES_TOLD
    return "; ".join(told[:_MOST_NODES_TOLD]) + (f"; {more} more are no nearer" if more > 0 else "")
