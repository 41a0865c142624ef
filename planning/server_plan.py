"""What the plans of all engines' servers have in common."""

from __future__ import annotations

from dataclasses import dataclass

from planning.autoscaling import AutoscalePlan
from planning.memory import GpuMemory
from planning.pods import ANYWHERE, HostMemory, Scheduling, Shutdown
from planning.rollout import Rollout
from planning.startup import Startup


@dataclass(frozen=True, kw_only=True)
class GpuServerPlan:
    """A server with GPUs, whatever its engine."""

    name: str
    image: str
    replicas: int = 1
    """Pods; where the server is autoscaled, the fewest."""

    autoscale: AutoscalePlan | None = None
    """None where nothing scales it."""

    gpus: int
    nodes: tuple[str, ...]
    gpu_model: str
    time_slices: int
    environment: dict[str, str]
    rollout: Rollout
    startup: Startup
    shutdown: Shutdown
    host_memory: HostMemory
    scheduling: Scheduling = ANYWHERE
    shm_bytes: int = 0
    """Shared memory beyond what every container has; 0 where one process serves."""

    files_bytes: int | None
    """Of what it downloads; None where that is not known, or there already."""

    memory: GpuMemory | None
    """Of its model, or of the largest; None where none is known."""

    max_model_len: int
    """Context of one request, in tokens."""

    concurrent_full_length_requests: int | None
    """Requests of that context that one pod works on at once; None where that is not known."""


@dataclass(frozen=True, kw_only=True)
class OneModelPlan(GpuServerPlan):
    """A server of one model that it downloads itself."""

    arguments: tuple[str, ...]
    cache_bytes: int
    cache_follows_model: bool
    """Whether the size of the volume is not the stack file's but ours, from the model's."""
