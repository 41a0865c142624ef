"""Host memory of an Ollama server: layers of the CPU, and what the processes of its loaded models keep of prompts."""

from __future__ import annotations

from collections.abc import Mapping

from planning.memory import MIB
from planning.ollama_memory import ServedModel
from planning.ollama_sharing import weights_of
from planning.pods import GIB, HostMemory, host_memory
from planning.prompt_caches import checkpoint_bytes, fitting_checkpoints
from settings.ollama import OllamaSettings

_LOADED_A_GPU = 3
"""Models that Ollama keeps loaded at once for each GPU (server/sched.go, defaultModelsPerGPU)."""

_UNKNOWN_CHECKPOINTS = 4
"""Of a model that nothing is known of: as many as the largest ones have room for."""


def kept_checkpoints(settings: OllamaSettings, served: Mapping[str, ServedModel]) -> int:
    """Checkpoints that each request keeps, for all models alike, so that none has more of them than of caches."""
    budget = settings.prompt_cache_mib * MIB
    return min(
        (_UNKNOWN_CHECKPOINTS if budget else 0)
        if model.model is None
        else fitting_checkpoints(
            checkpoint_bytes(model.model, model.load),
            sequences=model.load.sequences,
            budget_bytes=budget,
        )
        for model in served.values()
    )


def ollama_host_memory(
    settings: OllamaSettings, files_bytes: int, served: Mapping[str, ServedModel], *, checkpoints: int
) -> HostMemory:
    """As for all engines, with the layers that stay with the CPU, of the model that has most of them.

    Each loaded model is a process of its own, which keeps caches of earlier prompts of its own. One of them is counted
    by every engine; the others are not there at first, so they raise the limit alone.
    """
    usual = host_memory(workers=1, files_bytes=files_bytes, shm=0)
    memories = [model.memory for model in served.values() if model.memory is not None]
    held = max((memory.host_mib * MIB for memory in memories if memory.spilled_layers), default=0)
    kept: dict[str, int] = {}
    for name, model in served.items():
        weights = weights_of(name, settings)
        kept[weights] = max(kept.get(weights, 0), _kept_bytes(settings, model, checkpoints))
    together = min(len(kept), settings.max_loaded_models or _LOADED_A_GPU * settings.gpus)
    caches = sum(sorted(kept.values(), reverse=True)[:together])
    return HostMemory(
        request_bytes=usual.request_bytes + held,
        limit_bytes=usual.limit_bytes + held + caches + (together - 1) * GIB,
    )


def _kept_bytes(settings: OllamaSettings, served: ServedModel, checkpoints: int) -> int:
    """Host memory of earlier prompts and of checkpoints, of one loaded model."""
    caches = settings.prompt_cache_mib * MIB
    if served.model is None:
        return 2 * caches
    if served.model.is_embedding:
        return 0  # it is of completions alone
    return caches + checkpoints * served.load.sequences * checkpoint_bytes(served.model, served.load)
