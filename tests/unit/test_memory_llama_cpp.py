"""Memory under llama.cpp against what was measured and logged, and which layers do not fit."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from memory_models import model_of

from planning.catalogue import Quantization, language_models
from planning.memory import MIB, LlamaCppLoad, LlamaCppMemory, llama_cpp_memory
from planning.memory.gguf_weights import gguf_weights

DATA = Path(__file__).with_name("data")
BITS = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5, "iq4_nl": 4.5}
ARCHITECTURES = {"qwen3-4b": "qwen3-4b", "llama31-8b": "llama-3.1-8b"}
EVERYTHING = 10**7
"""A limit that nothing reaches, in MiB."""

MEASURED = list(csv.DictReader((DATA / "llamacpp_memory_h200.csv").read_text().splitlines()))
LOGGED = [
    row
    for row in yaml.safe_load((DATA / "llama_cpp_logs.yaml").read_text())
    if "quantizationOfFile" not in row and row["model"] in language_models()
]


def memory(architecture: str, quantization: str, *, limit_mib: int = EVERYTHING, **load: Any) -> LlamaCppMemory:
    return llama_cpp_memory(
        model_of(architecture, quantization), LlamaCppLoad(**{"context_tokens": 4096} | load), limit_mib=limit_mib
    )


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: "-".join(list(row.values())[:5]))
def test_measured_rows_are_met_within_a_hundredth(row: dict[str, str]) -> None:
    label, _, quantization = row["model"].rpartition("-")
    found = memory(
        ARCHITECTURES[label],
        quantization,
        context_tokens=int(row["n_ctx"]),
        sequences=int(row["n_seq"]),
        key_bits=BITS[row["kv"]],
        value_bits=BITS[row["kv"]],
        ubatch_tokens=int(row["ubatch"]),
    ).gpu
    base, model, context = (int(row[key]) for key in ("base_mib", "model_mib", "after_decode_mib"))
    assert found.weights_mib == pytest.approx(model, rel=0.01)
    assert found.total_mib == pytest.approx(base + model + context, rel=0.01)


@pytest.mark.parametrize("row", LOGGED, ids=lambda row: f"{row['model']}-{row['cells']}")
def test_logged_buffers_are_met(row: dict[str, Any]) -> None:
    model = language_models()[row["model"]]
    load = LlamaCppLoad(
        context_tokens=row["cells"],
        key_bits=BITS[row.get("key", "f16")],
        value_bits=BITS[row.get("value", "f16")],
        ubatch_tokens=row.get("ubatch", 512),
        sequences=row.get("sequences", 1),
        flash_attention=row.get("flash", True),
        full_window_cache=row.get("windowsAreFull", False),
        output_tokens=row.get("outputs"),
    )
    found = llama_cpp_memory(model, load, limit_mib=EVERYTHING).gpu
    if "cacheMiB" in row and ("stateMiB" in row or model.architecture.linear_attention is None):
        assert found.kv_cache_mib == pytest.approx(row["cacheMiB"] + row.get("stateMiB", 0), abs=1)
    # phi3's file has queries, keys and values in one tensor, with more bits; Qwen3.5's vision tower has a file.
    if "modelMiB" in row and model.base not in ("phi-3-mini", "qwen3.5-9b"):
        assert found.weights_mib == pytest.approx(row["modelMiB"], rel=0.03)
    # Before 2026 the mask of a long context took three times as much (llama.cpp, pull request 23764).
    if "computeMiB" in row and row["cells"] <= 65536 and model.base != "phi-3-mini":
        used_always = 527 + 82 + (104 if model.quantization.is_sixteen_bits else 0)
        buffers = found.other_mib - used_always
        assert buffers == pytest.approx(row["computeMiB"], rel=0.07)


@pytest.mark.parametrize("quantization", [q for q in Quantization if q.is_gguf and q not in ("Q4_K", "Q4_0", "Q5_0")])
def test_llama_cpps_own_table_is_met_to_the_thousandth_of_a_bit(quantization: Quantization) -> None:
    # tools/quantize/README.md: bits per weight of Llama-3.1-8B
    llama = model_of("llama-3.1-8b", quantization)
    bits = gguf_weights(llama).file * 8 / llama.architecture.parameters
    assert bits == pytest.approx(quantization.bits_per_weight, abs=0.001)


OTHER_MIXTURES = {"exaone-3.5-2.4b", "qwen3-1.7b"}
"""Made by other rules than llama-quantize's: with an output layer of their own, values in 16 bits."""

PUBLISHED_FILES = [
    name
    for name, model in language_models().items()
    if model.quantization.is_gguf
    and model.measured_bytes
    and model.architecture.parameters > 10**9
    and model.base not in OTHER_MIXTURES
]


@pytest.mark.parametrize("name", PUBLISHED_FILES)
def test_files_are_as_large_as_their_tensors(name: str) -> None:
    model = language_models()[name]
    derived = gguf_weights(dataclasses.replace(model, measured_bytes=None))
    assert min(
        derived.file, derived.file - derived.others, key=lambda size: abs(size - (model.measured_bytes or 0))
    ) == (pytest.approx(model.measured_bytes, rel=0.05))


def test_what_does_not_fit_spills_from_the_first_layer_on() -> None:
    whole = memory("llama-3.1-70b", "Q4_K_M")
    assert (whole.spilled_layers, memory("llama-3.1-70b", "Q4_K_M", limit_mib=1000).spilled_layers) == (0, 81)
    half = memory("llama-3.1-70b", "Q4_K_M", limit_mib=24564)
    assert 35 <= half.spilled_layers <= 45
    assert half.gpu.total_mib <= 24564
    # What is not on the GPU is in host memory.
    spilled_mib = whole.gpu.weights_mib - half.gpu.weights_mib + whole.gpu.kv_cache_mib - half.gpu.kv_cache_mib
    assert half.host_mib - whole.host_mib == pytest.approx(spilled_mib, abs=3)
    assert half.largest_context == 0


