"""Memory of one GPU, and of what is divided over several."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 2**20

CUDA_MIB = 527
"""CUDA context and kernels of one process on one GPU, before a model (gpu-memory-measured: llama.cpp on an H200)."""


@dataclass(frozen=True, kw_only=True)
class GpuMemory:
    """Memory of one GPU, in MiB, as one server takes it."""

    weights_mib: int
    kv_cache_mib: int
    other_mib: int
    """CUDA context, activations, CUDA graphs, buffers of the engine, adapters, draft model."""

    limit_mib: int
    """What the server may take: its share of the card, times the utilization."""

    @property
    def total_mib(self) -> int:
        """Weights, KV cache and the rest together."""
        return self.weights_mib + self.kv_cache_mib + self.other_mib
