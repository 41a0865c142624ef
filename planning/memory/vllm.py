"""Memory under vLLM, which takes all of its limit: what weights and buffers leave becomes KV cache."""

from __future__ import annotations

from dataclasses import dataclass

from planning.catalogue import LanguageModel
from planning.memory.gpu_memory import MIB, GpuMemory
from planning.memory.kv_cache import kv_cache_bytes_per_token
from settings.quantization import Quantization

_DRIVER_CONTEXT_MIB = 621
"""CUDA context with PyTorch's first tensor, each process (gpu-memory-measured: 621 MiB on an H200)."""

_ACTIVATIONS_MIB = 1024
"""Activations and CUDA graphs of a vLLM worker at the batch sizes of the profiles: an estimate, on the safe side."""


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
    """Memory of each GPU of one replica, where vLLM may take `limit_mib` of each."""
    gpus = load.tensor_parallel * load.pipeline_parallel
    weights_mib = -(-model.files_bytes // (gpus * MIB))
    other_mib = _DRIVER_CONTEXT_MIB + _ACTIVATIONS_MIB
    gpu = GpuMemory(
        weights_mib=weights_mib,
        kv_cache_mib=max(0, limit_mib - weights_mib - other_mib),
        other_mib=other_mib,
        limit_mib=limit_mib,
    )
    each = kv_cache_bytes_per_token(model)
    # A latent vector is every head's, so each GPU holds all of it.
    shards = 1 if model.architecture.latent_attention else min(load.tensor_parallel, model.architecture.kv_heads)
    tokens = gpu.kv_cache_mib * MIB * shards // each if each else None
    return VllmMemory(
        gpu=gpu,
        largest_context=tokens,
        concurrent_full_length_requests=None if tokens is None else tokens // load.max_model_len,
    )
