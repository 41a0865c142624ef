"""An architecture from the metadata of a GGUF file, as llama.cpp writes them (gguf-py, constants.py). No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from planning.catalogue.config_json import ConfigError, shape_confirmed
from settings.architecture import Architecture, Experts, LatentAttention, SlidingWindow
from settings.quantization import Quantization

_FILE_TYPES = {
    0: Quantization.FP32,
    1: Quantization.F16,
    2: Quantization.Q4_0,
    7: Quantization.Q8_0,
    8: Quantization.Q5_0,
    10: Quantization.Q2_K,
    11: Quantization.Q3_K_S,
    12: Quantization.Q3_K_M,
    13: Quantization.Q3_K_L,
    14: Quantization.Q4_K_S,
    15: Quantization.Q4_K_M,
    16: Quantization.Q5_K_S,
    17: Quantization.Q5_K_M,
    18: Quantization.Q6_K,
    30: Quantization.IQ4_XS,
    32: Quantization.BF16,
    38: Quantization.MXFP4,
}
"""`general.file_type`: llama.cpp's llama_ftype."""

_ENCODERS = {"bert", "nomic-bert", "jina-bert-v2"}
_RECURRENT = ("ssm.state_size", "wkv.head_size")
_EVERY_OTHER = {"gemma2": 2, "gpt-oss": 2, "gemma3": 6, "exaone4": 4}
"""One layer in so many sees everything, in families whose window the metadata tell without its layers."""


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """What stands before the weights of a GGUF file. Of a tokenizer's arrays of texts, `metadata` has the length."""

    metadata: Mapping[str, Any]
    tensors: Mapping[str, int]
    """Elements of each tensor by its name."""


def architecture_of_gguf(header: GgufHeader) -> Architecture:
    """The architecture that a GGUF file describes.

    Raises:
        ConfigError: keys are missing, or it is of a family whose layers differ in ways not known here.
    """
    family = str(header.metadata.get("general.architecture", ""))

    def stated(key: str) -> Any:
        return header.metadata.get(f"{family}.{key}")

    wanted = ("block_count", "embedding_length", "attention.head_count", "context_length")
    if missing := [f"{family}.{key}" for key in wanted if stated(key) is None]:
        raise ConfigError(f"{', '.join(missing)}: missing, and without them a model's memory is not known.")
    if recurrent := [key for key in _RECURRENT if stated(key) is not None]:
        raise ConfigError(
            f"{family}.{recurrent[0]}: its recurrent layers are not counted here. Take the config.json of the model "
            "that it was made of."
        )
    layers, heads = int(stated("block_count")), _one(stated("attention.head_count"), f"{family}.attention.head_count")
    hidden = int(stated("embedding_length"))
    if "token_embd.weight" not in header.tensors:
        raise ConfigError(
            "token_embd.weight: missing; is it a part of a split file, or a projector? Give the first part."
        )
    experts = _experts(family, header.metadata)
    latent = _latent_attention(family, header.metadata)
    encoder = family in _ENCODERS
    shape = Architecture(
        layers=layers,
        hidden_size=hidden,
        intermediate_size=_one(stated("feed_forward_length") or 0, f"{family}.feed_forward_length"),
        attention_heads=heads,
        kv_heads=heads
        if latent  # llama.cpp writes 1: the one vector that all heads share
        else _one(stated("attention.head_count_kv") or heads, f"{family}.attention.head_count_kv"),
        head_dim=latent.qk_nope_head_dim + latent.qk_rope_head_dim
        if latent
        else int(stated("attention.key_length") or hidden // heads),
        vocabulary_size=header.tensors["token_embd.weight"] // hidden,
        context_tokens=int(stated("context_length")),
        parameters=1,  # counted by whoever is asked to confirm the shape
        tied_embeddings="output.weight" not in header.tensors,
        gated_mlp=any(".ffn_gate" in name for name in header.tensors) or family == "phi3",
        learned_positions=header.tensors.get("position_embd.weight", 0) // hidden,
        sliding_window=_sliding_window(family, header.metadata, layers),
        latent_attention=latent,
        layers_without_kv_cache=layers if encoder else 0,
        experts=experts,
    )
    # Ollama's files have the vision tower in them: tensors v.* and its projector's mm.*.
    vision = any(name.startswith(("v.", "mm.")) for name in header.tensors)
    return shape_confirmed(shape, sum(header.tensors.values()), vision=vision, known=False)


def quantization_of_gguf(header: GgufHeader) -> Quantization:
    """The type that most of its weights have.

    Raises:
        ConfigError: a type that is not known here.
    """
    number = header.metadata.get("general.file_type")
    if number not in _FILE_TYPES:
        known = ", ".join(_FILE_TYPES.values())
        raise ConfigError(f"general.file_type: {number} is not known here. Known: {known}.")
    return _FILE_TYPES[number]


def _experts(family: str, metadata: Mapping[str, Any]) -> Experts | None:
    if not (count := metadata.get(f"{family}.expert_count")):
        return None
    size = metadata.get(f"{family}.expert_feed_forward_length") or metadata.get(f"{family}.feed_forward_length")
    return Experts(
        count=int(count),
        active=int(metadata[f"{family}.expert_used_count"]),
        intermediate_size=_one(size, f"{family}.expert_feed_forward_length"),
        shared=int(metadata.get(f"{family}.expert_shared_count") or 0),
        dense_layers=int(metadata.get(f"{family}.leading_dense_block_count") or 0),
    )


def _latent_attention(family: str, metadata: Mapping[str, Any]) -> LatentAttention | None:
    if not (rank := metadata.get(f"{family}.attention.kv_lora_rank")):
        return None
    rope = int(metadata[f"{family}.rope.dimension_count"])
    # Files since May 2025 have the sizes of heads as attention sees them under _mla; the others are the cache's.
    key = metadata.get(f"{family}.attention.key_length_mla") or metadata[f"{family}.attention.key_length"]
    value = metadata.get(f"{family}.attention.value_length_mla") or metadata[f"{family}.attention.value_length"]
    query = metadata.get(f"{family}.attention.q_lora_rank")
    return LatentAttention(
        kv_lora_rank=int(rank),
        qk_rope_head_dim=rope,
        qk_nope_head_dim=int(key) - rope,
        v_head_dim=int(value),
        q_lora_rank=int(query) if query else None,
    )


def _sliding_window(family: str, metadata: Mapping[str, Any], layers: int) -> SlidingWindow | None:
    tokens = metadata.get(f"{family}.attention.sliding_window")
    if not tokens or tokens >= metadata[f"{family}.context_length"]:
        return None
    pattern = metadata.get(f"{family}.attention.sliding_window_pattern")
    if isinstance(pattern, list):
        looking = sum(bool(part) for part in pattern)
    else:
        one_in = pattern or _EVERY_OTHER.get(family)
        looking = layers - layers // int(one_in) if one_in else layers
    return SlidingWindow(tokens=int(tokens), layers=looking) if looking else None


def _one(value: Any, key: str) -> int:
    """`value`, which is a number, or an array of one number that every layer has."""
    if not isinstance(value, list):
        return int(value)
    if len(different := set(value)) != 1:
        raise ConfigError(f"{key}: differs between layers ({sorted(different)}), which is not understood here.")
    return int(value[0])
