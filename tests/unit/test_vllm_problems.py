"""What vLLM would refuse is told before a pod is started: with path, value, consequence and repair."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from on_mocks import Raw, settings_of
from small_stacks import AWQ, LLAMA_8B, LLAMA_70B, planned

from planning.plan import plan
from planning.problems import PlanError
from settings.problems import SettingsError

CASES: list[Raw] = yaml.safe_load(Path(__file__).with_name("vllm_problems.yaml").read_text())


def stack(settings: Raw, **gpu: object) -> Raw:
    return {
        "nodes": {"a": {"gpus": {"model": "rtx-4090", "count": 4, **gpu}}},
        "models": {"chat": {"engine": "vllm", "model": AWQ, **settings}},
    }


def problems(settings: Raw, **gpu: object) -> list[str]:
    """What is told of one server; empty where it can be planned."""
    try:
        plan(settings_of(stack(settings, **gpu)))
    except (SettingsError, PlanError) as error:
        return list(error.problems)
    return []


def warnings(settings: Raw, **gpu: object) -> list[str]:
    raw = stack(settings, **gpu)
    return [told for told in planned(raw["nodes"], raw["models"]).warnings if " gated" not in told]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["told"][:60])
def test_a_problem_is_told_with_path_value_consequence_and_repair(case: Raw) -> None:
    assert case["told"] in problems(case["vllm"], **case.get("gpu", {}))


def test_all_problems_of_a_server_are_told_at_once() -> None:
    told = problems(
        {"gpus": 3, "toolCallParser": "x", "extraArgs": {"a": 1, "b": 2}, "extraEnvironment": {"HF_HOME": ""}}
    )
    assert [line.partition(":")[0] for line in told] == [
        "models.chat.toolCallParser",
        "models.chat.gpus",
        "models.chat.extraEnvironment.HF_HOME",
        "models.chat.extraArgs.a",
        "models.chat.extraArgs.b",
    ]


@pytest.mark.parametrize(
    ("settings", "gpu"),
    [
        ({"kvCacheDtype": "fp8"}, "a100-80gb"),  # FlashInfer reads it from 8.0 on
        ({"kvCacheDtype": "fp8", "attentionBackend": "FLASHINFER"}, "a100-80gb"),
        ({"kvCacheDtype": "fp8", "attentionBackend": "TRITON_ATTN"}, "rtx-4090"),
        ({"model": "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8"}, "a100-80gb"),  # Marlin, weights alone
        ({"model": LLAMA_8B, "quantization": "fp8_per_block"}, "a100-80gb"),
        ({"dtype": "float16"}, "t4"),
        ({"quantization": "awq_marlin"}, "rtx-4090"),
        ({"maxModelLen": 40000, "hfOverrides": {"rope_parameters": {"rope_type": "yarn", "factor": 4}}}, "a100-80gb"),
        ({"maxModelLen": 40000, "extraEnvironment": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}}, "a100-80gb"),
        ({"image": "docker.io/vllm/vllm-openai:v0.34.0", "extraArgs": {"brand-new": 1}}, "rtx-4090"),
        ({"model": "Qwen/Qwen3.5-9B", "speculative": {"method": "mtp", "numSpeculativeTokens": 2}}, "a100-80gb"),
        ({"model": "owner/unknown", "speculative": {"method": "mtp", "numSpeculativeTokens": 2}}, "a100-80gb"),
        (
            {
                "model": LLAMA_8B,
                "speculative": {
                    "method": "draft_model",
                    "model": "meta-llama/Llama-3.2-1B-Instruct",
                    "numSpeculativeTokens": 2,
                },
            },
            "a100-80gb",
        ),
    ],
)
def test_what_vllm_takes_is_no_problem(settings: Raw, gpu: str) -> None:
    assert problems(settings, model=gpu) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"gpuMemoryUtilization": 0.94},
            "models.chat.gpuMemoryUtilization: 0.94 leaves little beside: 0.88 to 0.92 is",
        ),
        (
            {"trustRemoteCode": True},
            f"models.chat.trustRemoteCode: the pod runs code of {AWQ}, whoever changes it. Pin",
        ),
        (
            {"trustRemoteCode": True, "revision": "abc"},
            f"models.chat.trustRemoteCode: the pod runs code of {AWQ}, whoever",
        ),
        (
            {"image": "docker.io/vllm/vllm-openai:v0.34.0", "extraArgs": {"brand-new": 1}},
            "models.chat.image: docker.io/vllm/vllm-openai:v0.34.0 is vLLM 0.34.0, and flags, parsers and memory are "
            "known of 0.33.0 alone: what the plan writes is not checked against it",
        ),
        (
            # Without a setting of which this release would know: the plan's own flags are enough to refuse to start.
            {"image": "docker.io/vllm/vllm-openai:v0.16.0"},
            "models.chat.image: docker.io/vllm/vllm-openai:v0.16.0 is vLLM 0.16.0, and flags",
        ),
        (
            {"image": "docker.io/vllm/vllm-openai@sha256:" + 64 * "0"},
            f"models.chat.image: docker.io/vllm/vllm-openai@sha256:{64 * '0'} does not say which release of vLLM it",
        ),
        (
            {"loraAdapters": {"legal": {"source": "a/b"}}, "maxLoras": 4},
            "models.chat.maxLoras: 4 for 1 adapters: the rest takes GPU memory for nothing. Write 1, or leave it out.",
        ),
        (
            {"speculative": {"method": "draft_model", "model": "a/b", "numSpeculativeTokens": 2}},
            "models.chat.speculative.model: a/b is not in the catalogue, so what it takes of the GPU is not counted",
        ),
        (
            {"speculative": {"method": "eagle3", "model": "a/b", "numSpeculativeTokens": 2}},
            "models.chat.speculative.model: a/b is not in the catalogue, so what it takes of the GPU is not counted.",
        ),
        (
            {"maxNumQueuedReqs": 100},
            "models.chat.maxNumQueuedReqs: 100 counts requests that run too, so of the 128 sequences that may run at "
            "once (maxNumSeqs) 28 never do. Write more than 128, or maxNumSeqs: 100.",
        ),
        (
            {"extraArgs": {"cpu-offload-gb": 4}},
            "models.chat.extraArgs.cpu-offload-gb: changes what is kept in which memory, which the plan does not count",
        ),
        (
            {"model": "Qwen/Qwen3-4B", "quantization": "fp8"},
            "models.chat.quantization: fp8 is the old name of what is made of 16-bit weights",
        ),
    ],
)
def test_what_may_do_harm_is_warned_of(settings: Raw, told: str) -> None:
    [found] = warnings(settings, count=1)
    assert found.startswith(told)


@pytest.mark.parametrize(
    ("settings", "gpu", "key"),
    [
        ({"model": LLAMA_8B, "gpuShare": 0.5, "maxModelLen": 4096}, {}, "gpuShare"),
        ({"model": LLAMA_8B, "maxModelLen": 4096}, {"timeSlices": 2, "count": 1}, "gpuShare"),
        ({"model": LLAMA_8B, "gpuShare": 0.8, "maxModelLen": 8192}, {}, "gpuShare"),
        ({"model": LLAMA_8B, "maxModelLen": 60_000}, {}, "kvCacheDtype"),
        ({"model": LLAMA_8B, "maxModelLen": 100_000}, {}, "gpus"),
    ],
)
def test_each_repair_of_what_does_not_fit_can_be_made(settings: Raw, gpu: Raw, key: str) -> None:
    """Settings and placement refuse several GPUs of which each is shared, so there a larger share is offered."""
    [told] = problems(settings, **gpu)
    offered = dict(re.findall(r"(gpuShare|kvCacheDtype|gpus): ([\w.]+)", told.split(". Write ")[1]))
    assert key in offered
    assert ("gpus" in offered) != ("gpuShare" in offered)
    for name, value in offered.items():
        repaired = {**settings, name: yaml.safe_load(value)}
        assert problems(repaired, **gpu) == []
        if name == "gpuShare":
            assert problems({**repaired, name: round(float(value) - 0.01, 2)}, **gpu), "the smallest"


def test_where_all_of_a_shared_gpu_is_too_little_no_share_of_it_is_offered() -> None:
    [told] = problems({"model": LLAMA_70B}, timeSlices=2)
    assert told.endswith(
        "so it would run out of memory while it loads. Choose a model with smaller weights, or larger GPUs."
    )


@pytest.mark.parametrize(
    ("settings", "repair"),
    [
        # Within what the model was made for, although the cache has room for more.
        ({"maxModelLen": 200_000}, "Write 32768 or less, or kvCacheDtype: fp8, or gpus: 2."),
        ({"maxModelLen": 500_000, "kvCacheDtype": "fp8"}, "Write 32768 or less, or gpus: 2."),
        ({"maxModelLen": 200_000, "attentionBackend": "TRITON_ATTN"}, "Write 32768 or less, or kvCacheDtype: fp8, or"),
    ],
)
def test_every_way_to_a_larger_context_is_offered(settings: Raw, repair: str) -> None:
    [_, told] = problems(settings, model="rtx-4060-ti-16gb")
    assert repair in told


def test_a_cache_in_fp8_is_offered_where_it_is_read_alone() -> None:
    longer: Raw = {"model": LLAMA_8B, "maxModelLen": 60_000, "attentionBackend": "TRITON_ATTN"}
    assert "kvCacheDtype" in problems(longer)[0]
    assert "kvCacheDtype" not in problems(longer, model="rtx-3090")[0]
    assert "kvCacheDtype" in problems({**longer, "attentionBackend": "FLASHINFER"}, model="rtx-3090")[0]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"model": "Qwen/Qwen3-14B", "extraArgs": {"cpu-offload-gb": 12}}, "models.chat: weights "),
        ({"model": "Qwen/Qwen3-14B", "extraArgs": {"offload-group-size": 4}}, "models.chat: weights "),
        (
            {"maxModelLen": 32768, "model": "Qwen/Qwen3-8B", "extraArgs": {"kv-cache-memory-bytes": "9G"}},
            "models.chat.max",
        ),
    ],
)
def test_what_a_flag_may_make_fit_is_a_warning(settings: Raw, told: str) -> None:
    [flag] = settings["extraArgs"]
    found = warnings(settings, count=1)
    assert any(line.startswith(f"models.chat.extraArgs.{flag}: changes what is kept in which memory") for line in found)
    [fit] = [line for line in found if line.startswith(told)]
    assert f", unless extraArgs.{flag}, which is not counted, leaves enough. " in fit
    for without in ({}, {flag: 0}, {"enable-sleep-mode": True}):
        assert problems({**settings, "extraArgs": without}, count=1)


def test_a_safe_utilization_is_not_warned_of() -> None:
    assert warnings({"gpuMemoryUtilization": 0.92}, count=1) == []
