"""What a vLLM server's settings come to: command line, environment, memory, names."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from on_mocks import Raw, raw_of
from small_stacks import AWQ, LLAMA_8B, node, planned, vllm, vllm_plan

from planning.catalogue import gpu_models
from planning.vllm import VllmPlan
from planning.vllm_batching import PROFILES, default_batched_tokens
from planning.vllm_release import release, version_of
from settings.vllm import VllmSettings
from toolchain.paths import REPOSITORY

POOL = {"a": node("h200", 8)}
BASE = vllm_plan(POOL, model=LLAMA_8B)


def added(**settings: object) -> set[str]:
    """Arguments that come by `settings`."""
    return set(vllm_plan(POOL, model=LLAMA_8B, **settings).arguments) - set(BASE.arguments)


@pytest.mark.parametrize(
    ("settings", "arguments"),
    [
        ({"gpus": 4, "pipelineParallel": 2}, {"--tensor-parallel-size=2", "--pipeline-parallel-size=2"}),
        ({"gpus": 4}, {"--tensor-parallel-size=4"}),
        ({"maxNumSeqs": 7}, {"--max-num-seqs=7"}),
        ({"maxNumBatchedTokens": 9000}, {"--max-num-batched-tokens=9000"}),
        ({"maxNumSeqs": 9000}, {"--max-num-seqs=9000", "--max-num-batched-tokens=9000"}),
        ({"maxNumQueuedReqs": 500}, {"--max-num-queued-reqs=500"}),
        ({"prefixCaching": True}, {"--enable-prefix-caching"}),
        ({"prefixCaching": False}, {"--no-enable-prefix-caching"}),
        ({"chunkedPrefill": False}, {"--no-enable-chunked-prefill"}),
        ({"attentionBackend": "FLASHINFER"}, {"--attention-backend=FLASHINFER"}),
        ({"dtype": "float16"}, {"--dtype=float16"}),
        ({"quantization": "fp8_per_tensor"}, {"--quantization=fp8_per_tensor"}),
        ({"kvCacheDtype": "fp8"}, {"--kv-cache-dtype=fp8"}),
        (
            {"loraAdapters": {"legal": {"source": "a/b", "rank": 20}, "own": {"source": "/cache/own"}}},
            {"--enable-lora", "--max-loras=2", "--max-lora-rank=32", "--lora-modules", "legal=a/b", "own=/cache/own"},
        ),
        (
            {"loraAdapters": {"legal": {"source": "a/b"}, "own": {"source": "a/c"}}, "maxLoras": 1},
            {"--enable-lora", "--max-loras=1", "--max-lora-rank=16", "--lora-modules", "legal=a/b", "own=a/c"},
        ),
        (
            {"speculative": {"method": "ngram", "numSpeculativeTokens": 4, "promptLookupMax": 3}},
            {'--speculative-config={"method":"ngram","num_speculative_tokens":4,"prompt_lookup_max":3}'},
        ),
        (
            {"speculative": {"method": "eagle3", "model": "a/b", "numSpeculativeTokens": 2, "draftTensorParallel": 1}},
            {
                '--speculative-config={"method":"eagle3","model":"a/b","num_speculative_tokens":2,'
                '"draft_tensor_parallel_size":1}'
            },
        ),
        (
            {"structuredOutputs": {"backend": "guidance", "disableAnyWhitespace": True}},
            {'--structured-outputs-config={"backend":"guidance","disable_any_whitespace":true}'},
        ),
        ({"toolCallParser": "llama3_json"}, {"--enable-auto-tool-choice", "--tool-call-parser=llama3_json"}),
        ({"reasoningParser": "qwen3"}, {"--reasoning-parser=qwen3"}),
        ({"chatTemplate": "{{ messages }}"}, {"--chat-template={{ messages }}"}),
        ({"runner": "pooling"}, {"--runner=pooling"}),
        ({"trustRemoteCode": True, "revision": "abc"}, {"--trust-remote-code", "--revision=abc"}),
        ({"hfOverrides": {"rope_parameters": {"factor": 2.0}}}, {'--hf-overrides={"rope_parameters":{"factor":2.0}}'}),
        ({"seed": 0}, {"--seed=0"}),
        ({"extraArgs": {"max-cudagraph-capture-size": 512}}, {"--max-cudagraph-capture-size=512"}),
        ({"extraArgs": {"enable-expert-parallel": True}}, {"--enable-expert-parallel"}),
        ({"extraArgs": {"enable-expert-parallel": False}}, {"--disable-expert-parallel"}),
        ({"extraArgs": {"disable-cascade-attn": False}}, {"--enable-cascade-attn"}),
        ({"extraArgs": {"async-scheduling": False}}, {"--no-async-scheduling"}),
        ({"extraArgs": {"limit-mm-per-prompt": {"image": 2}}}, {'--limit-mm-per-prompt={"image":2}'}),
        ({"extraArgs": {"logits-processors": ["a.B", "c.D"]}}, {"--logits-processors", "a.B", "c.D"}),
        ({"extraArgs": {"max-num-scheduled-tokens": "8k"}}, {"--max-num-scheduled-tokens=8k"}),
    ],
    ids=lambda case: str(sorted(case) if isinstance(case, set) else case),
)
def test_each_setting_is_its_argument(settings: Raw, arguments: set[str]) -> None:
    assert added(**settings) == arguments


def test_the_model_is_first_whatever_is_written() -> None:
    found = vllm_plan(
        POOL, model=LLAMA_8B, loraAdapters={"a": {"source": "a/b"}}, extraArgs={"seed-x": 1}, image="x:v9.9.9"
    )
    assert found.arguments[0] == LLAMA_8B


def test_what_takes_several_values_swallows_nothing_else() -> None:
    arguments = vllm_plan(
        POOL, model=LLAMA_8B, loraAdapters={"a": {"source": "a/b"}}, extraArgs={"logits-processors": ["x.Y"]}
    ).arguments
    follows = {
        flag: value for flag, value in pairwise(arguments) if flag.startswith("--") and not value.startswith("--")
    }
    assert follows == {"--lora-modules": "a=a/b", "--logits-processors": "x.Y"}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_is_what_the_mission_says_and_gives_way_to_what_is_written(profile: str) -> None:
    found = vllm_plan(POOL, model=LLAMA_8B, profile=profile)
    values = PROFILES[profile]  # type: ignore[index]  # a profile's name, as the parametrization takes it
    assert found.max_model_len == values.max_model_len
    assert f"--max-num-seqs={values.max_num_seqs}" in found.arguments
    written = vllm_plan(POOL, model=LLAMA_8B, profile=profile, maxModelLen=1000, maxNumSeqs=5, maxNumBatchedTokens=600)
    assert written.max_model_len == 1000
    assert {"--max-num-seqs=5", "--max-num-batched-tokens=600"} <= set(written.arguments)


def test_a_profile_asks_no_longer_context_than_the_model_has() -> None:
    assert vllm_plan(POOL, model="BAAI/bge-m3", profile="longContext").max_model_len == 8192


def test_an_embedding_model_is_run_as_one() -> None:
    assert "--runner=pooling" in vllm_plan(POOL, model="BAAI/bge-m3").arguments
    assert "--runner=generate" in vllm_plan(POOL, model="BAAI/bge-m3", runner="generate").arguments


def test_clients_may_name_the_server_and_its_adapters() -> None:
    assert BASE.served_names == ("chat",)
    found = vllm_plan(POOL, model=LLAMA_8B, loraAdapters={"legal": {"source": "a/b"}, "tax": {"source": "a/c"}})
    assert found.served_names == ("chat", "legal", "tax")


def kv_cache(**settings: object) -> int:
    found = vllm_plan(POOL, model=LLAMA_8B, **settings)
    assert found.memory is not None
    return found.memory.kv_cache_mib


def test_adapters_a_draft_and_larger_batches_leave_less_for_the_cache() -> None:
    assert kv_cache(loraAdapters={"a": {"source": "a/b", "rank": 64}}) < kv_cache()
    draft = {"method": "draft_model", "model": "meta-llama/Llama-3.2-1B-Instruct", "numSpeculativeTokens": 4}
    assert kv_cache(speculative=draft) < kv_cache()
    assert kv_cache(quantization="fp8_per_tensor") > kv_cache()
    assert kv_cache(dtype="float32") < kv_cache()


def test_a_smaller_type_of_the_cache_has_room_for_more_requests() -> None:
    def room(dtype: str) -> int:
        return vllm_plan(POOL, model=LLAMA_8B, kvCacheDtype=dtype).cached_full_length_requests or 0

    assert room("nvfp4") > room("fp8") > room("fp8_per_token_head") > room("auto") == room("bfloat16")
    assert room("fp8") == pytest.approx(2 * room("auto"), abs=1)


def test_a_draft_model_is_downloaded_too() -> None:
    draft = {"method": "draft_model", "model": "meta-llama/Llama-3.2-1B-Instruct", "numSpeculativeTokens": 4}
    found = vllm_plan(POOL, model=LLAMA_8B, speculative=draft)
    assert found.cache_bytes > BASE.cache_bytes
    assert found.startup.budget_seconds > BASE.startup.budget_seconds


def test_extra_environment_stands_beside_the_plans_own() -> None:
    found = vllm_plan(POOL, model=LLAMA_8B, extraEnvironment={"VLLM_LOGGING_LEVEL": "DEBUG", "NCCL_DEBUG": "INFO"})
    assert found.environment == BASE.environment | {"VLLM_LOGGING_LEVEL": "DEBUG", "NCCL_DEBUG": "INFO"}


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("docker.io/vllm/vllm-openai:v0.33.0", "0.33.0"),
        ("registry.lan:5000/vllm/vllm-openai:v0.33.0-cu129", "0.33.0"),
        ("docker.io/vllm/vllm-openai:v0.33.0@sha256:" + "0" * 64, "0.33.0"),
        ("docker.io/vllm/vllm-openai:latest", None),
        ("docker.io/vllm/vllm-openai@sha256:" + "0" * 64, None),
        ("registry.lan:5000/vllm", None),
    ],
)
def test_a_release_is_known_by_the_tag_of_its_image(image: str, version: str | None) -> None:
    assert version_of(image) == version


def test_the_release_that_is_known_is_the_one_that_is_run() -> None:
    assert version_of(VllmSettings.model_fields["image"].default) == release().version


@pytest.mark.parametrize(
    ("gpu", "tokens"), [("rtx-4090", 2048), ("a100-80gb", 2048), ("h100-80gb", 8192), ("h200", 8192), ("b200", 16384)]
)
def test_batched_tokens_that_vllm_takes_by_itself(gpu: str, tokens: int) -> None:
    assert default_batched_tokens(gpu_models()[gpu]) == tokens


# --- tracing ---

DEV = raw_of(REPOSITORY / "Pulumi.dev.yaml")


def traced(**tracing: object) -> VllmPlan:
    settings = {"endpoint": "http://otel-collector.observability:4317", **tracing}
    found = planned({"a": node()}, {"chat": vllm(AWQ)}, tracing=settings).servers["chat"]
    assert isinstance(found, VllmPlan)
    return found


def test_traces_go_where_the_stack_says() -> None:
    found = traced(sampleRatio=0.25)
    assert "--otlp-traces-endpoint=http://otel-collector.observability:4317" in found.arguments
    assert {name: value for name, value in found.environment.items() if name.startswith("OTEL_")} == {
        "OTEL_SERVICE_NAME": "chat",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc",
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.25",
    }


def test_without_tracing_there_is_none() -> None:
    assert "otlp" not in json.dumps(BASE.arguments)
    assert "OTEL" not in json.dumps(BASE.environment)


def test_an_engine_that_sends_no_traces_is_warned_of() -> None:
    tracing = {"endpoint": "http://otel:4317"}
    told = planned(DEV["nodes"], DEV["models"], tracing=tracing).warnings
    assert [line.partition(",")[0] for line in told if "traces" in line] == [
        "models.assistant.engine: is not made to send traces"
    ]