def test_one_layer_more_would_not_fit() -> None:
    limit = 24564
    half = memory("llama-3.1-70b", "Q4_K_M", limit_mib=limit)
    on_gpu = 81 - half.spilled_layers
    asked = memory("llama-3.1-70b", "Q4_K_M", limit_mib=limit, gpu_layers=on_gpu)
    assert asked.gpu == half.gpu
    more = memory("llama-3.1-70b", "Q4_K_M", limit_mib=limit, gpu_layers=on_gpu + 1)
    # llama.cpp leaves a margin, and has what the first decoding adds come out of it.
    assert more.gpu.total_mib + 1024 - 82 > limit >= half.gpu.total_mib + 1024 - 82


def test_a_number_of_layers_that_is_asked_for_is_followed() -> None:
    asked = memory("llama-3.1-8b", "Q4_K_M", gpu_layers=10)
    assert asked.spilled_layers == 23
    assert memory("llama-3.1-8b", "Q4_K_M", gpu_layers=99).spilled_layers == 0
    none = memory("llama-3.1-8b", "Q4_K_M", gpu_layers=0)
    assert (none.gpu.weights_mib, none.gpu.kv_cache_mib, none.spilled_layers) == (0, 0, 33)


def test_the_largest_context_fits_and_256_tokens_more_do_not() -> None:
    limit = 12282
    largest = memory("llama-3.1-8b", "Q8_0", limit_mib=limit).largest_context
    assert 0 < largest < 131072
    assert memory("llama-3.1-8b", "Q8_0", limit_mib=limit, context_tokens=largest).spilled_layers == 0
    assert memory("llama-3.1-8b", "Q8_0", limit_mib=limit, context_tokens=largest + 256).spilled_layers > 0


def test_layers_are_divided_over_gpus_and_the_fullest_is_told() -> None:
    one, two = memory("llama-3.1-70b", "Q4_K_M"), memory("llama-3.1-70b", "Q4_K_M", gpus=2)
    assert two.gpu.weights_mib == pytest.approx(one.gpu.weights_mib / 2, rel=0.05)
    assert two.gpu.kv_cache_mib == pytest.approx(one.gpu.kv_cache_mib / 2, rel=0.05)
    assert memory("llama-3.1-70b", "Q4_K_M", gpus=2, limit_mib=24564).spilled_layers == 0


def test_layers_with_a_window_keep_no_more_than_it() -> None:
    long = memory("gemma-3-27b", "Q4_K_M", context_tokens=32768).gpu.kv_cache_mib
    full = memory("gemma-3-27b", "Q4_K_M", context_tokens=32768, full_window_cache=True).gpu.kv_cache_mib
    cells = 10 * 32768 + 52 * (1024 + 512)
    assert long == -(-cells * 16 * 128 * 2 * 2 // MIB)
    assert full == 62 * 32768 * 16 * 128 * 2 * 2 // MIB


@pytest.mark.parametrize(
    ("tokens", "window_cells", "unified"),
    [
        # Each of 16 requests has 1520 tokens, which are rounded up to 1536: less than its window of 1024 and a batch.
        (16 * 1520, 16 * 1536, False),
        (16 * 8192, 16 * (1024 + 1024), False),
        # One cache of all has their windows, and one batch.
        (16 * 8192, 16 * 1024 + 1024, True),
    ],
)
def test_each_request_has_a_batch_beside_its_window(tokens: int, window_cells: int, unified: bool) -> None:
    found = memory(
        "gemma-3-12b", "Q4_K_M", context_tokens=tokens, sequences=16, ubatch_tokens=1024, unified_cache=unified
    ).gpu.kv_cache_mib
    cells = 8 * -(-tokens // (16 * 256)) * 16 * 256 + 40 * window_cells
    assert found == -(-cells * 8 * 256 * 2 * 2 // MIB)


def test_the_largest_context_of_several_requests_fits_and_a_block_more_of_each_does_not() -> None:
    of = {"limit_mib": 12282, "sequences": 6, "ubatch_tokens": 1024}
    largest = memory("gemma-3-12b", "Q4_K_M", **of).largest_context
    assert largest % (6 * 256) == 0 < largest
    assert memory("gemma-3-12b", "Q4_K_M", **of, context_tokens=largest).spilled_layers == 0
    assert memory("gemma-3-12b", "Q4_K_M", **of, context_tokens=largest + 1).spilled_layers > 0


def test_latent_attention_keeps_one_vector_for_all_heads() -> None:
    found = memory("deepseek-v2-lite", "Q4_K_M", context_tokens=8192).gpu.kv_cache_mib
    assert found == -(-27 * 8192 * (512 + 64) * 2 // MIB)


def test_states_do_not_grow_with_the_context() -> None:
    short, long = (memory("qwen3.5-9b", "Q4_K_M", context_tokens=tokens).gpu.kv_cache_mib for tokens in (4096, 8192))
    assert long - short == 8 * 4096 * 4 * 256 * 2 * 2 // MIB


def test_an_encoder_has_no_cache_and_no_logits() -> None:
    found = memory("xlm-roberta-large-8k", "F16", context_tokens=8192).gpu
    assert found.kv_cache_mib == 0
    assert found.other_mib < 1000
