"""Memory under vLLM, which takes all of its limit: what weights and buffers leave becomes KV cache."""

from __future__ import annotations

from dataclasses import dataclass

from planning.catalogue import DRIVER_MIB, LanguageModel
from planning.memory.gpu_memory import MIB, GpuMemory
from planning.memory.layers import layers_of
from planning.memory.vllm_buffers import activations_mib, adapters_bytes, graphs_mib
from planning.memory.vllm_kv_cache import KvCache, kv_cache
from planning.memory.vllm_weights import stages, vllm_weights
from settings.quantization import Quantization

_LIBRARIES_MIB = 256
"""Kernels and workspaces of libraries: 0.24 to 0.27 GiB on one H100 (docs/memory.md)."""

_COMMUNICATION_MIB = {False: 350, True: 1900}
"""NCCL's and all-reduce's buffers of tensor-parallel GPUs, beside the libraries. With symmetric memory, 1.8 to 1.9 GiB
more than on one GPU (2 and 4 H100s, docs/memory.md); without it 0.3 to 0.4 (the same before vLLM used it)."""


@dataclass(frozen=True, kw_only=True)
class LoraSlots:
    """Adapters that are in GPU memory at once (--max-loras), each with room for `rank` (--max-lora-rank)."""

    count: int
    rank: int


@dataclass(frozen=True, kw_only=True)
class VllmLoad:
    """How one replica of a vLLM server is set up, as far as its memory depends on it."""

    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    kv_cache_bits: float = 16
    """Bits of one element of keys and values (--kv-cache-dtype)."""

    eager: bool = False
    """Whether there are no CUDA graphs."""

    quantized_at_load: Quantization | None = None
    """What vLLM itself makes of 16-bit weights while it loads them (--quantization); None keeps them."""

    lora: LoraSlots | None = None
    draft: LanguageModel | None = None
    """Model that guesses tokens for speculative decoding; it keeps a KV cache too."""

    symmetric_memory: bool = False
    """Whether the GPUs are of compute capability 9.0 (Hopper) or later: there vLLM adds up over several GPUs in memory
    that they share, which takes more of it."""


@dataclass(frozen=True, kw_only=True)
class VllmMemory:
    """What a replica takes of each GPU, and what that is enough for."""

    gpu: GpuMemory
    """Of the GPU that has least left."""

    largest_context: int | None
    """Most tokens of one request for which the KV cache has room; None for an encoder, which keeps none."""

    concurrent_full_length_requests: int | None
    """Requests of `max_model_len` tokens for which it has room at once; None for an encoder."""


def vllm_memory(model: LanguageModel, load: VllmLoad, *, limit_mib: int) -> VllmMemory:
    """Memory of each GPU of one replica, where vLLM may take `limit_mib` of each.

    With pipeline parallelism the stage counts that has room for the fewest blocks, as vLLM gives all stages equally
    many.
    """
    found = min(
        (_stage(model, load, stage, limit_mib) for stage in stages(model.architecture.layers, load.pipeline_parallel)),
        key=lambda stage: (stage.blocks, stage.gpu.limit_mib - stage.gpu.weights_mib - stage.gpu.other_mib),
    )
    if found.cache is None:
        return VllmMemory(gpu=found.gpu, largest_context=None, concurrent_full_length_requests=None)
    in_flight = _concurrent_batches(load) * load.max_num_batched_tokens
    needed = found.cache.blocks_per_request(load.max_model_len, in_flight_tokens=in_flight)
    return VllmMemory(
        gpu=found.gpu,
        largest_context=_largest_context(found.cache, found.blocks, in_flight, model.architecture.context_tokens),
        concurrent_full_length_requests=found.blocks // needed,
    )


@dataclass(frozen=True, kw_only=True)
class _Stage:
    gpu: GpuMemory
    cache: KvCache | None
    blocks: int
    """Blocks that requests can have."""


def _stage(model: LanguageModel, load: VllmLoad, stage: tuple[int, int], limit_mib: int) -> _Stage:
    shape, draft = model.architecture, load.draft
    start, end = stage
    last = end == shape.layers
    weights_mib = _mib(vllm_weights(model, load.tensor_parallel, load.quantized_at_load).of_stage(start, end))
    other_mib = _buffers_mib(model, load, stage)
    # A draft model runs beside the last stage.
    if draft is not None and last:
        weights = vllm_weights(draft, load.tensor_parallel, None)
        other_mib += _mib(weights.of_stage(0, draft.architecture.layers))
    kv_cache_mib = max(0, limit_mib - weights_mib - other_mib)
    cache = kv_cache(
        shape,
        stage,
        tensor_parallel=load.tensor_parallel,
        bits=load.kv_cache_bits,
        draft=draft.architecture if draft is not None and last else None,
    )
    return _Stage(
        gpu=GpuMemory(
            weights_mib=weights_mib,
            kv_cache_mib=0 if cache is None else kv_cache_mib,
            other_mib=other_mib,
            limit_mib=limit_mib,
        ),
        cache=cache,
        # One block is never given away (BlockPool's null block).
        blocks=0 if cache is None else max(0, kv_cache_mib * MIB // cache.block_bytes - 1),
    )


def _buffers_mib(model: LanguageModel, load: VllmLoad, stage: tuple[int, int]) -> int:
    shape, layers = model.architecture, stage[1] - stage[0]
    # vLLM's share is one of what CUDA gives, and `limit_mib` one of the card.
    total = DRIVER_MIB + _LIBRARIES_MIB
    if load.tensor_parallel > 1:
        total += _COMMUNICATION_MIB[load.symmetric_memory]
    total += activations_mib(
        shape,
        batched_tokens=load.max_num_batched_tokens,
        sequences=load.max_num_seqs,
        tensor_parallel=load.tensor_parallel,
        stages=load.pipeline_parallel,
        last=stage[1] == shape.layers,
    )
    if not load.eager:
        total += graphs_mib(layers, sequences=load.max_num_seqs, batched_tokens=load.max_num_batched_tokens)
    if load.lora is not None:
        slots = adapters_bytes(
            shape,
            layers_of(shape)[slice(*stage)],
            count=load.lora.count,
            rank=load.lora.rank,
            tensor_parallel=load.tensor_parallel,
        )
        total += _mib(slots)
    return total


def _concurrent_batches(load: VllmLoad) -> int:
    """Batches under way at once: one more than stages, as scheduling is asynchronous (max_concurrent_batches)."""
    return load.pipeline_parallel + 1


def _largest_context(cache: KvCache, blocks: int, in_flight: int, made_for: int) -> int:
    """Most tokens of one request for which there are blocks."""
    low, high = 0, max(made_for, blocks * cache.largest_block_tokens) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if cache.blocks_per_request(middle, in_flight_tokens=in_flight) <= blocks:
            low = middle
        else:
            high = middle
    return low


def _mib(size: int) -> int:
    return -(-size // MIB)
