"""How much GPU memory a model takes, and how many requests the rest has room for."""

from __future__ import annotations

from dataclasses import dataclass

from planning.catalogue import LanguageModel

MIB = 2**20

_DRIVER_CONTEXT_MIB = 621
"""CUDA context with PyTorch's first tensor, each process (gpu-memory-measured: 621 MiB on an H200)."""

_ACTIVATIONS_MIB = 1024
"""Activations and CUDA graphs of a vLLM worker at the batch sizes of the profiles: an estimate, on the safe side."""

_KV_BYTES_PER_ELEMENT = 2
"""16-bit keys and values."""


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """Memory of one GPU, in MiB, as one server takes it."""

    weights_mib: int
    kv_cache_mib: int
    other_mib: int
    limit_mib: int
    """What the server may take: its share of the card, times the utilization."""

    @property
    def total_mib(self) -> int:
        """Weights, KV cache and the rest together."""
        return self.weights_mib + self.kv_cache_mib + self.other_mib


def kv_cache_bytes_per_token(model: LanguageModel) -> int:
    """Bytes of keys and values that one token takes in all layers together, as if none looked back over a window.

    0 for an encoder, which keeps nothing.
    """
    shape = model.architecture
    elements = 2 * shape.kv_heads * shape.head_dim
    if shape.latent_attention is not None:
        elements = shape.latent_attention.kv_lora_rank + shape.latent_attention.qk_rope_head_dim
    return (shape.layers - shape.layers_without_kv_cache) * elements * _KV_BYTES_PER_ELEMENT


def vllm_memory(model: LanguageModel, *, gpus: int, limit_mib: int) -> GpuMemory:
    """Memory of each GPU under vLLM, which takes all of its limit: what weights leave becomes KV cache.

    Args:
        gpus: tensor-parallel workers; weights are divided over them.
        limit_mib: what vLLM may take of each GPU.
    """
    weights_mib = -(-model.files_bytes // (gpus * MIB))
    other_mib = _DRIVER_CONTEXT_MIB + _ACTIVATIONS_MIB
    return GpuMemory(
        weights_mib=weights_mib,
        kv_cache_mib=max(0, limit_mib - weights_mib - other_mib),
        other_mib=other_mib,
        limit_mib=limit_mib,
    )


def kv_cache_tokens(model: LanguageModel, memory: GpuMemory, *, gpus: int) -> int:
    """Tokens for which the KV cache of `gpus` GPUs has room; KV heads are replicated where GPUs exceed them.

    Args:
        model: one that keeps a cache: no encoder.
    """
    # A latent vector is every head's, so each GPU holds all of it.
    shards = 1 if model.architecture.latent_attention else min(gpus, model.architecture.kv_heads)
    return memory.kv_cache_mib * MIB * shards // kv_cache_bytes_per_token(model)
