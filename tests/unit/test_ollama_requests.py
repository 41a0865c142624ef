"""How many requests Ollama answers at once: one with some architectures, whatever is asked for."""

from __future__ import annotations

import pytest
from small_stacks import node, planned

from planning.catalogue import architectures, gguf_model, language_models
from planning.ollama import OllamaPlan
from planning.ollama_memory import is_serial
from planning.plan import Plan

ONE = ("qwen3-vl-", "qwen3.5-", "qwen3-next-")
QWEN, SERIAL, EMBEDDING = "qwen3:4b", "qwen3.5:9b", "nomic-embed-text"


def stack(*models: str, **settings: object) -> tuple[OllamaPlan, Plan]:
    server = {"engine": "ollama", "pull": list(models), "contextLength": 4096, **settings}
    found = planned({"a": node("a100-80gb")}, {"help": server})
    plan = found.servers["help"]
    assert isinstance(plan, OllamaPlan)
    return plan, found


def told(around: Plan) -> list[str]:
    return [line for line in around.warnings if "numParallel" in line]


def test_rows_of_the_catalogue_are_known_by_their_architecture() -> None:
    serial = {model.base for model in language_models().values() if is_serial(model) and not model.is_embedding}
    named = {row for row in architectures() if row.startswith(ONE)}
    assert serial == named & {model.base for model in language_models().values()}
    assert serial


@pytest.mark.parametrize("name", ["qwen3:4b", "qwen3:30b", "gemma3:27b", "llama3.1:8b", "gpt-oss:20b", "qwen2.5:14b"])
def test_others_answer_as_many_as_is_asked_for(name: str) -> None:
    model = gguf_model(name)
    assert model is not None
    assert not is_serial(model)
    assert stack(name, numParallel=4)[0].concurrent_full_length_requests == 4


@pytest.mark.parametrize("name", [SERIAL, "qwen3-vl:8b", "hf.co/unsloth/Qwen3.5-9B-GGUF:Q4_K_M"])
def test_some_answer_one_at_a_time_and_take_the_memory_of_one(name: str) -> None:
    four, around = stack(name, numParallel=4)
    one, without = stack(name)
    assert (four.concurrent_full_length_requests, four.loads) == (1, one.loads)
    assert told(around) == [
        f"models.help.numParallel: 4, but Ollama answers one request at a time with {name}, so all others wait. Leave "
        "it out, or serve them with vllm or llamacpp."
    ]
    assert told(without) == []


def test_models_for_embeddings_are_told_of_only_alone() -> None:
    alone, around = stack(EMBEDDING, numParallel=4)
    assert alone.concurrent_full_length_requests == 1
    assert len(told(around)) == 1
    beside, around = stack(EMBEDDING, QWEN, numParallel=4)
    assert (beside.concurrent_full_length_requests, told(around)) == (4, [])


def test_the_least_is_promised_of_several() -> None:
    plan, around = stack(QWEN, SERIAL, numParallel=4)
    assert plan.concurrent_full_length_requests == 1
    assert plan.loads[QWEN].gpu.kv_cache_mib == stack(QWEN, numParallel=4)[0].loads[QWEN].gpu.kv_cache_mib
    assert len(told(around)) == 1
