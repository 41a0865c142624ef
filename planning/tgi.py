"""One server of Text Generation Inference: its command line, environment, sizes and budgets."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from planning.catalogue import LanguageModel, Quantization, declared_model, gpu_models, hub_models
from planning.engine_flags import Argument, extra_arguments, flag_table
from planning.memory import VllmLoad, VllmMemory, vllm_memory
from planning.platforms import platform_environment
from planning.pods import GIB, host_memory, shm_bytes, shutdown
from planning.rollout import Rollout
from planning.server_plan import OneModelPlan
from planning.startup import startup
from planning.volumes import check_cache
from settings.base import quantity_bytes
from settings.node import NodeSettings
from settings.storage import StorageSettings
from settings.tgi import Quantize, TgiSettings

PORT = 8080
_DRAIN_SECONDS = 60
"""Less than the 90 s for which the launcher waits for requests in flight."""

_FILLED = 0.95
"""Part of what TGI may take that it fills with cache (TGI_WIGGLE_ROOM of 3.0.1)."""

_GRAPH_BATCH = 32
"""The largest batch that TGI has a CUDA graph for by default."""

_UNKNOWN_FILES_BYTES = 20 * 10**9
"""Stands for the weights of a model that the catalogue does not know; only budgets and volumes are made of it."""

_LAST_FOR_ANY_USER = (3, 1, 0)
"""From 3.1.1 on Python lies below /root, which only root may enter (the image's Dockerfile)."""

_OFFICIAL = re.compile(r"ghcr\.io/huggingface/text-generation-inference:(\d+)\.(\d+)\.(\d+)")

_AT_LOAD: dict[Quantize, Quantization] = {
    "eetq": Quantization.INT8,
    "bitsandbytes": Quantization.INT8,
    "bitsandbytes-nf4": Quantization.BNB_NF4,
    "bitsandbytes-fp4": Quantization.BNB_NF4,
    "fp8": Quantization.FP8,
}
"""What TGI makes of 16-bit weights while it loads them."""

_TYPED = {
    "--model-id": "model",
    "--revision": "revision",
    "--num-shard": "gpus",
    "--sharded": "gpus",
    "--quantize": "quantize",
    "--dtype": "dtype",
    "--kv-cache-dtype": "kvCacheDtype",
    "--max-concurrent-requests": "maxConcurrentRequests",
    "--max-input-tokens": "maxInputTokens",
    "--max-input-length": "maxInputTokens",
    "--max-total-tokens": "maxTotalTokens",
    "--max-batch-prefill-tokens": "maxBatchPrefillTokens",
    "--cuda-memory-fraction": "cudaMemoryFraction",
    "--cuda-graphs": "cudaGraphs",
}
SETTINGS = {flag: f"Write {setting} instead." for flag, setting in _TYPED.items()}

_PLANNED = "is the plan's: probes, routes and the volume count on it. Take it out."
REFUSED = {
    "--api-key": "is the edge's, which is the only way in: the engine sees no keys. Take it out.",
    **dict.fromkeys(("--ngrok", "--ngrok-authtoken", "--ngrok-edge"), "opens a way in past the edge. Take it out."),
    **dict.fromkeys(
        ("--hostname", "--port", "--shard-uds-path", "--huggingface-hub-cache", "--weights-cache-override"), _PLANNED
    ),
    "--usage-stats": "is off: nothing is told to anybody outside. Take it out.",
}


@dataclass(frozen=True, kw_only=True)
class TgiPlan(OneModelPlan):
    """Everything that the TgiServer component is made of. Its metrics feed no autoscaler."""

    model: str
    """As the stack file names it."""

    @property
    def served_names(self) -> tuple[str, ...]:
        """What clients write as `model`; TGI takes any name that is none of an adapter."""
        return (self.name,)


def plan_tgi(
    name: str,
    settings: TgiSettings,
    *,
    nodes: tuple[str, ...],
    node: NodeSettings,
    rollout: Rollout,
    storage: StorageSettings,
    problems: list[str],
    warnings: list[str],
) -> TgiPlan:
    """The plan of one server; arguments as for vLLM.

    Its memory is reckoned as vLLM's, which its own follows: weights are divided over shards, and what they and the
    largest prefill leave becomes KV cache. It differs in what it may take: a twentieth less than the fraction says.
    """
    facts = settings.architecture
    model = declared_model(settings.model, facts) if facts else hub_models().get(settings.model)
    fraction = round((settings.gpu_share or 1.0) * settings.cuda_memory_fraction, 3)
    limit_mib = int(gpu_models()[node.gpus.model].memory_mib * fraction * _FILLED)
    memory = vllm_memory(model, _load(settings, model), limit_mib=limit_mib) if model else None
    if model and memory:
        _check_fit(name, settings, model, memory, problems)
    _check_place(name, settings, node, problems)
    warnings.append(
        f"models.{name}.engine: tgi gets small repairs only since December 2025, and no new models. Take vllm where it "
        "serves the model too."
    )
    extra = extra_arguments(
        f"models.{name}.extraArgs",
        settings.extra_args,
        flag_table("text-generation-launcher"),
        settings=SETTINGS,
        refused=REFUSED,
        problems=problems,
    )
    problems += [
        f"models.{name}.extraArgs.{argument.name.removeprefix('--')}: {argument.value!r} has a space, at which the "
        "image's entry point would cut it in two. Write it without."
        for argument in extra
        if argument.value is not None and re.search(r"\s", argument.value)
    ]
    files_bytes = model.files_bytes if model else _UNKNOWN_FILES_BYTES
    check_cache(name, settings.cache, files_bytes if model else None, problems)
    shm = quantity_bytes(settings.shm) if settings.shm else shm_bytes(settings.gpus)
    return TgiPlan(
        name=name,
        model=settings.model,
        image=settings.image,
        replicas=settings.replicas,
        gpus=settings.gpus,
        nodes=nodes,
        gpu_model=node.gpus.model,
        time_slices=node.gpus.time_slices,
        arguments=_arguments(settings, fraction, extra),
        environment=_environment(node),
        rollout=rollout,
        startup=startup(files_bytes, storage, downloads=True, compiles=settings.cuda_graphs),
        shutdown=shutdown(drain_seconds=_DRAIN_SECONDS),
        host_memory=host_memory(workers=settings.gpus, files_bytes=files_bytes, shm=shm),
        shm_bytes=shm,
        files_bytes=model.files_bytes if model else None,
        cache_bytes=quantity_bytes(settings.cache) if settings.cache else (files_bytes * 6 // 5 // GIB + 10) * GIB,
        cache_follows_model=settings.cache is None,
        memory=memory.gpu if memory else None,
        max_model_len=settings.max_total_tokens,
        concurrent_full_length_requests=memory.concurrent_full_length_requests if memory else None,
    )


def _load(settings: TgiSettings, model: LanguageModel | None) -> VllmLoad:
    sixteen_bits = model is not None and model.quantization in (Quantization.BF16, Quantization.FP16)
    return VllmLoad(
        max_model_len=settings.max_total_tokens,
        max_num_seqs=_GRAPH_BATCH,
        max_num_batched_tokens=settings.max_batch_prefill_tokens,
        tensor_parallel=settings.gpus,
        kv_cache_bits=8 if settings.kv_cache_dtype else 16,
        eager=not settings.cuda_graphs,
        quantized_at_load=_AT_LOAD.get(settings.quantize) if settings.quantize and sixteen_bits else None,
    )


def _check_fit(name: str, settings: TgiSettings, model: LanguageModel, memory: VllmMemory, problems: list[str]) -> None:
    """What does not fit is added to `problems`."""
    longest, gpu, context = model.architecture.context_tokens, memory.gpu, settings.max_total_tokens
    if model.is_embedding:
        problems.append(
            f"models.{name}.model: {settings.model} makes embeddings, which TGI does not. Serve it with engine: vllm "
            "or llamacpp."
        )
        return
    if context > longest:
        problems.append(
            f"models.{name}.maxTotalTokens: {context} tokens, but {settings.model} was made for {longest}, beyond "
            f"which its answers make no sense. Write {longest} or less."
        )
    if gpu.weights_mib + gpu.other_mib > gpu.limit_mib:
        problems.append(
            f"models.{name}: weights {gpu.weights_mib} MiB and {gpu.other_mib} MiB of buffers exceed the "
            f"{gpu.limit_mib} MiB that it may take of each GPU, so it would run out of memory while it loads. Give "
            "it more GPUs, or choose a model with smaller weights (AWQ, GPTQ)."
        )
    elif memory.largest_context is not None and memory.largest_context < context:
        problems.append(
            f"models.{name}.maxTotalTokens: a request of {context} tokens needs more KV cache than the "
            f"{gpu.kv_cache_mib} MiB that weights leave, so it could never be run. The largest that fits is "
            f"{memory.largest_context}."
        )


def _check_place(name: str, settings: TgiSettings, node: NodeSettings, problems: list[str]) -> None:
    """Where TGI cannot start is added to `problems`."""
    if node.gpus.time_slices > 1:
        problems.append(
            f"models.{name}: would share a GPU by time-slicing, and TGI takes a neighbour's memory for its own when "
            "it reckons what is free, so it would find no room and end. Give it a node without timeSlices, or use vllm."
        )
    found = _OFFICIAL.match(settings.image)
    if found and tuple(map(int, found.groups())) > _LAST_FOR_ANY_USER:
        problems.append(
            f"models.{name}.image: {settings.image} keeps its Python below /root, which only root may enter, and no "
            "pod here is root's, so it would end at once (libpython3.11.so.1.0: cannot open). Write :3.0.1, or an "
            "image of your own with UV_PYTHON_INSTALL_DIR elsewhere."
        )


def _arguments(settings: TgiSettings, fraction: float, extra: Iterable[Argument]) -> tuple[str, ...]:
    """Arguments of text-generation-launcher."""
    flags: dict[str, object] = {
        "--model-id": settings.model,
        "--revision": settings.revision,
        # Kubernetes sets HOSTNAME to the pod's name, which the launcher would take for the address to listen on.
        "--hostname": "0.0.0.0",  # noqa: S104  # in a pod that a NetworkPolicy closes
        "--port": PORT,
        "--num-shard": settings.gpus,
        "--quantize": settings.quantize,
        "--dtype": settings.dtype,
        "--kv-cache-dtype": settings.kv_cache_dtype,
        "--max-total-tokens": settings.max_total_tokens,
        "--max-input-tokens": settings.max_input_tokens or settings.max_total_tokens - 1,
        "--max-batch-prefill-tokens": settings.max_batch_prefill_tokens,
        "--max-concurrent-requests": settings.max_concurrent_requests,
        "--cuda-memory-fraction": f"{fraction:g}",
        "--cuda-graphs": None if settings.cuda_graphs else "0",
        "--usage-stats": "off",
    }
    written = [f"{flag}={value}" for flag, value in flags.items() if value is not None]
    more = [a.name if a.value is None else f"{a.name}={a.value}" for a in extra]
    return (*written, *more)


def _environment(node: NodeSettings) -> dict[str, str]:
    environment = {
        # All lie on the volume: what is downloaded or compiled once is there at the next start.
        "HF_HOME": "/cache/huggingface",
        "HUGGINGFACE_HUB_CACHE": "/cache/huggingface/hub",
        "TRITON_CACHE_DIR": "/cache/triton",
        "HOME": "/tmp",
    }
    return environment | platform_environment(node)
