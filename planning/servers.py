"""From the settings of model servers to their plans: where each runs, how it is rolled out, what its pods ask for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from planning.catalogue import gpu_models
from planning.eligibility import HOSTNAME_LABEL, kind_of
from planning.images import mirrored
from planning.llamacpp import LlamaCppPlan, plan_llamacpp
from planning.ollama import OllamaPlan, plan_ollama
from planning.placement import Placement, Score, fewest_replicas, place, replicas_of
from planning.pods import GIB, HostMemory, least_shm_bytes, scheduling
from planning.rollout import Rollout, Surge, outage_seconds, pod_seconds, rivals, rollout, spare_wait_seconds
from planning.tgi import TgiPlan, plan_tgi
from planning.vllm import VllmPlan, plan_vllm
from settings.base import quantity_bytes
from settings.llamacpp import LlamaCppSettings
from settings.node import NodeSettings
from settings.ollama import OllamaSettings
from settings.stack import ModelSettings, Settings
from settings.tgi import TgiSettings
from settings.vllm import VllmSettings

ServerPlan = VllmPlan | OllamaPlan | LlamaCppPlan | TgiPlan

_PLANNERS: dict[type, Callable[..., Any]] = {
    VllmSettings: plan_vllm,
    OllamaSettings: plan_ollama,
    LlamaCppSettings: plan_llamacpp,
    TgiSettings: plan_tgi,
}
"""By the type of a server's settings: (name, settings, *, nodes, node, rollout, storage, problems, warnings)."""

_UNKNOWN: Score = (0, 1000)
"""Of a GPU of which nothing is known: chosen after all that a server fits, before what it does not fit. The GPU's name
is told, and what would only follow from it is not."""

_TRIAL = Rollout(strategy="Recreate", has_outage=True, spare_gpus=0)


def plan_servers(settings: Settings, problems: list[str], warnings: list[str]) -> dict[str, ServerPlan]:
    """The plan of every server that has a place; what is wrong with any of them is added to `problems`."""
    placement = _place(settings, problems)
    servers: dict[str, ServerPlan] = {}
    for name, server in settings.models.items():
        placed = placement.nodes.get(name, ())
        # What finds no place is still looked at as if it had one: all of its problems are told at once.
        where = placed or placement.candidates[name][:1] or _largest(settings.nodes)
        if not where or any(settings.nodes[node].gpus.model not in gpu_models() for node in where):
            continue  # the problem is told already
        strategy = _rollout(server, placement.surge[name]) if placed else _TRIAL
        planned = _plan(settings, name, server, where, strategy, problems, warnings)
        finished = _finished(settings, name, server, planned, problems, warnings)
        if placed:
            servers[name] = finished
            _check_pinned(settings, name, placed[0], placement.candidates[name], warnings)
    problems += _overfull(settings.nodes, servers)
    return _waiting(settings, servers, placement, warnings)


def _waiting(
    settings: Settings, servers: Mapping[str, ServerPlan], placement: Placement, warnings: list[str]
) -> dict[str, ServerPlan]:
    """`servers` with the time that the pods of each wait for a spare GPU which is promised to others too."""
    surges = {}
    for name, plan in servers.items():
        room = {node: count for node, count in placement.surge[name].items() if count >= plan.gpus}
        if plan.rollout.max_surge:
            # What a written share leaves of a slice's memory is not counted: it is taken to leave room for no other.
            shared = plan.time_slices > 1 and settings.models[name].gpu_share is not None
            seconds = replacement_seconds(plan) * replicas_of(settings.models[name])
            surges[name] = Surge(gpus=max(room.values()) if shared else plan.gpus, seconds=seconds, free=room)
    waits = dict[str, int]()
    told = set[tuple[str, ...]]()
    for name, names in sorted((found := rivals(surges)).items()):
        waits[name] = spare_wait_seconds(name, names, surges)
        if names in told:
            continue
        told.add(names)
        most = max(spare_wait_seconds(other, names, surges) for other in names if other in found)
        node, free = next(iter(surges[name].free.items()))
        what = "slice" if settings.nodes[node].gpus.time_slices > 1 else "GPU"
        warnings.append(
            f"nodes.{node}.gpus: {free} spare {what}{'s' if free > 1 else ''} for the new pods of {', '.join(names)}: "
            f"where one update changes them all, the last waits up to {-(-most // 60)} minutes. Deadlines allow for it "
            "and the old pods answer meanwhile; if it is too long, add GPUs or slices."
        )
    return {
        name: replace(plan, rollout=replace(plan.rollout, spare_wait_seconds=waits.get(name, 0)))
        for name, plan in servers.items()
    }


def replacement_seconds(plan: ServerPlan) -> int:
    """Seconds that the replacement of one pod is given, once there is a GPU for it."""
    downloading = plan.download_budget_seconds if isinstance(plan, OllamaPlan) else 0
    return pod_seconds(startup=plan.startup, shutdown=plan.shutdown, download_seconds=downloading)


