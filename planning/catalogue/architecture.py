"""What memory and speed of a language model follow from: its shape, and the parameters that the shape makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

CAMEL_CASE = ConfigDict(alias_generator=to_camel, extra="forbid")
"""How YAML is read into these dataclasses: keys in camelCase, and none unknown."""


@dataclass(frozen=True, kw_only=True)
class SlidingWindow:
    """Layers that look back, and keep keys and values, for `tokens` tokens only; the others see everything."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL_CASE

    tokens: int
    layers: int


@dataclass(frozen=True, kw_only=True)
class GlobalAttention:
    """Heads of the layers that see everything, where they are others than those of the layers with a window (Gemma 4).

    Count keys and values both in the cache, whatever `keys_are_values` says: it is of the matrices.
    """

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL_CASE

    kv_heads: int
    head_dim: int
    keys_are_values: bool = False
    """Whether one matrix makes both (`attention_k_eq_v`)."""


@dataclass(frozen=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention (MLA) of DeepSeek-V2: the cache holds `kv_lora_rank + qk_rope_head_dim` elements a
    token and layer, one for all heads, in place of keys and values (arXiv 2405.04434).
    """

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL_CASE

    kv_lora_rank: int
    qk_rope_head_dim: int
    qk_nope_head_dim: int
    v_head_dim: int
    q_lora_rank: int | None = None
    """None where queries are not compressed (DeepSeek-V2-Lite)."""


@dataclass(frozen=True, kw_only=True)
class LinearAttention:
    """Gated DeltaNet, as in Qwen3-Next and Qwen3.5: a state of one size for each sequence, whatever its length."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL_CASE

    key_heads: int
    value_heads: int
    key_head_dim: int
    value_head_dim: int
    convolution_tokens: int
    """Width of the causal convolution before it (`linear_conv_kernel_dim`)."""

    @property
    def state_elements(self) -> int:
        """Numbers that one layer keeps for one sequence: the recurrent state and the convolution's last inputs."""
        recurrent = self.value_heads * self.key_head_dim * self.value_head_dim
        return recurrent + self._mixed * (self.convolution_tokens - 1)

    @property
    def _mixed(self) -> int:
        return 2 * self.key_heads * self.key_head_dim + self.value_heads * self.value_head_dim


@dataclass(frozen=True, kw_only=True)
class Experts:
    """A mixture of experts: each token goes through `active` of `count` experts, and through all `shared` ones."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL_CASE

    count: int
    active: int
    intermediate_size: int
    """Of one expert."""

    shared: int = 0
    """Experts that every token goes through, of the same size as the others."""

    dense_layers: int = 0
    """Layers with an ordinary feed-forward network of `Architecture.intermediate_size` instead."""


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """The shape of a transformer, as its config.json or the header of its GGUF file says it."""

    __pydantic_config__: ClassVar[ConfigDict] = CAMEL_CASE

    layers: int
    hidden_size: int
    intermediate_size: int
    """Of the feed-forward network of dense layers; 0 where every layer has experts."""

    attention_heads: int
    kv_heads: int
    """Heads that keys and values are kept for; equal to `attention_heads` without grouped-query attention."""

    head_dim: int
    vocabulary_size: int
    """Rows of the embedding, including padding: what memory holds rather than what the tokenizer knows."""

    context_tokens: int
    """Longest sequence that it was made for (`max_position_embeddings`, with RoPE scaling where the file has it)."""

    parameters: int
    """All parameters of the published weights, vision towers and prediction heads included."""

    tied_embeddings: bool = False
    """Whether the output layer is the embedding itself."""

    gated_mlp: bool = True
    """Three matrices a feed-forward network (SwiGLU, GeGLU) rather than two."""

    gated_attention: bool = False
    """Whether queries come with a gate of the same size (Qwen3-Next, Qwen3.5)."""

    learned_positions: int = 0
    """Rows of a table of positions; 0 with rotary embeddings."""

    sliding_window: SlidingWindow | None = None
    global_attention: GlobalAttention | None = None
    """Beside a sliding window alone."""

    latent_attention: LatentAttention | None = None
    linear_attention: LinearAttention | None = None
    """What the layers without a KV cache are, where they are not encoder layers."""

    layers_without_kv_cache: int = 0
    """Linear attention and state-space layers of hybrids; all layers of an encoder, which generates nothing."""

    experts: Experts | None = None
    other_parameters: int = 0
    """Of `parameters`, those outside the language model proper: vision tower and its projector, prediction heads. They
    stay in 16 bits when the rest is quantized.
    """

    @property
    def active_parameters(self) -> int:
        """Parameters that one token goes through, from which the speed of decoding follows."""
        if self.experts is None:
            return self.parameters
        idle = self.experts.count - self.experts.active
        layers = self.layers - self.experts.dense_layers
        return self.parameters - self.other_parameters - layers * idle * self._mlp(self.experts.intermediate_size)

    @property
    def embedding_parameters(self) -> int:
        """The embedding, and the output layer where it is another."""
        return self.vocabulary_size * self.hidden_size * (1 if self.tied_embeddings else 2)

    @property
    def derived_parameters(self) -> int:
        """Parameters that follow from the shape: matrices alone, as norms and biases are below a thousandth."""
        linear = self.layers_without_kv_cache if self.linear_attention else 0
        return (
            self.embedding_parameters
            + self.learned_positions * self.hidden_size
            + (self.layers - linear) * self._attention()
            + self._global_attention()
            + linear * self._linear_attention()
            + self._feed_forward()
        )

    def _attention(self) -> int:
        """Matrices of one attention layer: queries, keys, values, output."""
        if (latent := self.latent_attention) is None:
            queries = self.attention_heads * self.head_dim
            return self.hidden_size * (queries * (3 if self.gated_attention else 2) + 2 * self.kv_heads * self.head_dim)
        query = self.attention_heads * (latent.qk_nope_head_dim + latent.qk_rope_head_dim)
        rank = latent.q_lora_rank
        return (
            (self.hidden_size * query if rank is None else rank * (self.hidden_size + query))
            + self.hidden_size * (latent.kv_lora_rank + latent.qk_rope_head_dim)
            + latent.kv_lora_rank * self.attention_heads * (latent.qk_nope_head_dim + latent.v_head_dim)
            + self.attention_heads * latent.v_head_dim * self.hidden_size
        )

    def _global_attention(self) -> int:
        """What the layers that see everything have more than those with a window."""
        if (other := self.global_attention) is None or self.sliding_window is None:
            return 0
        keys = other.kv_heads * other.head_dim * (1 if other.keys_are_values else 2)
        each = self.hidden_size * (2 * self.attention_heads * other.head_dim + keys)
        return (self.layers - self.sliding_window.layers) * (each - self._attention())

    def _linear_attention(self) -> int:
        """Matrices of one linear layer: queries, keys, values and gate; two scalars a head; convolution; output."""
        if (linear := self.linear_attention) is None:
            return 0
        keys, values = linear.key_heads * linear.key_head_dim, linear.value_heads * linear.value_head_dim
        inputs = 2 * keys + 2 * values + 2 * linear.value_heads
        return self.hidden_size * (inputs + values) + (2 * keys + values) * linear.convolution_tokens

    def _feed_forward(self) -> int:
        """Feed-forward networks of all layers, with experts and their routers."""
        if (experts := self.experts) is None:
            return self.layers * self._mlp(self.intermediate_size)
        each = (experts.count + experts.shared) * self._mlp(experts.intermediate_size)
        router = experts.count * self.hidden_size
        dense = experts.dense_layers * self._mlp(self.intermediate_size)
        return dense + (self.layers - experts.dense_layers) * (each + router)

    def _mlp(self, intermediate_size: int) -> int:
        return (3 if self.gated_mlp else 2) * self.hidden_size * intermediate_size
