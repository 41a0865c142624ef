"""A config.json of each family makes the row that the catalogue has, or is refused by name."""

from __future__ import annotations

from typing import Any

import pytest

from planning.catalogue import Architecture, architectures
from planning.catalogue.config_json import ConfigError, architecture_of_config
from planning.catalogue.config_quantization import quantization_of_config

Config = dict[str, Any]


def keys(layers: int, hidden: int, intermediate: int, heads: int, kv: int, vocabulary: int, context: int) -> Config:
    return {
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
    }


def without(config: Config, *names: str) -> Config:
    return {key: value for key, value in config.items() if key not in names}


LINEAR = {
    "linear_num_key_heads": 16,
    "linear_num_value_heads": 32,
    "linear_key_head_dim": 128,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
}
LATENT = {"kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128}

CONFIGS: dict[str, tuple[str, Config]] = {
    "llama": ("llama-3.1-8b", keys(32, 4096, 14336, 32, 8, 128256, 131072)),
    "mistral": (
        "mistral-nemo-12b",
        {**keys(40, 5120, 14336, 32, 8, 131072, 131072), "head_dim": 128, "sliding_window": None},
    ),
    "mixtral": (
        "mixtral-8x7b",
        {**keys(32, 4096, 14336, 32, 8, 32000, 32768), "num_local_experts": 8, "num_experts_per_tok": 2},
    ),
    "qwen2": (
        "qwen2.5-7b",
        {
            **keys(28, 3584, 18944, 28, 4, 152064, 32768),
            "sliding_window": 4096,
            "use_sliding_window": False,
            "max_window_layers": 21,
        },
    ),
    "qwen3": ("qwen3-4b", {**keys(36, 2560, 9728, 32, 8, 151936, 40960), "head_dim": 128, "tie_word_embeddings": True}),
    "qwen3_moe": (
        "qwen3-30b-a3b",
        {
            **keys(48, 2048, 6144, 32, 4, 151936, 40960),
            "head_dim": 128,
            "num_experts": 128,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 768,
            "decoder_sparse_step": 1,
            "mlp_only_layers": [],
        },
    ),
    "qwen3_next": (
        "qwen3-next-80b-a3b",
        {
            **keys(48, 2048, 5120, 16, 2, 151936, 262144),
            **LINEAR,
            "head_dim": 256,
            "num_experts": 512,
            "num_experts_per_tok": 10,
            "moe_intermediate_size": 512,
            "shared_expert_intermediate_size": 512,
        },
    ),
    "qwen3_5": (
        "qwen3.5-9b",
        {
            "text_config": {
                **keys(32, 4096, 12288, 16, 4, 248320, 262144),
                **LINEAR,
                "model_type": "qwen3_5_text",
                "head_dim": 256,
                "attn_output_gate": True,
                "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * 8,
            },
            "vision_config": {"depth": 27},
            "tie_word_embeddings": False,
        },
    ),
    "gemma2": ("gemma-2-9b", {**keys(42, 3584, 14336, 16, 8, 256000, 8192), "head_dim": 256, "sliding_window": 4096}),
    "gemma3_text": (
        "gemma-3-1b",
        {**keys(26, 1152, 6912, 4, 1, 262144, 32768), "head_dim": 256, "sliding_window": 512},
    ),
    # As published: what its class has as defaults is left out.
    "gemma3": (
        "gemma-3-4b",
        {
            "text_config": {
                "hidden_size": 2560,
                "intermediate_size": 10240,
                "num_hidden_layers": 34,
                "sliding_window": 1024,
            },
            "vision_config": {"hidden_size": 1152},
        },
    ),
    "gemma4": (
        "gemma-4-26b-a4b",
        {
            "text_config": {
                **keys(30, 2816, 2112, 16, 8, 262144, 262144),
                "head_dim": 256,
                "global_head_dim": 512,
                "num_global_key_value_heads": 2,
                "attention_k_eq_v": True,
                "num_experts": 128,
                "top_k_experts": 8,
                "moe_intermediate_size": 704,
                "sliding_window": 1024,
                "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 5,
            },
            "vision_config": {},
        },
    ),
    "phi3": ("phi-4", {**keys(40, 5120, 17920, 40, 10, 100352, 16384), "sliding_window": None}),
    "deepseek_v2": (
        "deepseek-v2-lite",
        {
            **keys(27, 2048, 10944, 16, 16, 102400, 163840),
            **LATENT,
            "q_lora_rank": None,
            "n_routed_experts": 64,
            "n_shared_experts": 2,
            "num_experts_per_tok": 6,
            "moe_intermediate_size": 1408,
            "first_k_dense_replace": 1,
        },
    ),
    "deepseek_v3": (
        "deepseek-v3",
        {
            **keys(61, 7168, 18432, 128, 128, 129280, 163840),
            **LATENT,
            "q_lora_rank": 1536,
            "n_routed_experts": 256,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048,
            "first_k_dense_replace": 3,
        },
    ),
    "exaone": (
        "exaone-3.5-7.8b",
        {**without(keys(32, 4096, 14336, 32, 8, 102400, 32768), "num_hidden_layers"), "num_layers": 32},
    ),
    "exaone4": (
        "exaone-4.0-32b",
        {
            **keys(64, 5120, 27392, 40, 8, 102400, 131072),
            "head_dim": 128,
            "sliding_window": 4096,
            "sliding_window_pattern": "LLLG",
        },
    ),
    "gpt_oss": (
        "gpt-oss-20b",
        {
            **keys(24, 2880, 2880, 64, 8, 201088, 131072),
            "head_dim": 64,
            "num_local_experts": 32,
            "num_experts_per_tok": 4,
            "layer_types": ["sliding_attention", "full_attention"] * 12,
            "sliding_window": 128,
        },
    ),
    "mistral3": (
        "mistral-small-3.1-24b",
        {
            "text_config": {**keys(40, 5120, 32768, 32, 8, 131072, 131072), "head_dim": 128},
            "vision_config": {"model_type": "pixtral"},
        },
    ),
    "glm4_moe": (
        "glm-4.5-air",
        {
            **keys(46, 4096, 10944, 96, 8, 151552, 131072),
            "head_dim": 128,
            "n_routed_experts": 128,
            "n_shared_experts": 1,
            "num_experts_per_tok": 8,
            "moe_intermediate_size": 1408,
            "first_k_dense_replace": 1,
        },
    ),
    "llama4": (
        "llama-4-scout",
        {
            "text_config": {
                **keys(48, 5120, 8192, 40, 8, 202048, 10485760),
                "head_dim": 128,
                "intermediate_size_mlp": 16384,
                "num_local_experts": 16,
                "num_experts_per_tok": 1,
                "attention_chunk_size": 8192,
            },
            "vision_config": {},
        },
    ),
    "xlm-roberta": (
        "xlm-roberta-large-8k",
        without(keys(24, 1024, 4096, 16, 16, 250002, 8194), "num_key_value_heads"),
    ),
    "bert": ("bert-large", without(keys(24, 1024, 4096, 16, 16, 30522, 512), "num_key_value_heads")),
    "nomic_bert": (
        "nomic-bert",
        {
            "n_layer": 12,
            "n_embd": 768,
            "n_inner": 3072,
            "n_head": 12,
            "vocab_size": 30528,
            "max_position_embeddings": 2048,
            "n_positions": 8192,
        },
    ),
}
"""config.json of each family, with the keys that tell its shape, and the row of the catalogue that it must make."""


def config_of(family: str) -> Config:
    return {"model_type": family, **CONFIGS[family][1]}


@pytest.mark.parametrize("family", CONFIGS)
def test_a_config_makes_the_row_that_the_catalogue_has(family: str) -> None:
    row = architectures()[CONFIGS[family][0]].shape
    assert architecture_of_config(config_of(family), parameters=row.parameters) == _counted(row)


def _counted(row: Architecture) -> Architecture:
    """The row as its file's sum makes it: a vision tower is what is left over, to the parameter."""
    other = row.parameters - row.derived_parameters if row.other_parameters else 0
    return type(row)(**{**row.__dict__, "other_parameters": other})


def test_parameters_are_counted_where_no_file_says_them() -> None:
    found = architecture_of_config(config_of("llama"))
    assert found.parameters == pytest.approx(8030261248, rel=0.001)


def test_an_unknown_family_is_believed_only_where_its_files_agree() -> None:
    config = {**config_of("llama"), "model_type": "novel"}
    with pytest.raises(ConfigError, match="'novel' is not known here"):
        architecture_of_config(config)
    assert architecture_of_config(config, parameters=8030261248).layers == 32
    with pytest.raises(ConfigError, match=r"make 8,029,995,008 parameters and its files hold 9,000,000,000"):
        architecture_of_config(config, parameters=9 * 10**9)


def test_prediction_heads_and_a_second_copy_of_the_embedding_are_no_parameters() -> None:
    deepseek = architecture_of_config(config_of("deepseek_v3"), parameters=684_531_386_000)
    assert deepseek.parameters == pytest.approx(671.03e9, rel=0.001)
    small = {**keys(28, 1024, 3072, 16, 8, 151936, 40960), "head_dim": 128, "tie_word_embeddings": True}
    found = architecture_of_config({"model_type": "qwen3", **small}, parameters=751_632_384)
    assert found.parameters == pytest.approx(596_049_920, rel=0.001)


def test_every_missing_key_is_told() -> None:
    with pytest.raises(ConfigError, match=r"^hidden_size, vocab_size: missing"):
        architecture_of_config(without(config_of("llama"), "hidden_size", "vocab_size"))


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({"torch_dtype": "bfloat16"}, "bf16"),
        ({"dtype": "float16"}, "fp16"),
        ({"torch_dtype": "float32"}, "fp32"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 8}}, "gptq-int8"),
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4"),
        ({"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "bnb-nf4"),
        ({"quantization_config": {"quant_method": "modelopt", "quant_algo": "NVFP4"}}, "nvfp4"),
        ({"quantization_config": {"quant_algo": "FP8"}}, "fp8"),
        (
            {
                "quantization_config": {
                    "quant_method": "compressed-tensors",
                    "config_groups": {"group_0": {"weights": {"num_bits": 8, "type": "float"}}},
                }
            },
            "fp8",
        ),
    ],
)
def test_a_config_tells_its_type(said: Config, expected: str) -> None:
    assert quantization_of_config(said) == expected


def test_a_type_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="'modelopt MIXED_PRECISION' is not known here"):
        quantization_of_config({"quantization_config": {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION"}})
