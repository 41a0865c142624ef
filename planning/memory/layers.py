"""A model taken apart: which matrices each of its layers has, and what each of them keeps of what it has read."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property, lru_cache

from settings.architecture import Architecture, LatentAttention, LinearAttention


class Part(StrEnum):
    """What a matrix is for: on it depends how it is quantized, and how it is divided over GPUs."""

    QUERY = "query"
    KEY = "key"
    VALUE = "value"
    ATTENTION_OUTPUT = "attention output"
    LATENT_DOWN = "latent down"
    """MLA's projections to the latent vectors; every GPU has them whole."""

    LATENT_UP = "latent up"
    LINEAR_INPUT = "linear input"
    LINEAR_OUTPUT = "linear output"
    CONVOLUTION = "convolution"
    GATE = "gate"
    UP = "up"
    DOWN = "down"
    ROUTER = "router"


class Attention(StrEnum):
    """What a layer keeps of what it has read."""

    FULL = "full"
    WINDOW = "window"
    LATENT = "latent"
    LINEAR = "linear"
    ENCODER = "encoder"


@dataclass(frozen=True, slots=True)
class Matrix:
    """`copies` matrices of `inputs` columns and `outputs` rows; more than one where each expert has its own."""

    part: Part
    inputs: int
    outputs: int
    copies: int = 1
    expert: bool = False

    @property
    def elements(self) -> int:
        """Numbers in all copies together."""
        return self.inputs * self.outputs * self.copies


@dataclass(frozen=True, eq=False)
class Layer:
    """One kind of layer; of one kind there is one in a model, so that its identity says which."""

    attention: Attention
    matrices: tuple[Matrix, ...]
    kv_heads: int
    head_dim: int
    """Heads of keys and values in the cache; both 0 where the layer keeps none."""

    @cached_property
    def elements(self) -> int:
        """Numbers in all its matrices."""
        return sum(matrix.elements for matrix in self.matrices)


@lru_cache(maxsize=4096)
def layers_of(shape: Architecture) -> tuple[Layer, ...]:
    """The layers of a model, first to last.

    Dense layers of a mixture of experts come first (first_k_dense_replace). The catalogue knows how many layers have
    a window or linear attention, not which: those that see everything are spread evenly and close each group, as in
    Gemma (5 of 6), Qwen3-Next (3 of 4) and gpt-oss (1 of 2).
    """
    whole = shape.layers - (shape.sliding_window.layers if shape.sliding_window else shape.layers_without_kv_cache)
    made: dict[tuple[bool, bool], Layer] = {}
    found = []
    dense = shape.experts.dense_layers if shape.experts else shape.layers
    for index in range(shape.layers):
        kind = ((index + 1) * whole // shape.layers > index * whole // shape.layers, index < dense)
        if kind not in made:
            made[kind] = _layer(shape, sees_everything=kind[0], dense=kind[1])
        found.append(made[kind])
    return tuple(found)


def _layer(shape: Architecture, *, sees_everything: bool, dense: bool) -> Layer:
    feed_forward = _feed_forward(shape, dense=dense)
    if shape.latent_attention is not None:
        return Layer(Attention.LATENT, _latent(shape, shape.latent_attention) + feed_forward, 0, 0)
    heads, size, keys_are_values, attention = shape.kv_heads, shape.head_dim, False, Attention.FULL
    if not sees_everything:
        if shape.linear_attention is not None:
            return Layer(Attention.LINEAR, _linear(shape, shape.linear_attention) + feed_forward, 0, 0)
        attention = Attention.WINDOW if shape.sliding_window else Attention.ENCODER
    elif shape.global_attention is not None and shape.sliding_window is not None:
        other = shape.global_attention
        heads, size, keys_are_values = other.kv_heads, other.head_dim, other.keys_are_values
    queries = shape.attention_heads * size
    matrices = (
        Matrix(Part.QUERY, shape.hidden_size, queries * (2 if shape.gated_attention else 1)),
        Matrix(Part.KEY, shape.hidden_size, heads * size),
        *(() if keys_are_values else (Matrix(Part.VALUE, shape.hidden_size, heads * size),)),
        Matrix(Part.ATTENTION_OUTPUT, queries, shape.hidden_size),
    )
    keeps = attention is not Attention.ENCODER
    return Layer(attention, matrices + feed_forward, heads if keeps else 0, size if keeps else 0)


def _latent(shape: Architecture, latent: LatentAttention) -> tuple[Matrix, ...]:
    hidden, heads, rank = shape.hidden_size, shape.attention_heads, latent.q_lora_rank
    query = heads * (latent.qk_nope_head_dim + latent.qk_rope_head_dim)
    queries = (
        (Matrix(Part.QUERY, hidden, query),)
        if rank is None
        else (Matrix(Part.LATENT_DOWN, hidden, rank), Matrix(Part.LATENT_UP, rank, query))
    )
    return (
        *queries,
        Matrix(Part.LATENT_DOWN, hidden, latent.kv_lora_rank + latent.qk_rope_head_dim),
        Matrix(Part.LATENT_UP, latent.kv_lora_rank, heads * (latent.qk_nope_head_dim + latent.v_head_dim)),
        Matrix(Part.ATTENTION_OUTPUT, heads * latent.v_head_dim, hidden),
    )


def _linear(shape: Architecture, linear: LinearAttention) -> tuple[Matrix, ...]:
    keys, values = linear.key_heads * linear.key_head_dim, linear.value_heads * linear.value_head_dim
    return (
        Matrix(Part.LINEAR_INPUT, shape.hidden_size, 2 * keys + 2 * values + 2 * linear.value_heads),
        Matrix(Part.CONVOLUTION, linear.convolution_tokens, 2 * keys + values),
        Matrix(Part.LINEAR_OUTPUT, values, shape.hidden_size),
    )


def _feed_forward(shape: Architecture, *, dense: bool) -> tuple[Matrix, ...]:
    if shape.experts is None or dense:
        return _mlp(shape, shape.intermediate_size, copies=1, expert=False)
    experts = shape.experts
    return (
        Matrix(Part.ROUTER, shape.hidden_size, experts.count),
        *_mlp(shape, experts.intermediate_size, copies=experts.count, expert=True),
        *(_mlp(shape, experts.intermediate_size, copies=experts.shared, expert=False) if experts.shared else ()),
    )


def _mlp(shape: Architecture, width: int, *, copies: int, expert: bool) -> tuple[Matrix, ...]:
    return (
        *((Matrix(Part.GATE, shape.hidden_size, width, copies, expert),) if shape.gated_mlp else ()),
        Matrix(Part.UP, shape.hidden_size, width, copies, expert),
        Matrix(Part.DOWN, width, shape.hidden_size, copies, expert),
    )
