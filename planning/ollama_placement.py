"""What Ollama itself reckons a model to take, by which it says on which GPUs the model is, with which batch, and what
must go before it comes (server/sched.go, load).
"""

from __future__ import annotations

from dataclasses import replace

from planning.catalogue import LanguageModel
from planning.memory import MIB, LlamaCppLoad
from settings.ollama import OllamaSettings

_FALSE = ("", "0", "f", "F", "false", "False", "FALSE")
"""How Go writes no; anything else is yes to Ollama (envconfig/config.go)."""

_BATCHES = ((32768, 2048, 60, 2048), (4096, 1024, 75, 768))
"""Above so many tokens of all requests together: tokens of a batch; per cent of what is free that the model may take;
MiB that are free for it besides, within USED_PERCENT (automaticGenerationBatch)."""

_SMALLEST_BATCH = 512

USED_PERCENT = 80
"""Of what is free, so much may a model be reckoned to take."""


def predicted_bytes(model: LanguageModel, context_tokens: int) -> int:
    """What Ollama reckons `model` to take: its file, and a 16-bit cache for `context_tokens` of all requests together.

    It looks neither at the type of the cache nor at windows, and takes heads for as large as the model's width divided
    by them (llm/llama_server.go, PredictServerVRAM).
    """
    shape = model.architecture
    kv_heads = min(shape.kv_heads, shape.global_attention.kv_heads) if shape.global_attention else shape.kv_heads
    if shape.latent_attention is not None:
        kv_heads = 1  # so its file says it
    head = shape.hidden_size // shape.attention_heads
    return model.files_bytes + 2 * shape.layers * kv_heads * head * context_tokens * 2


def placed(
    model: LanguageModel, load: LlamaCppLoad, settings: OllamaSettings, *, own_batch: bool, limit_mib: int
) -> LlamaCppLoad:
    """`load` on as many of its GPUs as Ollama takes, and with the batch that it chooses, where nothing else is loaded.

    Args:
        model: what is loaded.
        load: with all GPUs of the server.
        settings: what the file says of the server.
        own_batch: whether a Modelfile says num_batch, which Ollama then leaves as it is.
        limit_mib: what the server may take of each GPU.
    """
    predicted = predicted_bytes(model, load.context_tokens)
    spread = settings.extra_environment.get("OLLAMA_SCHED_SPREAD", "") not in _FALSE
    if load.gpus > 1 and not spread and fits_one(predicted, limit_mib):
        load = replace(load, gpus=1)
    if own_batch or model.is_embedding or not load.flash_attention:
        return load
    free = limit_mib * MIB * load.gpus
    return replace(load, ubatch_tokens=_batch(load.context_tokens, predicted, free))


def fits_one(predicted: int, free_mib: int) -> bool:
    """Whether Ollama would load what it reckons to take `predicted` bytes where `free_mib` are free."""
    return 100 * predicted <= USED_PERCENT * free_mib * MIB


def _batch(context_tokens: int, predicted: int, free: int) -> int:
    for above, batch, most_percent, surcharge_mib in _BATCHES:
        room = USED_PERCENT * free // 100 - predicted
        if context_tokens > above and 100 * predicted <= most_percent * free and surcharge_mib * MIB <= room:
            return batch
    return _SMALLEST_BATCH
