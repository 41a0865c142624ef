"""An architecture from a config.json of Hugging Face: what its keys mean in each family of models. No I/O.

Keys that a file leaves out have the defaults of transformers' configuration class for its `model_type`. Parameters
are counted from the shape; where the files say how many there are, the two must agree, so a family that is not known
here is told rather than misread.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from settings.architecture import (
    Architecture,
    Experts,
    GlobalAttention,
    LatentAttention,
    LinearAttention,
    SlidingWindow,
)

Config = Mapping[str, Any]

_ENCODERS = {"bert", "xlm-roberta", "nomic_bert"}
_GATED_ATTENTION = {"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"}
_COUNTED_ALIKE = {
    *("llama", "mistral", "mixtral", "ministral3", "qwen2", "qwen3", "qwen3_moe", "phi3", "gemma2", "gemma3_text"),
    "gemma4_text",
    *("qwen3_vl_text", "qwen3_vl_moe_text", "minimax_m2", "mimo"),
    *("deepseek_v2", "deepseek_v3", "kimi_k2", "exaone", "exaone4", "gpt_oss", "glm4_moe", "llama4_text"),
    *_ENCODERS,
    *_GATED_ATTENTION,
}
"""Families whose parameters are counted by their shape as `Architecture.derived_parameters` does."""

_DEFAULTS: dict[str, dict[str, Any]] = {
    "gemma2": {"tie_word_embeddings": True, "sliding_window": 4096, "sliding_window_pattern": 2},
    "gemma3_text": {
        "tie_word_embeddings": True,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "vocab_size": 262208,
        "max_position_embeddings": 131072,
        "sliding_window": 4096,
        "sliding_window_pattern": 6,
    },
    "gemma4_text": {"tie_word_embeddings": True},
    "bert": {"tie_word_embeddings": True},
    "xlm-roberta": {"tie_word_embeddings": True},
    "nomic_bert": {"tie_word_embeddings": True},
    "qwen3_next": {"full_attention_interval": 4},
    "qwen3_5_text": {"full_attention_interval": 4},
    "qwen3_5_moe_text": {"full_attention_interval": 4},
    "llama4_text": {"attention_chunk_size": 8192, "interleave_moe_layer_step": 1},
    "gpt_oss": {"sliding_window": 128, "sliding_window_pattern": 2},
}
_TEXT_OF = {
    "gemma3": "gemma3_text",
    "gemma4": "gemma4_text",
    "mistral3": "ministral3",
    "llama4": "llama4_text",
    "qwen3_5": "qwen3_5_text",
}
"""The text model of a family with images, where the inner configuration does not name it."""

_TOLERANCE = 0.01
_MOST_VISION = 0.4
"""A vision tower larger than this share of a model is more likely a shape that was misread."""

_MOST_PREDICTION = 0.03
"""Heads for multi-token prediction are at most so much of a model: 2.6% of Qwen3.5-4B, 2% of DeepSeek-V3."""


class ConfigError(ValueError):
    """A configuration from which no architecture follows; the message says which key, or which sum, is wrong."""


def architecture_of_config(config: Config, *, parameters: int | None = None) -> Architecture:
    """The architecture that a config.json describes.

    Args:
        config: the file's content.
        parameters: how many the weight files hold, without heads for multi-token prediction; None where they are
            quantized, or were not read.

    Raises:
        ConfigError: keys are missing, or the shape does not make `parameters`.
    """
    inner = config.get("text_config") or {}
    outer = str(config.get("model_type", ""))
    family = str(inner.get("model_type") or _TEXT_OF.get(outer, outer))
    text = {**_DEFAULTS.get(family, {}), **_stated(config), **_stated(inner)}
    shape = _shape(text, family)
    if parameters is None and family not in _COUNTED_ALIKE:
        raise ConfigError(
            f"model_type: {family or 'none'!r} is not known here, and without weight files that are not quantized "
            "nothing confirms what its keys seem to say. Give the folder or the repository of the unquantized model."
        )
    has_vision = any(key in config for key in ("vision_config", "audio_config"))
    return shape_confirmed(shape, parameters, vision=has_vision, known=family in _COUNTED_ALIKE)


def shape_confirmed(shape: Architecture, parameters: int | None, *, vision: bool, known: bool) -> Architecture:
    """`shape` with the parameters that its files hold, which must be those that it makes.

    Args:
        parameters: None where they cannot be known: then those that the shape makes.
        vision: whether there is a vision or audio tower, of any size within reason.
        known: whether the family is one whose files have nothing beyond the shape but heads for multi-token prediction.

    Raises:
        ConfigError: the shape makes others, so that something in it was misread.
    """
    counted = shape.derived_parameters
    if parameters is None:
        return shape.model_copy(update={"parameters": counted})
    other = parameters - counted
    if vision and 0 <= other <= parameters * _MOST_VISION:
        return shape.model_copy(update={"parameters": parameters, "other_parameters": other})
    if abs(other) <= parameters * _TOLERANCE:
        return shape.model_copy(update={"parameters": parameters})
    twice = shape.tied_embeddings and abs(other - shape.embedding_parameters) <= parameters * _TOLERANCE
    if twice or (known and 0 < other <= parameters * _MOST_PREDICTION):
        return shape.model_copy(update={"parameters": counted})
    raise ConfigError(
        f"its keys make {counted:,} parameters and its files hold {parameters:,}, so something in its shape is not "
        "understood here, and memory would be told wrongly. Write the architecture by hand."
    )


def _shape(text: Config, family: str) -> Architecture:
    """Everything but the number of parameters."""
    wanted = {
        "layers": ("num_hidden_layers", "num_layers", "n_layer"),
        "hidden": ("hidden_size", "n_embd"),
        "heads": ("num_attention_heads", "n_head"),
        "vocabulary": ("vocab_size",),
        "context": ("n_positions", "max_position_embeddings")
        if family == "nomic_bert"
        else ("max_position_embeddings",),
    }
    found = {what: first_stated(text, *keys) for what, keys in wanted.items()}
    if missing := [wanted[what][0] for what, value in found.items() if not isinstance(value, int)]:
        raise ConfigError(f"{', '.join(missing)}: missing, and without them a model's memory is not known.")
    if text.get("hidden_size_per_layer_input"):
        raise ConfigError("hidden_size_per_layer_input: embeddings of every layer's own are not counted here.")
    layers, heads = int(found["layers"]), int(found["heads"])
    learned = int(text["max_position_embeddings"]) if family in {"bert", "xlm-roberta"} else 0
    experts = _experts(text, layers, family)
    linear = _linear_attention(text)
    latent = _latent_attention(text)
    head_dim = first_stated(text, "head_dim") or int(found["hidden"]) // heads
    return Architecture(
        layers=layers,
        hidden_size=int(found["hidden"]),
        intermediate_size=int(first_stated(text, "intermediate_size_mlp", "intermediate_size", "n_inner") or 0),
        attention_heads=heads,
        kv_heads=int(first_stated(text, "num_key_value_heads") or heads),
        head_dim=latent.qk_nope_head_dim + latent.qk_rope_head_dim if latent else int(head_dim),
        vocabulary_size=int(found["vocabulary"]),
        # RoBERTa's positions begin after the padding's.
        context_tokens=int(found["context"]) - (2 if family == "xlm-roberta" else 0),
        parameters=1,  # counted by whoever is asked to confirm the shape
        tied_embeddings=bool(text.get("tie_word_embeddings", False)),
        gated_mlp=family not in {"bert", "xlm-roberta"},
        gated_attention=bool(text.get("attn_output_gate", family in _GATED_ATTENTION)),
        learned_positions=learned,
        sliding_window=_sliding_window(text, layers, family),
        global_attention=_global_attention(text),
        latent_attention=latent,
        linear_attention=linear,
        layers_without_kv_cache=layers if family in _ENCODERS else _linear_layers(text, layers) if linear else 0,
        experts=experts,
    )


def _experts(text: Config, layers: int, family: str) -> Experts | None:
    count = first_stated(text, "num_experts", "num_local_experts", "n_routed_experts")
    if not count:
        return None
    active = first_stated(text, "num_experts_per_tok", "top_k_experts", "experts_per_token")
    size = first_stated(text, "moe_intermediate_size", "intermediate_size")
    if not active or not size:
        raise ConfigError("num_experts_per_tok, moe_intermediate_size: missing beside experts.")
    shared = first_stated(text, "n_shared_experts") or int(text.get("shared_expert_intermediate_size") or 0) // int(
        size
    )
    if family == "gemma4_text":  # its dense network runs beside the experts, in every layer
        shared = int(text["intermediate_size"]) // int(size)
    frequency = text.get("moe_layer_freq")
    if isinstance(frequency, list):
        dense = frequency.count(0)
    else:
        dense = int(text.get("first_k_dense_replace") or 0) or len(text.get("mlp_only_layers") or ())
        dense = dense or layers - layers // int(text.get("interleave_moe_layer_step") or 1)
    return Experts(
        count=int(count),
        active=int(active),
        intermediate_size=int(size),
        shared=1 if family == "llama4_text" else int(shared),
        dense_layers=dense,
    )


def _global_attention(text: Config) -> GlobalAttention | None:
    if not text.get("global_head_dim"):
        return None
    return GlobalAttention(
        kv_heads=int(first_stated(text, "num_global_key_value_heads", "num_key_value_heads")),
        head_dim=int(text["global_head_dim"]),
        keys_are_values=bool(text.get("attention_k_eq_v", False)),
    )


def _latent_attention(text: Config) -> LatentAttention | None:
    if not text.get("kv_lora_rank"):
        return None
    return LatentAttention(
        kv_lora_rank=int(text["kv_lora_rank"]),
        qk_rope_head_dim=int(text["qk_rope_head_dim"]),
        qk_nope_head_dim=int(text["qk_nope_head_dim"]),
        v_head_dim=int(text["v_head_dim"]),
        q_lora_rank=int(text["q_lora_rank"]) if text.get("q_lora_rank") else None,
    )


def _linear_attention(text: Config) -> LinearAttention | None:
    if not text.get("linear_num_value_heads"):
        return None
    return LinearAttention(
        key_heads=int(text["linear_num_key_heads"]),
        value_heads=int(text["linear_num_value_heads"]),
        key_head_dim=int(text["linear_key_head_dim"]),
        value_head_dim=int(text["linear_value_head_dim"]),
        convolution_tokens=int(text["linear_conv_kernel_dim"]),
    )


def _linear_layers(text: Config, layers: int) -> int:
    kinds = text.get("layer_types")
    return kinds.count("linear_attention") if kinds else layers - layers // int(text["full_attention_interval"])


def _sliding_window(text: Config, layers: int, family: str) -> SlidingWindow | None:
    tokens = first_stated(text, "attention_chunk_size", "sliding_window")
    if not tokens or tokens >= text["max_position_embeddings"] or text.get("use_sliding_window") is False:
        return None
    kinds, pattern = text.get("layer_types"), text.get("sliding_window_pattern")
    if kinds:
        looking = sum(kind in {"sliding_attention", "chunked_attention"} for kind in kinds)
    elif family == "llama4_text":
        looking = sum(text["no_rope_layers"]) if text.get("no_rope_layers") else layers - layers // 4
    elif isinstance(pattern, str):
        looking = sum(pattern[layer % len(pattern)] == "L" for layer in range(layers))
    elif isinstance(pattern, int):
        looking = layers - layers // pattern
    elif family == "qwen2":
        looking = max(0, layers - int(text.get("max_window_layers") or 0))
    else:
        looking = layers
    return SlidingWindow(tokens=int(tokens), layers=looking) if looking else None


def _stated(config: Config) -> dict[str, Any]:
    """Keys that say something: a null stands for the default."""
    return {key: value for key, value in config.items() if value is not None}


def first_stated(config: Config, *keys: str) -> Any:
    """The value of the first of `keys` that says something; None where none does."""
    return next((config[key] for key in keys if config.get(key) is not None), None)
