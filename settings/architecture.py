"""What memory and speed of a language model follow from: its shape, and the parameters that the shape makes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.base import StrictModel
from settings.quantization import Quantization

Count = Annotated[int, Field(ge=1, le=10**15)]
CountOrNone = Annotated[int, Field(ge=0, le=10**15)]


class SlidingWindow(StrictModel):
    """Layers that look back, and keep keys and values, for `tokens` tokens only; the others see everything."""

    tokens: Count = Field(description="Tokens that these layers look back (sliding_window).")
    layers: Count = Field(description="How many layers do so.")


class GlobalAttention(StrictModel):
    """Heads of the layers that see everything, where they are others than those of the layers with a window (Gemma 4).

    Count keys and values both in the cache, whatever `keys_are_values` says: it is of the matrices.
    """

    kv_heads: Count = Field(description="Heads that keys and values are kept for, in these layers.")
    head_dim: Count = Field(description="Size of a head, in these layers.")
    keys_are_values: bool = Field(default=False, description="Whether one matrix makes both (attention_k_eq_v).")


class LatentAttention(StrictModel):
    """Multi-head latent attention (MLA) of DeepSeek-V2: the cache holds `kv_lora_rank + qk_rope_head_dim` elements a
    token and layer, one for all heads, in place of keys and values (arXiv 2405.04434).
    """

    kv_lora_rank: Count = Field(description="Size of the latent vector of keys and values (kv_lora_rank).")
    qk_rope_head_dim: Count = Field(description="Part of a key with positions (qk_rope_head_dim).")
    qk_nope_head_dim: Count = Field(description="Part of a key without positions (qk_nope_head_dim).")
    v_head_dim: Count = Field(description="Size of a value (v_head_dim).")
    q_lora_rank: Count | None = Field(
        default=None, description="Size of compressed queries; none where they are not compressed (DeepSeek-V2-Lite)."
    )


class LinearAttention(StrictModel):
    """Gated DeltaNet, as in Qwen3-Next and Qwen3.5: a state of one size for each sequence, whatever its length."""

    key_heads: Count = Field(description="Heads of keys (linear_num_key_heads).")
    value_heads: Count = Field(description="Heads of values (linear_num_value_heads).")
    key_head_dim: Count = Field(description="Size of a key (linear_key_head_dim).")
    value_head_dim: Count = Field(description="Size of a value (linear_value_head_dim).")
    convolution_tokens: Count = Field(description="Width of the causal convolution before it (linear_conv_kernel_dim).")

    @property
    def state_elements(self) -> int:
        """Numbers that one layer keeps for one sequence: the recurrent state and the convolution's last inputs."""
        recurrent = self.value_heads * self.key_head_dim * self.value_head_dim
        return recurrent + self._mixed * (self.convolution_tokens - 1)

    @property
    def _mixed(self) -> int:
        return 2 * self.key_heads * self.key_head_dim + self.value_heads * self.value_head_dim


class Experts(StrictModel):
    """A mixture of experts: each token goes through `active` of `count` experts, and through all `shared` ones."""

    count: Count = Field(description="Experts of a layer.")
    active: Count = Field(description="Experts that a token goes through.")
    intermediate_size: Count = Field(description="Width of one expert (moe_intermediate_size).")
    shared: CountOrNone = Field(
        default=0, description="Experts that every token goes through, of the same size as the others."
    )
    dense_layers: CountOrNone = Field(
        default=0, description="Layers with an ordinary feed-forward network of the model's intermediateSize instead."
    )


class Architecture(StrictModel):
    """The shape of a transformer, as its config.json or the header of its GGUF file says it."""

    layers: Count = Field(description="Layers (num_hidden_layers).")
    hidden_size: Count = Field(description="Width of the model (hidden_size).")
    intermediate_size: CountOrNone = Field(
        description="Width of the feed-forward network of dense layers; 0 where every layer has experts."
    )
    attention_heads: Count = Field(description="Heads of attention (num_attention_heads).")
    kv_heads: Count = Field(
        description="Heads that keys and values are kept for (num_key_value_heads); without grouped-query attention "
        "equal to attentionHeads."
    )
    head_dim: Count = Field(description="Size of a head (head_dim).")
    vocabulary_size: Count = Field(
        description="Rows of the embedding, with padding: what memory holds rather than what the tokenizer knows."
    )
    context_tokens: Count = Field(
        description="Longest sequence that it was made for (max_position_embeddings, with RoPE scaling where the file "
        "has it), in tokens."
    )
    parameters: Count = Field(
        description="All parameters of the published weights, vision towers and prediction heads included."
    )
    tied_embeddings: bool = Field(
        default=False, description="Whether the output layer is the embedding itself (tie_word_embeddings)."
    )
    gated_mlp: bool = Field(
        default=True, description="Three matrices a feed-forward network (SwiGLU, GeGLU) rather than two."
    )
    gated_attention: bool = Field(
        default=False, description="Whether queries come with a gate of the same size (Qwen3-Next, Qwen3.5)."
    )
    learned_positions: CountOrNone = Field(
        default=0, description="Rows of a table of positions; 0 with rotary embeddings."
    )
    sliding_window: SlidingWindow | None = Field(
        default=None, description="Layers that look back for some tokens only; none by default."
    )
    global_attention: GlobalAttention | None = Field(
        default=None, description="Heads of the layers without a window, where they differ."
    )
    latent_attention: LatentAttention | None = Field(
        default=None, description="Multi-head latent attention (DeepSeek); none by default."
    )
    linear_attention: LinearAttention | None = Field(
        default=None, description="What the layers without a KV cache are, where they are no encoder's."
    )
    layers_without_kv_cache: CountOrNone = Field(
        default=0,
        description="Linear attention and state-space layers of hybrids; all layers of an encoder, which generates "
        "nothing.",
    )
    experts: Experts | None = Field(default=None, description="A mixture of experts; none by default.")
    other_parameters: CountOrNone = Field(
        default=0,
        description="Of the parameters, those outside the language model proper: vision tower and its projector, "
        "prediction heads. They stay in 16 bits when the rest is quantized.",
    )

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


class ModelFacts(Architecture):
    """A model that the catalogue does not know, by the facts that its own files say (`llmctl catalogue add`)."""

    quantization: Quantization = Field(
        default=Quantization.BF16, description="How the checkpoint's weights are stored."
    )
    files_gb: Annotated[float, Field(gt=0, le=10**5)] | None = Field(
        default=None,
        alias="filesGB",
        description="Size of the weight files in GB (10^9 bytes); by default from parameters and bits.",
    )
