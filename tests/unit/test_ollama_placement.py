"""On how many GPUs Ollama puts a model, and with which batch: by what it reckons itself, not by what is taken."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import Raw
from small_stacks import node, planned

from planning.catalogue import LanguageModel, gguf_model
from planning.memory import MIB, LlamaCppLoad
from planning.ollama import OllamaPlan
from planning.ollama_placement import placed, predicted_bytes
from planning.plan import Plan
from settings.ollama import OllamaSettings


def model(name: str) -> LanguageModel:
    found = gguf_model(name)
    assert found is not None
    return found


def settings(**more: object) -> OllamaSettings:
    return OllamaSettings.model_validate({"engine": "ollama", "pull": ["qwen3:4b"], **more})


def load(context: int, gpus: int = 1, **more: object) -> LlamaCppLoad:
    return LlamaCppLoad(context_tokens=context, gpus=gpus, **more)  # type: ignore[arg-type]  # single settings of a load


def stack(count: int, **more: object) -> tuple[OllamaPlan, Plan]:
    server: Raw = {"engine": "ollama", "gpus": count, "storage": "200Gi", **more}
    found = planned({"a": node(count=8)}, {"help": server})
    plan = found.servers["help"]
    assert isinstance(plan, OllamaPlan)
    return plan, found


def test_what_ollama_reckons_is_the_file_and_a_cache_of_sixteen_bits() -> None:
    """Of 36 layers and 8 heads of 2560 / 32 elements, whatever size heads have."""
    qwen = model("qwen3:4b")
    assert predicted_bytes(qwen, 8192) == qwen.files_bytes + 2 * 36 * 8 * 80 * 8192 * 2


@pytest.mark.parametrize(
    ("context", "limit_mib", "batch"),
    [(4096, 80_000, 512), (4097, 80_000, 1024), (32769, 80_000, 2048), (32769, 8_000, 1024), (32769, 6_000, 512)],
)
def test_batches_grow_with_the_context_where_there_is_room(context: int, limit_mib: int, batch: int) -> None:
    found = placed(model("qwen3:4b"), load(context), settings(), own_batch=False, limit_mib=limit_mib)
    assert found.ubatch_tokens == batch


def test_a_batch_that_is_written_is_left_and_so_is_that_of_embeddings_or_without_flash_attention() -> None:
    long = load(32769, ubatch_tokens=300)
    assert placed(model("qwen3:4b"), long, settings(), own_batch=True, limit_mib=80_000) == long
    assert placed(model("nomic-embed-text"), long, settings(), own_batch=False, limit_mib=80_000) == long
    without = load(32769, flash_attention=False)
    assert placed(model("qwen3:4b"), without, settings(), own_batch=False, limit_mib=80_000) == without


def test_a_model_that_one_gpu_holds_is_on_one_unless_it_is_spread() -> None:
    one, _ = stack(1, pull=["qwen3:14b"])
    two, _ = stack(2, pull=["qwen3:14b"])
    spread, _ = stack(2, pull=["qwen3:14b"], extraEnvironment={"OLLAMA_SCHED_SPREAD": "1"})
    not_spread, _ = stack(2, pull=["qwen3:14b"], extraEnvironment={"OLLAMA_SCHED_SPREAD": "false"})
    assert two.loads == one.loads == not_spread.loads
    halves = spread.loads["qwen3:14b"].gpu.weights_mib / one.loads["qwen3:14b"].gpu.weights_mib
    assert 0.4 < halves < 0.6
    main: Raw = {"chosen": {"from": "llama3.1:70b", "parameters": {"main_gpu": 1}}}
    large, _ = stack(2, pull=["llama3.1:70b"], modelfiles=main)
    assert large.loads["chosen"].spilled_layers > large.loads["llama3.1:70b"].spilled_layers
    assert large.loads["llama3.1:70b"].gpu.weights_mib < 24000


def test_what_spills_from_one_gpu_beside_idle_ones_is_told_how_to_be_spread() -> None:
    """Heads of qwen3:4b are larger than Ollama reckons, so that it takes for fitting what does not fit."""
    asked: Raw = {"pull": ["qwen3:4b"], "contextLength": 40960, "numParallel": 4}
    found, around = stack(2, **asked)
    assert found.loads["qwen3:4b"].spilled_layers
    [told] = [line for line in around.warnings if "host memory" in line]
    assert told.endswith("or give it more GPUs (extraEnvironment: {OLLAMA_SCHED_SPREAD: '1'}).")
    spread, _ = stack(2, extraEnvironment={"OLLAMA_SCHED_SPREAD": "1"}, **asked)
    assert not spread.loads["qwen3:4b"].spilled_layers


@given(
    context=st.integers(256, 40960),
    parallel=st.integers(1, 16),
    name=st.sampled_from(["qwen3:4b", "qwen3:14b", "gemma3:27b"]),
)
def test_the_context_that_is_offered_fits_with_the_batch_that_it_gets(context: int, parallel: int, name: str) -> None:
    asked: Raw = {"pull": [name], "numParallel": parallel}
    for line in stack(1, contextLength=context, **asked)[1].warnings:
        if "contextLength: " in line and "host memory" in line:
            offered = int(line.partition("contextLength: ")[2].split()[0])
            assert not stack(1, contextLength=offered, **asked)[0].loads[name].spilled_layers


def test_a_gpu_is_not_reckoned_by_more_than_is_the_servers() -> None:
    qwen = model("qwen3:14b")
    predicted = predicted_bytes(qwen, 8192) / MIB
    for limit, gpus in ((predicted / 0.8 + 1, 1), (predicted / 0.8 - 1, 2)):
        found = placed(qwen, load(8192, gpus=2), settings(), own_batch=False, limit_mib=int(limit))
        assert found.gpus == gpus
