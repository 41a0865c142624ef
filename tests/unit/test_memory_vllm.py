"""Memory under vLLM against what vLLM logged, and by its own rules."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from memory_models import model_of

from planning.catalogue import LanguageModel, Quantization, architectures
from planning.memory import MIB, LoraSlots, VllmLoad, VllmMemory, vllm_memory
from planning.memory.vllm_buffers import activations_mib, graphs_mib
from planning.memory.vllm_kv_cache import kv_cache
from planning.memory.vllm_weights import stages, vllm_weights

GIB = 2**30
PUBLIC = yaml.safe_load((Path(__file__).with_name("data") / "memory_public.yaml").read_text())
H100_MIB = 81559

SMALL = VllmLoad(max_model_len=4096, max_num_seqs=64, max_num_batched_tokens=2048)


def rows(*keys: str) -> list[Any]:
    """Public rows that have all `keys`, named by what they are."""
    found = [row for row in PUBLIC if all(key in row for key in keys)]
    assert len(found) >= 2
    return [
        pytest.param(
            row,
            id="-".join(
                str(row[key])
                for key in ("gpu", "architecture", "quantization", "tensorParallel", "pipelineParallel", "kvCacheBits")
                if key in row
            ),
        )
        for row in found
    ]


def weights_gib(row: dict[str, Any]) -> float:
    model = model_of(row["architecture"], row["quantization"])
    at_load = Quantization(row["quantizedAtLoad"]) if "quantizedAtLoad" in row else None
    weights = vllm_weights(model, row.get("tensorParallel", 1), at_load)
    first = stages(model.architecture.layers, row.get("pipelineParallel", 1))[0]
    return weights.of_stage(*first) / GIB


@pytest.mark.parametrize("row", rows("weightsGiB"))
def test_logged_weights_are_met_within_a_hundredth(row: dict[str, Any]) -> None:
    assert weights_gib(row) == pytest.approx(row["weightsGiB"], rel=0.01)


@pytest.mark.parametrize("row", rows("activationsGiB"))
def test_logged_activations_are_met_and_rarely_undercut(row: dict[str, Any]) -> None:
    estimate = activations_mib(
        architectures()[row["architecture"]].shape,
        batched_tokens=8192,
        sequences=1024,
        tensor_parallel=row.get("tensorParallel", 1),
        stages=row.get("pipelineParallel", 1),
        last="firstStage" not in row,
    )
    assert 0.94 <= estimate / 1024 / row["activationsGiB"] <= 1.16


@pytest.mark.parametrize("row", rows("graphsGiB"))
def test_logged_graphs_are_met(row: dict[str, Any]) -> None:
    layers = architectures()[row["architecture"]].shape.layers
    assert graphs_mib(layers, sequences=1024, batched_tokens=8192) / 1024 == pytest.approx(row["graphsGiB"], rel=0.15)


def blocks_of(row: dict[str, Any]) -> int:
    shape = architectures()[row["architecture"]].shape
    cache = kv_cache(
        shape, (0, shape.layers), tensor_parallel=row.get("tensorParallel", 1), bits=row.get("kvCacheBits", 16)
    )
    assert cache is not None
    return int(row["kvCacheGiB"] * GIB // cache.block_bytes)


@pytest.mark.parametrize("row", rows("kvCacheGiB", "blocks"))
def test_logged_blocks_are_met(row: dict[str, Any]) -> None:
    assert blocks_of(row) == pytest.approx(row["blocks"], rel=0.001)  # GiB are logged with two decimals


@pytest.mark.parametrize("row", rows("kvCacheGiB", "kvCacheTokens"))
def test_logged_tokens_are_met(row: dict[str, Any]) -> None:
    assert blocks_of(row) * 16 == pytest.approx(row["kvCacheTokens"], rel=0.01 if row["kvCacheGiB"] < 1 else 0.001)


@pytest.mark.parametrize("row", [row for row in rows("kvCacheGiB", "otherGiB") if row.values[0]["gpu"] == "h100"])
def test_what_is_left_for_the_cache_is_what_was_logged(row: dict[str, Any]) -> None:
    load = VllmLoad(
        max_model_len=8192,
        max_num_seqs=1024,
        max_num_batched_tokens=8192,
        tensor_parallel=row.get("tensorParallel", 1),
        kv_cache_bits=row.get("kvCacheBits", 16),
        eager=True,  # this release did not count its graphs
        quantized_at_load=Quantization(row["quantizedAtLoad"]) if "quantizedAtLoad" in row else None,
        symmetric_memory=True,
    )
    model = model_of(row["architecture"], row["quantization"])
    found = vllm_memory(model, load, limit_mib=int(H100_MIB * row.get("utilization", 0.95)))
    assert found.gpu.kv_cache_mib / 1024 == pytest.approx(row["kvCacheGiB"], rel=0.015)


def test_blocks_are_enlarged_to_the_size_of_a_state() -> None:
    [row] = [row for row in PUBLIC if "blockTokens" in row]
    shape = architectures()[row["architecture"]].shape
    cache = kv_cache(shape, (0, shape.layers), tensor_parallel=1, bits=row["kvCacheBits"])
    assert cache is not None
    assert {group.block_tokens for group in cache.groups} == {row["blockTokens"]}


def test_layers_that_are_left_over_go_before_the_last_stage() -> None:
    # get_pp_indices; tests/contract holds this against vLLM's own for all numbers
    assert stages(61, 4) == [(0, 15), (15, 30), (30, 46), (46, 61)]


def memory(model: LanguageModel, load: VllmLoad = SMALL, *, limit_mib: int = 70_000, **changes: Any) -> VllmMemory:
    return vllm_memory(model, dataclasses.replace(load, **changes), limit_mib=limit_mib)


LLAMA, LLAMA_70B = model_of("llama-3.1-8b"), model_of("llama-3.1-70b")


def test_the_stage_with_the_output_layer_counts() -> None:
    one, two = memory(LLAMA_70B, limit_mib=200_000), memory(LLAMA_70B, limit_mib=200_000, pipeline_parallel=2)
    assert two.gpu.weights_mib == pytest.approx(one.gpu.weights_mib / 2, rel=0.01)
    assert two.largest_context is not None
    assert one.largest_context is not None
    assert two.largest_context > 2 * one.largest_context


def test_the_largest_context_fits_once_and_a_token_more_does_not() -> None:
    for model in (LLAMA, model_of("gemma-3-27b"), model_of("qwen3-next-80b-a3b", "fp8"), model_of("deepseek-v2-lite")):
        found = memory(model, limit_mib=90_000)
        assert found.largest_context
        assert memory(model, limit_mib=90_000, max_model_len=found.largest_context).concurrent_full_length_requests == 1
        more = memory(model, limit_mib=90_000, max_model_len=found.largest_context + 1)
        assert more.concurrent_full_length_requests == 0


def test_slots_of_adapters_take_their_ranks() -> None:
    none, four = memory(LLAMA).gpu, memory(LLAMA, lora=LoraSlots(count=4, rank=64)).gpu
    shape = LLAMA.architecture
    # query, key, value, output, gate, up, down of each layer: rank x (inputs + outputs), in 16 bits
    sides = 2 * (4096 + 4096) + 2 * (4096 + 1024) + 3 * (4096 + 14336)
    least = 4 * 64 * shape.layers * sides * 2 / MIB
    assert least <= four.other_mib - none.other_mib <= least * 1.2
    halved = memory(LLAMA, lora=LoraSlots(count=4, rank=64), tensor_parallel=2).gpu
    assert four.other_mib - none.other_mib > halved.other_mib - memory(LLAMA, tensor_parallel=2).gpu.other_mib


def test_a_draft_model_takes_its_weights_and_its_cache() -> None:
    draft = model_of("llama-3.2-1b")
    alone, helped = memory(LLAMA_70B, limit_mib=200_000), memory(LLAMA_70B, limit_mib=200_000, draft=draft)
    assert helped.gpu.other_mib - alone.gpu.other_mib == pytest.approx(1.24 * 2 * 10**9 / MIB, rel=0.02)
    assert alone.largest_context is not None
    assert helped.largest_context is not None
    per_token = 80 * 8 * 128 * 2 * 2
    of_draft = 16 * 8 * 64 * 2 * 2
    assert helped.largest_context == pytest.approx(helped.gpu.kv_cache_mib * MIB / (per_token + of_draft), rel=0.001)


def test_eager_servers_have_no_graphs() -> None:
    assert memory(LLAMA).gpu.other_mib - memory(LLAMA, eager=True).gpu.other_mib == graphs_mib(
        32, sequences=64, batched_tokens=2048
    )
    assert graphs_mib(32, sequences=1, batched_tokens=2048) == 32  # of 1 and 2 tokens


def test_heads_beyond_the_last_are_copies() -> None:
    eight, sixteen = memory(LLAMA, tensor_parallel=8).gpu, memory(LLAMA, tensor_parallel=16).gpu
    copies = 32 * 2 * 4096 * 128 * 2  # keys and values of one head, in each layer
    halves = (8030261248 * 2 - 8 * copies) / 16 + copies
    assert sixteen.weights_mib * MIB == pytest.approx(halves, rel=0.002)
    assert sixteen.weights_mib > eight.weights_mib / 2
