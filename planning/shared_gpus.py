"""What the pods of one GPU take together: more than a card has is told, as nothing keeps a pod to its share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from planning.catalogue import DRIVER_MIB, gpu_models
from planning.llamacpp import LlamaCppPlan
from planning.memory import CUDA_MIB
from planning.nodes import NodePlan
from planning.ollama import OllamaPlan
from planning.servers import ServerPlan


@dataclass(frozen=True, kw_only=True)
class FullestGpu:
    """The GPU of a node on which those of its pods meet that take most."""

    pods: tuple[str, ...]
    """Their servers, the largest first; a server comes as often as pods of it."""

    mib: int
    """What all of them take, each with its CUDA context."""

    driver_mib: int
    """What the driver keeps besides."""


def fullest_gpu(node: NodePlan, servers: Mapping[str, ServerPlan]) -> FullestGpu | None:
    """Of any of the node's GPUs: the scheduler, not the plan, picks who shares one with whom.

    None where the memory of a pod on it is not known.
    """
    sizes: list[tuple[int, str]] = []
    for name, server in servers.items():
        if pods := server.nodes.count(node.name):
            if (size := _taken_mib(server)) is None:
                return None
            sizes += [(size, name)] * pods
    largest = sorted(sizes, key=lambda each: -each[0])[: node.time_slices]
    return FullestGpu(
        pods=tuple(name for _, name in largest), mib=sum(size for size, _ in largest), driver_mib=DRIVER_MIB
    )


def overfull_gpus(nodes: Mapping[str, NodePlan], servers: Mapping[str, ServerPlan]) -> Iterator[str]:
    """A warning for each node whose pods may want more of a shared GPU than CUDA gives of it."""
    for name, node in nodes.items():
        fullest = fullest_gpu(node, servers) if node.time_slices > 1 else None
        gives = gpu_models()[node.gpu_model].cuda_mib
        if fullest is not None and fullest.mib > gives:
            yield (
                f"nodes.{name}.gpus.timeSlices: the pods of {', '.join(fullest.pods)} may meet on one GPU, and take "
                f"{fullest.mib} MiB of it with the CUDA context that each has beside its share, of the {gives} MiB "
                f"that a {node.gpu_model} gives. The last to start would run out of memory. Lower gpuShare or "
                f"gpuMemoryUtilization of one by {fullest.mib - gives} MiB, or write fewer timeSlices."
            )


def _taken_mib(server: ServerPlan) -> int | None:
    """Memory of one GPU that one pod takes, its CUDA context with it."""
    memory = server.memory
    if memory is None or isinstance(server, OllamaPlan | LlamaCppPlan):
        return None if memory is None else memory.total_mib
    # vLLM and TGI take their part of what CUDA gives, which the figures count of the whole card, and the context was
    # there before they began to count.
    card = gpu_models()[server.gpu_model].memory_mib
    return memory.total_mib - memory.limit_mib * DRIVER_MIB // card + CUDA_MIB