def _largest(nodes: Mapping[str, NodeSettings]) -> tuple[str, ...]:
    """The node whose cards have most memory: what is told of a server there holds on every other node too."""
    known = [name for name, node in nodes.items() if node.gpus.model in gpu_models()]
    return tuple(sorted(known, key=lambda name: -gpu_models()[nodes[name].gpus.model].memory_mib)[:1])


def _place(settings: Settings, problems: list[str]) -> Placement:
    known: dict[tuple[str, object], Score] = {}
    kinds = {name: kind_of(node) for name, node in settings.nodes.items()}
    written = cache(lambda name: repr(settings.models[name]))

    def suits(name: str, node: str) -> Score:
        """Tried by planning it there: the engine's planner decides what fits. Servers alike are tried once."""
        key = (written(name), kinds[node])
        if key not in known:
            told, doubts = list[str](), list[str]()
            if settings.nodes[node].gpus.model in gpu_models():
                _plan(settings, name, settings.models[name], (node,), _TRIAL, told, doubts)
                known[key] = len(told), len(doubts)
            else:
                known[key] = _UNKNOWN
        return known[key]

    return place(settings.nodes, settings.models, problems, access_mode=settings.storage.access_mode, suits=suits)


def _rollout(server: ModelSettings, free: Mapping[str, int]) -> Rollout:
    return rollout(replicas=fewest_replicas(server), most=replicas_of(server), gpus=server.gpus, free=free)


def _plan(
    settings: Settings,
    name: str,
    server: ModelSettings,
    placed: tuple[str, ...],
    strategy: Rollout,
    problems: list[str],
    warnings: list[str],
) -> ServerPlan:
    storage = settings.storage
    own = [speed for node in set(placed) if (speed := settings.nodes[node].read_megabytes_per_second) is not None]
    if own:  # the slowest disk decides how long the slowest replica starts
        elsewhere = [] if len(own) == len(set(placed)) else [storage.read_megabytes_per_second]
        storage = storage.model_copy(update={"read_megabytes_per_second": min(own + elsewhere)})
    planned: ServerPlan = _PLANNERS[type(server)](
        name,
        server,
        nodes=placed,
        node=settings.nodes[placed[0]],
        rollout=strategy,
        storage=storage,
        problems=problems,
        warnings=warnings,
    )
    return planned


def _finished(
    settings: Settings,
    name: str,
    server: ModelSettings,
    planned: ServerPlan,
    problems: list[str],
    warnings: list[str],
) -> ServerPlan:
    """`planned` with what is the same for every engine."""
    seconds = outage_seconds(planned.rollout, startup=planned.startup, shutdown=planned.shutdown)
    if planned.rollout.max_unavailable and not planned.rollout.has_outage:
        pods = fewest_replicas(server)
        where = "where they run" if settings.storage.access_mode == "ReadWriteOnce" else "of their kind"
        warnings.append(
            f"models.{name}.replicas: no GPU is spare for a pod more, so {pods - 1} of {pods} answer while a new "
            f"version is rolled out. Add a GPU {where}, if that is too few."
        )
    if (shm := getattr(server, "shm", None)) is not None:  # engines whose workers talk over it
        _check_shm(name, shm, server.gpus, problems)
    _check_links(name, server, planned, warnings)
    _check_share(name, server, planned, warnings)
    return replace(
        planned,
        image=mirrored(planned.image, settings.security.registry_mirror),
        rollout=replace(planned.rollout, outage_seconds=seconds),
        scheduling=scheduling(server, settings.security),
        host_memory=_host_memory(name, server, planned, problems, warnings),
    )


def _host_memory(
    name: str, server: ModelSettings, planned: ServerPlan, problems: list[str], warnings: list[str]
) -> HostMemory:
    """Memory of the host, as the file says it; too little of it is told."""
    memory = planned.host_memory
    if server.memory is None:
        return memory
    limit = quantity_bytes(server.memory)
    needed = memory.request_bytes + planned.shm_bytes + memory.filled_bytes
    if limit < needed:
        problems.append(
            f"models.{name}.memory: {_in_words(server.memory)}, but its processes and /dev/shm take "
            f"{needed / GIB:.1f}Gi, so the pod would be killed (OOMKilled). Write {-(-needed // GIB)}Gi or more"
            f"{', or a smaller promptCacheMiB.' if memory.filled_bytes else '.'}"
        )
    elif limit < memory.limit_bytes:
        warnings.append(
            f"models.{name}.memory: {_in_words(server.memory)}, below the {memory.limit_bytes / GIB:.1f}Gi with which "
            "the weights' files stay in memory while they load, so it may start more slowly. Write "
            f"{-(-memory.limit_bytes // GIB)}Gi, or leave it out."
        )
    return HostMemory(request_bytes=min(memory.request_bytes, limit), limit_bytes=limit)


