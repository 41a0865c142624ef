"""One vLLM server: its command line, environment, sizes and budgets."""

from __future__ import annotations

from dataclasses import dataclass

from planning.autoscaling import AutoscalePlan, plan_autoscale
from planning.catalogue import LanguageModel, declared_model, gpu_models, hub_models
from planning.memory import GpuMemory, VllmLoad, VllmMemory, vllm_memory
from planning.pods import ANYWHERE, GIB, HostMemory, Scheduling, Shutdown, host_memory, shm_bytes, shutdown
from planning.rollout import Rollout
from planning.startup import Startup, startup
from settings.base import quantity_bytes
from settings.node import NodeSettings
from settings.storage import StorageSettings
from settings.vllm import Profile, VllmSettings

PORT = 8000
_DRAIN_SECONDS = 60
_BATCHED_TOKENS = 2048
"""vLLM's own --max-num-batched-tokens, where nothing is said."""

_UNKNOWN_FILES_BYTES = 20 * 10**9
"""Stands for the weights of a model that the catalogue does not know; only budgets and volumes are made of it."""


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Context and batch sizes, in tokens and sequences."""

    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int | None = None
    """Left to vLLM where the profile does not say."""


PROFILES: dict[Profile, Batching] = {
    "throughput": Batching(max_model_len=4096, max_num_seqs=512, max_num_batched_tokens=16384),
    "latency": Batching(max_model_len=2048, max_num_seqs=16, max_num_batched_tokens=2048),
    "longContext": Batching(max_model_len=16384, max_num_seqs=64),
    "balanced": Batching(max_model_len=8192, max_num_seqs=128, max_num_batched_tokens=8192),
}


@dataclass(frozen=True, kw_only=True)
class VllmPlan:
    """Everything that the VllmServer component is made of."""

    name: str
    image: str
    replicas: int
    """Pods; where the server is autoscaled, the fewest."""

    autoscale: AutoscalePlan | None
    gpus: int
    nodes: tuple[str, ...]
    gpu_model: str
    time_slices: int
    arguments: tuple[str, ...]
    environment: dict[str, str]
    rollout: Rollout
    startup: Startup
    shutdown: Shutdown
    host_memory: HostMemory
    scheduling: Scheduling = ANYWHERE
    shm_bytes: int
    cache_bytes: int
    cache_follows_model: bool
    """Whether the size of the volume is not the stack file's but ours, from the model's."""

    memory: GpuMemory | None
    """None where the catalogue does not know the model."""

    max_model_len: int
    concurrent_full_length_requests: int | None

    @property
    def served_name(self) -> str:
        """What clients write as `model`."""
        return self.name


def plan_vllm(
    name: str,
    settings: VllmSettings,
    *,
    nodes: tuple[str, ...],
    node: NodeSettings,
    rollout: Rollout,
    storage: StorageSettings,
    problems: list[str],
    warnings: list[str],  # noqa: ARG001  # every planner is called alike
) -> VllmPlan:
    """The plan of one server.

    Args:
        nodes: node of each replica, as placed.
        node: one of them; all have GPUs of one model and platform.
        problems: what cannot be followed is added, as `path: fact, consequence, repair`.
        warnings: what may go wrong although it can be followed is added, in the same form.
    """
    facts = settings.architecture
    model = declared_model(settings.model, facts) if facts else hub_models().get(settings.model)
    share = settings.gpu_share or 1 / node.gpus.time_slices
    utilization = round(share * settings.gpu_memory_utilization, 3)
    limit_mib = int(gpu_models()[node.gpus.model].memory_mib * utilization)
    batching = PROFILES[settings.profile]
    context = settings.max_model_len or batching.max_model_len
    eager = settings.enforce_eager if settings.enforce_eager is not None else node.platform == "wsl2"
    load = VllmLoad(
        max_model_len=context,
        max_num_seqs=batching.max_num_seqs,
        max_num_batched_tokens=batching.max_num_batched_tokens or _BATCHED_TOKENS,
        tensor_parallel=settings.gpus,
        eager=eager,
    )
    memory = vllm_memory(model, load, limit_mib=limit_mib) if model else None
    if model and memory:
        _check_fit(name, settings, model, memory, context, problems)
    files_bytes = model.files_bytes if model else _UNKNOWN_FILES_BYTES
    time = startup(files_bytes, storage, downloads=True, compiles=not eager)
    autoscale = (
        plan_autoscale(name, settings.autoscale, startup=time, max_num_seqs=batching.max_num_seqs, problems=problems)
        if settings.autoscale
        else None
    )
    ending = shutdown(drain_seconds=_DRAIN_SECONDS)
    shm = quantity_bytes(settings.shm) if settings.shm else shm_bytes(settings.gpus)
    cache = quantity_bytes(settings.cache) if settings.cache else (files_bytes * 6 // 5 // GIB + 10) * GIB
    return VllmPlan(
        name=name,
        image=settings.image,
        replicas=settings.autoscale.min if settings.autoscale else settings.replicas,
        autoscale=autoscale,
        gpus=settings.gpus,
        nodes=nodes,
        gpu_model=node.gpus.model,
        time_slices=node.gpus.time_slices,
        arguments=_arguments(name, settings, batching, context, utilization, eager=eager),
        environment=_environment(node, time),
        rollout=rollout,
        startup=time,
        shutdown=ending,
        host_memory=host_memory(workers=settings.gpus, files_bytes=files_bytes, shm=shm),
        shm_bytes=shm,
        cache_bytes=cache,
        cache_follows_model=settings.cache is None,
        memory=memory.gpu if memory else None,
        max_model_len=context,
        concurrent_full_length_requests=memory.concurrent_full_length_requests if memory else None,
    )


def _check_fit(
    name: str,
    settings: VllmSettings,
    model: LanguageModel,
    memory: VllmMemory,
    context: int,
    problems: list[str],
) -> None:
    """What does not fit is added to `problems`."""
    longest, gpu = model.architecture.context_tokens, memory.gpu
    if context > longest:
        problems.append(
            f"models.{name}.maxModelLen: {context} tokens, but {settings.model} was made for {longest}, "
            f"so vLLM would refuse to start. Write {longest} or less."
        )
    if gpu.weights_mib + gpu.other_mib > gpu.limit_mib:
        problems.append(
            f"models.{name}: weights {gpu.weights_mib} MiB and {gpu.other_mib} MiB of buffers exceed the "
            f"{gpu.limit_mib} MiB that it may take of each GPU, so it would run out of memory while it loads. Give "
            "it more GPUs or a larger gpuShare, or choose a model with smaller weights (AWQ, FP8)."
        )
    elif memory.largest_context is not None and memory.largest_context < context:
        problems.append(
            f"models.{name}.maxModelLen: a context of {context} tokens needs more KV cache than the "
            f"{gpu.kv_cache_mib} MiB that weights leave, so vLLM would refuse to start. The largest that fits is "
            f"{memory.largest_context}."
        )


def _arguments(
    name: str, settings: VllmSettings, batching: Batching, context: int, utilization: float, *, eager: bool
) -> tuple[str, ...]:
    """Arguments after `vllm serve`: the model positional and first, since some flags swallow what follows them."""
    arguments = [
        settings.model,
        f"--served-model-name={name}",
        f"--port={PORT}",
        f"--tensor-parallel-size={settings.gpus}",
        f"--gpu-memory-utilization={utilization:g}",
        f"--max-model-len={context}",
        f"--max-num-seqs={batching.max_num_seqs}",
        f"--shutdown-timeout={_DRAIN_SECONDS}",
        "--enable-request-id-headers",
    ]
    if batching.max_num_batched_tokens is not None:
        arguments.append(f"--max-num-batched-tokens={batching.max_num_batched_tokens}")
    if eager:
        arguments.append("--enforce-eager")
    return tuple(arguments)


def _environment(node: NodeSettings, time: Startup) -> dict[str, str]:
    environment = {
        "VLLM_ENGINE_READY_TIMEOUT_S": str(time.budget_seconds),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # Both lie on the volume: what is downloaded or compiled once is there at the next start.
        "HF_HOME": "/cache/huggingface",
        "VLLM_CACHE_ROOT": "/cache/vllm",
        "HOME": "/tmp",
    }
    return environment | platform_environment(node)


def platform_environment(node: NodeSettings) -> dict[str, str]:
    """Variables that CUDA programs need on the node's platform, and nowhere else."""
    if node.platform == "native":
        return {}
    return {
        "LD_LIBRARY_PATH": "/usr/lib/wsl/lib:/usr/local/nvidia/lib64:/usr/local/cuda/lib64",
        "NCCL_P2P_DISABLE": "1",
        "NCCL_CUMEM_HOST_ENABLE": "0",
        "NCCL_NVLS_ENABLE": "0",
    }
