"""Blocks of vLLM's KV cache (vllm/v1/core/kv_cache_planning.py and kv_cache_interface.py of 0.33.0).

Layers that keep the same of a token are a bucket. Buckets are cut into groups of equally many layers; each group has
a block table of its own, and all draw from one pool, whose block has room for one group. A request needs blocks for
each group: for all its tokens where layers see everything, for a window and what is being computed where they do not,
and a fixed number where they keep a state.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from planning.memory.layers import Attention, Layer, layers_of
from settings.architecture import Architecture

_BLOCK_TOKENS = 16
"""Tokens of a block, unless layers with a state want larger ones (cache.py)."""

_STATE_BLOCKS = 2
"""Blocks of a layer with a state for each request: the present and the one before, as prefix caching is on
(mamba_cache_mode "align")."""

_CONVOLUTION_BYTES, _RECURRENT_BYTES = 2, 4
"""The convolution's inputs are kept in the model's type, the recurrent state in 32 bits (mamba_ssm_dtype of the
models with Gated DeltaNet)."""


@dataclass(frozen=True, kw_only=True)
class _Groups:
    """Equal groups of one bucket's layers."""

    count: int
    kind: Attention
    block_tokens: int


@dataclass(frozen=True, kw_only=True)
class KvCache:
    """How the cache of one GPU is divided."""

    block_bytes: int
    groups: tuple[_Groups, ...]
    window_tokens: int

    def blocks_per_request(self, tokens: int, *, in_flight_tokens: int) -> int:
        """Blocks for a request of `tokens`, where so many tokens may be computed before a window moves on."""
        total = 0
        for group in self.groups:
            if group.kind is Attention.LINEAR:
                total += group.count * _STATE_BLOCKS
            elif group.kind is Attention.WINDOW:
                held = min(self.window_tokens - 1 + in_flight_tokens, tokens)
                total += group.count * (-(-held // group.block_tokens) + 1)
            else:
                total += group.count * -(-tokens // group.block_tokens)
        return total

    @property
    def largest_block_tokens(self) -> int:
        """Tokens of the largest block of a layer that sees everything."""
        return max((group.block_tokens for group in self.groups), default=_BLOCK_TOKENS)


def kv_cache(
    shape: Architecture,
    stage: tuple[int, int],
    *,
    tensor_parallel: int,
    bits: float,
    draft: Architecture | None = None,
) -> KvCache | None:
    """The cache of a GPU with layers `stage` of a model, and with all of a draft model's; None where nothing is kept.

    Args:
        bits: of one element of keys and values.
    """
    buckets: dict[Layer, int] = {}
    for layer, count in Counter(layers_of(shape)).items():
        if layer.attention is not Attention.ENCODER:
            same = next((other for other in buckets if _keep_the_same(other, layer)), layer)
            buckets[same] = buckets.get(same, 0) + count
    if not buckets:
        return None
    token_bytes = {layer: _token_bytes(layer, shape, tensor_parallel, bits) for layer in buckets}
    block_tokens, page = _page(shape, token_bytes, tensor_parallel)
    size = _group_size(list(buckets.values()))
    here = stage[1] - stage[0]
    # The layers of a group are spread over the stages as evenly as all layers are.
    in_stage = -(-size * here // shape.layers) if here < shape.layers else size
    draft_bytes = 0 if draft is None else _draft_bytes(draft, tensor_parallel, bits) * min(block_tokens.values())
    return KvCache(
        block_bytes=round(in_stage * page + draft_bytes),
        groups=tuple(
            _Groups(count=-(-count // size), kind=layer.attention, block_tokens=block_tokens[layer])
            for layer, count in buckets.items()
        ),
        window_tokens=shape.sliding_window.tokens if shape.sliding_window else 0,
    )


def _keep_the_same(one: Layer, other: Layer) -> bool:
    return (one.attention, one.kv_heads, one.head_dim) == (other.attention, other.kv_heads, other.head_dim)


def _token_bytes(layer: Layer, shape: Architecture, tensor_parallel: int, bits: float) -> float:
    """What one layer keeps of one token on one GPU; 0 for a state, which does not grow."""
    if layer.attention is Attention.LINEAR:
        return 0
    if layer.attention is Attention.LATENT and shape.latent_attention is not None:
        # Every head's, so each GPU has all of it.
        return (shape.latent_attention.kv_lora_rank + shape.latent_attention.qk_rope_head_dim) * bits / 8
    return 2 * -(-layer.kv_heads // tensor_parallel) * layer.head_dim * bits / 8


def _page(shape: Architecture, token_bytes: dict[Layer, float], tensor_parallel: int) -> tuple[dict[Layer, int], float]:
    """Tokens of a block of each bucket, and bytes of a block in one layer, which are the same for all."""
    base = _BLOCK_TOKENS
    largest = max(token_bytes.values())
    state = _state_bytes(shape, tensor_parallel)
    if state and largest:
        # A block of a layer that sees everything has to have room for a state (Platform.update_block_size...).
        base *= max(1, -(-state // (_BLOCK_TOKENS * largest)).__ceil__())
    page = max(base * largest, state)
    # Where layers keep less of a token, their blocks have more tokens; where that comes out uneven, they are padded.
    return {
        layer: base * (int(largest / each) if each and largest % each == 0 else 1)
        for layer, each in token_bytes.items()
    }, page


def _state_bytes(shape: Architecture, tensor_parallel: int) -> float:
    """State of one layer of linear attention on one GPU."""
    if (linear := shape.linear_attention) is None:
        return 0
    recurrent = linear.value_heads * linear.key_head_dim * linear.value_head_dim
    convolution = linear.state_elements - recurrent
    return (recurrent * _RECURRENT_BYTES + convolution * _CONVOLUTION_BYTES) / tensor_parallel


def _group_size(counts: list[int]) -> int:
    """Layers of a group (_get_kv_cache_groups_uniform_page_size)."""
    fewest, most = min(counts), max(counts)
    return most if most < 1.5 * fewest else fewest


def _draft_bytes(draft: Architecture, tensor_parallel: int, bits: float) -> float:
    return sum(
        count * _token_bytes(layer, draft, tensor_parallel, bits)
        for layer, count in Counter(layers_of(draft)).items()
        if layer.attention is not Attention.ENCODER
    )
