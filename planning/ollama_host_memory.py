"""Host memory of an Ollama server: layers of the CPU, and what the processes of its loaded models keep of prompts."""

from __future__ import annotations

from collections.abc import Mapping

from planning.memory import MIB
from planning.ollama_memory import ServedModel
from planning.ollama_sharing import largest_by_weights, loaded_together
from planning.pods import GIB, HostMemory, host_memory
from planning.prompt_caches import checkpoints, prompt_bytes
from settings.ollama import OllamaSettings


def ollama_checkpoints(settings: OllamaSettings, served: Mapping[str, ServedModel]) -> int:
    """Checkpoints that each request keeps, for all models alike, so that none has more of them than of caches."""
    budget = settings.prompt_cache_mib * MIB
    return min(checkpoints(model.model, model.load, budget_bytes=budget) for model in served.values())


def ollama_host_memory(
    settings: OllamaSettings, files_bytes: int, served: Mapping[str, ServedModel], *, kept_checkpoints: int
) -> HostMemory:
    """As for all engines, with the layers that stay with the CPU, of the model that has most of them.

    Each loaded model is a process of its own, which keeps caches of earlier prompts of its own. One of them is counted
    by every engine; the others are not there at first, so they raise the limit alone.
    """
    usual = host_memory(workers=1, files_bytes=files_bytes, shm=0)
    memories = [model.memory for model in served.values() if model.memory is not None]
    held = max((memory.host_mib * MIB for memory in memories if memory.spilled_layers), default=0)
    budget = settings.prompt_cache_mib * MIB
    kept = largest_by_weights(
        settings,
        {
            name: prompt_bytes(model.model, model.load, checkpoints=kept_checkpoints, budget_bytes=budget)
            for name, model in served.items()
        },
    )
    together = loaded_together(settings, len(kept))
    filled = sum(sorted(kept.values(), reverse=True)[:together]) + (together - 1) * GIB
    return HostMemory(
        request_bytes=usual.request_bytes + held,
        limit_bytes=usual.limit_bytes + held + filled,
        filled_bytes=filled,
    )
