"""Host memory in which llama-server, alone or inside Ollama, keeps what it has read, so as not to read it again."""

from __future__ import annotations

from dataclasses import replace

from planning.catalogue import LanguageModel
from planning.memory import LlamaCppLoad
from planning.memory.layers import Attention, layers_of
from planning.memory.llama_cpp import cache_bytes

_OWN_CHECKPOINTS = 32
"""llama-server's own --ctx-checkpoints."""


def checkpoint_bytes(model: LanguageModel, load: LlamaCppLoad) -> int:
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


def fitting_checkpoints(size: int, *, sequences: int, budget_bytes: int) -> int:
    """How many checkpoints of `size` bytes each of `sequences` requests may keep within `budget_bytes` of all.

    One at least, without which a conversation could be read from its beginning at every turn; none without a budget.
    """
    if not budget_bytes:
        return 0
    return max(1, min(_OWN_CHECKPOINTS, budget_bytes // (size * sequences))) if size else _OWN_CHECKPOINTS
