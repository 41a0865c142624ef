"""Memory under llama.cpp, alone or inside Ollama: what does not fit stays in host memory, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass

from planning.memory.gpu_memory import GpuMemory


@dataclass(frozen=True, kw_only=True)
class LlamaCppLoad:
    """How one model is loaded, as far as its memory depends on it."""

    context_tokens: int
    """Tokens of the whole cache; parallel sequences share them (n_ctx)."""

    key_bits: float = 16
    value_bits: float = 16
    """Bits of one element of the cache, with its share of scales (--cache-type-k, --cache-type-v)."""

    ubatch_tokens: int = 512
    """Tokens that are computed at once (--ubatch-size)."""

    gpus: int = 1
    """GPUs over which layers are divided."""

    gpu_layers: int | None = None
    """Layers that may be on the GPU, the output layer counted as one (--n-gpu-layers); None for as many as fit."""


@dataclass(frozen=True, kw_only=True)
class LlamaCppMemory:
    """What a loaded model takes."""

    gpu: GpuMemory
    """Of the GPU that has least left."""

    spilled_layers: int
    """Layers that stay in host memory and are computed by the CPU; 0 where the model is all on the GPU."""

    host_mib: int
    """Host memory of what is not on a GPU: spilled layers with their cache, the token embedding."""

    largest_context: int
    """Most tokens of the whole cache with which nothing spills; 0 where the weights alone do."""
