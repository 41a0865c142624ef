"""Keys that are no settings: names from other engines and other tools are understood, and none is guessed wrongly."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from on_mocks import Raw
from test_settings import SMALLEST, problems

from planning.engine_flags import extra_arguments, flag_table
from settings.llamacpp import LlamaCppSettings
from settings.ollama import OllamaSettings
from settings.other_words import CONCEPTS, ENGINE_NAMES, concept_of
from settings.problems import did_you_mean, plain
from settings.shapes import fields
from settings.stack import ENGINES
from settings.tgi import TgiSettings
from settings.vllm import VllmSettings

MODELS: dict[str, Raw] = {
    "vllm": {"engine": "vllm", "model": "Qwen/Qwen2.5-7B-Instruct-AWQ"},
    "ollama": {"engine": "ollama", "pull": ["qwen3:4b"]},
    "llamacpp": {"engine": "llamacpp", "model": "Qwen/Qwen3-8B-GGUF:Q4_K_M"},
    "tgi": {"engine": "tgi", "model": "Qwen/Qwen2.5-7B-Instruct-AWQ"},
}
SETTINGS = {"vllm": VllmSettings, "ollama": OllamaSettings, "llamacpp": LlamaCppSettings, "tgi": TgiSettings}


def told(engine: str, key: str) -> str:
    """The one problem of a model of that engine with `key`."""
    [problem] = problems({**SMALLEST, "models": {"chat": {**MODELS[engine], key: 1}}})
    return problem.removeprefix(f"models.chat.{key}: there is no such setting")


@pytest.mark.parametrize(
    ("engine", "key", "expected"),
    [
        ("ollama", "maxModelLen", " of Ollama; it is vLLM's. Write contextLength."),
        ("vllm", "contextLength", " of vLLM; it is Ollama's and llama.cpp's. Write maxModelLen."),
        ("ollama", "model", " of Ollama; it is vLLM's and llama.cpp's and TGI's. Write pull: [<model>]."),
        ("ollama", "tensorParallel", " of Ollama; it is vLLM's. Write gpus."),
        ("vllm", "numParallel", " of vLLM; it is Ollama's. Write maxNumSeqs."),
        ("vllm", "parallel", " of vLLM; it is llama.cpp's. Write maxNumSeqs."),
        ("tgi", "autoscale", " of TGI; it is vLLM's. Only vLLM's servers follow the load: write replicas."),
        ("ollama", "trustRemoteCode", " of Ollama; it is vLLM's. Take it out."),
        ("vllm", "kv_cache", "; write kvCacheDtype."),
        ("vllm", "num_ctx", "; write maxModelLen."),
        ("ollama", "context_length", "; did you mean 'contextLength'?"),
        ("llamacpp", "n_ctx", "; write contextLength."),
        ("llamacpp", "ctx-size", "; write contextLength."),
        ("vllm", "max_seq_len", "; write maxModelLen."),
        ("vllm", "shm_size", "; write shm."),
        ("ollama", "shm-size", "; the engine needs no room in /dev/shm, so take it out."),
        ("ollama", "OLLAMA_KEEP_ALIVE", "; write keepAliveSeconds."),
        ("vllm", "env", "; write extraEnvironment."),
        ("vllm", "args", "; write extraArgs: {<flag>: <value>}."),
        ("vllm", "port", "; ports follow from the plan, and clients come in by ingress, so take it out."),
        ("ollama", "volumes", "; write storage."),
        ("vllm", "tp", "; write gpus."),
        ("llamacpp", "ngl", "; write gpuLayers."),
        ("llamacpp", "c", "; write contextLength."),
        (
            "vllm",
            "served-model-name",
            "; clients write the server's own name, so call the server in models that.",
        ),
        (
            "vllm",
            "hf_token",
            "; the token is the whole stack's: take it out here, and set it with `bin/pulumi config set --stack "
            "test --secret huggingFaceToken`.",
        ),
    ],
)
def test_a_name_from_elsewhere_is_told_with_the_setting_that_is_meant(engine: str, key: str, expected: str) -> None:
    assert told(engine, key) == expected


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("other", ENGINES)
def test_what_is_another_engines_is_never_guessed_by_its_letters(engine: str, other: str) -> None:
    for key in fields(SETTINGS[other]).keys() - fields(SETTINGS[engine]).keys():
        assert f"{ENGINE_NAMES[other]}'s" in told(engine, key)


def test_a_word_means_one_thing() -> None:
    words = Counter(plain(word) for concept in CONCEPTS for word in concept.words.split())
    assert [word for word, times in words.items() if times > 1] == []


@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_to_be_written_is_a_setting_of_the_engine(engine: str) -> None:
    known = set(fields(SETTINGS[engine]))
    for concept in CONCEPTS:
        written = re.split(r", | and ", concept.ours.get(engine, "gpus").partition(":")[0])
        assert set(written) <= known


def test_the_engines_are_those_of_the_settings() -> None:
    assert tuple(ENGINE_NAMES) == ENGINES
    assert concept_of("nothing-of-the-kind") is None


@pytest.mark.parametrize(
    ("word", "known", "expected"),
    [
        ("a100", ["a10", "a100-80gb", "a100-40gb", "h100-pcie"], "; did you mean 'a100-40gb' or 'a100-80gb'?"),
        ("a10", ["a10", "a10-24gb"], "; did you mean 'a10'?"),
        ("gpu_share", ["gpus", "gpuShare"], "; did you mean 'gpuShare'?"),
        ("replica", ["replicas"], "; did you mean 'replicas'?"),
        ("sglang", ["vllm", "ollama"], ""),
    ],
)
def test_a_name_cut_short_is_told_with_all_that_it_can_be(word: str, known: list[str], expected: str) -> None:
    assert did_you_mean(word, known) == expected


def test_no_flag_is_proposed_that_would_be_refused() -> None:
    found: list[str] = []
    refused = {"--host": "is the plan's."}
    extra_arguments("x", {"hostt": "y"}, flag_table("llama-server"), settings={}, refused=refused, problems=found)
    [problem] = found
    assert "'host'" not in problem


def test_a_variable_is_not_like_another_by_the_prefix_that_all_have() -> None:
    model = {**MODELS["ollama"], "extraEnvironment": {"OLLAMA_FOO": "1"}}
    [problem] = problems({**SMALLEST, "models": {"chat": model}})
    assert "did you mean" not in problem