def _in_words(quantity: str) -> str:
    """`80G is 74.5Gi`: powers of ten are taken for powers of two."""
    return quantity if "i" in quantity else f"{quantity} is {quantity_bytes(quantity) / GIB:.1f}Gi"


def _check_shm(name: str, shm: str, workers: int, problems: list[str]) -> None:
    if (size := quantity_bytes(shm)) < (least := least_shm_bytes(workers)):
        problems.append(
            f"models.{name}.shm: {shm} is {size >> 20}Mi, but the queues of {workers} workers and NCCL take up to "
            f"{least >> 20}Mi, so they would be killed by SIGBUS under load. Write {least >> 20}Mi or more, or leave "
            "it out."
        )


def _check_links(name: str, server: ModelSettings, planned: ServerPlan, warnings: list[str]) -> None:
    """Workers of tensor parallelism talk at every layer; without NVLink that goes over PCIe."""
    if server.gpus > 1 and hasattr(server, "shm") and not gpu_models()[planned.gpu_model].nvlink:
        warnings.append(
            f"models.{name}.gpus: {server.gpus} of {planned.gpu_model}, which has no NVLink: the workers talk over "
            "PCIe at every layer, slower still between two sockets, and which GPUs of the node a pod gets is not "
            "planned. Fewer, larger GPUs or a smaller quantization answer faster."
        )


def _check_share(name: str, server: ModelSettings, planned: ServerPlan, warnings: list[str]) -> None:
    """A node that is not time-sliced gives a pod whole GPUs, however little of their memory it takes."""
    if planned.time_slices == 1 and server.gpu_share is not None and server.gpu_share < 1:
        node, slices = planned.nodes[0], max(2, int(1 / server.gpu_share + 1e-9))
        warnings.append(
            f"models.{name}.gpuShare: {server.gpu_share:g}, but {node} is not time-sliced: the pod has a GPU to "
            "itself, and the rest of its memory is used by no other pod. Write "
            f"nodes.{node}.gpus.timeSlices: {slices} for others to share it, or leave gpuShare out."
        )


def _check_pinned(settings: Settings, name: str, node: str, candidates: Sequence[str], warnings: list[str]) -> None:
    """A pod must run on GPUs of the kind that it was planned with, and a node's own volume does not follow it there."""
    kind = kind_of(settings.nodes[node])
    others = {other: found for other in candidates if (found := kind_of(settings.nodes[other])) != kind}
    if not others or settings.storage.access_mode != "ReadWriteOnce":
        return
    model = kind[0]
    if model not in (found[0] for found in others.values()):
        setting, suits, pin = "gpuModel", sorted({found[0] for found in others.values()}), model
    else:  # the same GPU, shared otherwise or on another platform
        setting, suits, pin = "nodeSelector", list(others), f"{{{HOSTNAME_LABEL}: {node}}}"
    warnings.append(
        f"models.{name}.{setting}: does not say that it stays on {model} of {node}, and it suits {', '.join(suits)} "
        "too. Where volumes stay on a node, as k3s' local-path does, a change of this file that moves it there would "
        f"leave its pod Pending. Write {setting}: {pin}."
    )


def _overfull(nodes: Mapping[str, NodeSettings], servers: Mapping[str, ServerPlan]) -> list[str]:
    """Nodes whose pods ask for more memory or CPU than the file says that they have."""
    found = []
    for name, node in nodes.items():
        if node.memory is None and node.cpus is None:
            continue
        pods = {server: count for server, plan in servers.items() if (count := Counter(plan.nodes)[name])}
        if node.memory is not None:
            asked = {server: servers[server].host_memory.request_bytes * count for server, count in pods.items()}
            if sum(asked.values()) > (has := quantity_bytes(node.memory)):
                each = ", ".join(f"{server} {size / GIB:.0f}Gi" for server, size in asked.items())
                found.append(
                    f"nodes.{name}.memory: {node.memory} ({has / GIB:.1f}Gi), but the pods that run there ask for "
                    f"{sum(asked.values()) / GIB:.0f}Gi ({each}), so one would stay Pending. Take a server away, or "
                    "correct the figure."
                )
        if node.cpus is not None:
            cpus = {server: servers[server].scheduling.cpu_millicores * count for server, count in pods.items()}
            if sum(cpus.values()) > node.cpus * 1000:
                each = ", ".join(f"{server} {millicores / 1000:g}" for server, millicores in cpus.items())
                found.append(
                    f"nodes.{name}.cpus: {node.cpus:g}, but the pods that run there ask for "
                    f"{sum(cpus.values()) / 1000:g} ({each}), so one would stay "
                    "Pending. Lower cpus of a model, take one away, or correct the figure."
                )
    return found
