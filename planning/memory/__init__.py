"""How much GPU memory a model takes under each engine, and what the rest has room for. Pure arithmetic."""

from __future__ import annotations

from planning.memory.gpu_memory import CUDA_MIB, MIB, GpuMemory
from planning.memory.kv_cache import kv_cache_bytes_per_token
from planning.memory.llama_cpp import LlamaCppLoad, LlamaCppMemory, llama_cpp_memory
from planning.memory.vllm import LoraSlots, VllmLoad, VllmMemory, vllm_memory

__all__ = [
    "CUDA_MIB",
    "MIB",
    "GpuMemory",
    "LlamaCppLoad",
    "LlamaCppMemory",
    "LoraSlots",
    "VllmLoad",
    "VllmMemory",
    "kv_cache_bytes_per_token",
    "llama_cpp_memory",
    "vllm_memory",
]
