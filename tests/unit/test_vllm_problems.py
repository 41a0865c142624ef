"""What vLLM would refuse is told before a pod is started: with path, value, consequence and repair."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from on_mocks import Raw, settings_of
from small_stacks import AWQ, LLAMA_8B, planned

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
            "models.chat.extraArgs: docker.io/vllm/vllm-openai:v0.34.0 is another release of vLLM than the one whose",
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


def test_a_safe_utilization_is_not_warned_of() -> None:
    assert warnings({"gpuMemoryUtilization": 0.92}, count=1) == []
