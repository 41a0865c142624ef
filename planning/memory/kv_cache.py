"""Keys and values that a model keeps of what it has read."""

from __future__ import annotations

from planning.catalogue import LanguageModel

_KV_BYTES_PER_ELEMENT = 2
"""16-bit keys and values."""


def kv_cache_bytes_per_token(model: LanguageModel) -> int:
    """Bytes of keys and values that one token takes in all layers together, as if none looked back over a window.

    0 for an encoder, which keeps nothing.
    """
    shape = model.architecture
    elements = 2 * shape.kv_heads * shape.head_dim
    if shape.latent_attention is not None:
        elements = shape.latent_attention.kv_lora_rank + shape.latent_attention.qk_rope_head_dim
    return (shape.layers - shape.layers_without_kv_cache) * elements * _KV_BYTES_PER_ELEMENT
