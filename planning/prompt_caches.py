"""Host memory in which llama-server, alone or inside Ollama, keeps what it has read, so as not to read it again."""

from __future__ import annotations

from dataclasses import replace

from planning.catalogue import LanguageModel
from planning.memory import LlamaCppLoad
from planning.memory.layers import Attention, layers_of
from planning.memory.llama_cpp import cache_bytes

_OWN_CHECKPOINTS = 32
"""llama-server's own --ctx-checkpoints."""

_UNKNOWN_CHECKPOINTS = 4
"""Of a model that nothing is known of: as many as the largest ones have room for."""


def checkpoints(model: LanguageModel | None, load: LlamaCppLoad, *, budget_bytes: int) -> int:
    """How many checkpoints each request may keep, so that those of all take no more than `budget_bytes`.

    One at least, without which a conversation could be read from its beginning at every turn; none without a budget.
    """
    if not budget_bytes:
        return 0
    if model is None:
        return _UNKNOWN_CHECKPOINTS
    size = _checkpoint_bytes(model, load) * load.sequences
    return max(1, min(_OWN_CHECKPOINTS, budget_bytes // size)) if size else _OWN_CHECKPOINTS


def prompt_bytes(model: LanguageModel | None, load: LlamaCppLoad, *, checkpoints: int, budget_bytes: int) -> int:
    """Host memory of one process: caches of earlier prompts, and checkpoints of each request.

    A prompt that is larger than `budget_bytes` is not kept, so that this is the most.
    """
    if model is None:
        return 2 * budget_bytes
    if model.is_embedding:
        return 0  # both are of completions alone
    return budget_bytes + checkpoints * load.sequences * _checkpoint_bytes(model, load)


def _checkpoint_bytes(model: LanguageModel, load: LlamaCppLoad) -> int:
    """What one checkpoint holds of one request: what layers with a window or a state still know at that point.

    They forget, so that a conversation which goes on from an earlier point could not be taken up without it
    (server-context.cpp, create_checkpoint). 0 where no layer forgets: then llama-server makes none.
    """
    tokens = load.context_tokens // load.sequences
    one = replace(load, sequences=1, context_tokens=tokens)
    forgetful = {Attention.LINEAR} if load.full_window_cache else {Attention.LINEAR, Attention.WINDOW}
    return sum(
        cache_bytes(layer, model.architecture, one, tokens)
        for layer in layers_of(model.architecture)
        if layer.attention in forgetful
    )
