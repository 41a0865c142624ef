"""GPU memory: the published figures, what fits, and shares of one card."""

from __future__ import annotations

import pytest
from on_mocks import Raw
from small_stacks import AWQ, LLAMA_8B, LLAMA_70B, node, planned, problems, vllm, vllm_plan

from planning.catalogue import language_models
from planning.memory import MIB, VllmLoad, VllmMemory, kv_cache_bytes_per_token, vllm_memory
from planning.vllm import VllmPlan

GIB = 1024 * MIB


def memory_of(model: str, *, limit_mib: int, gpus: int = 1) -> VllmMemory:
    load = VllmLoad(max_model_len=4096, max_num_seqs=128, max_num_batched_tokens=8192, tensor_parallel=gpus)
    return vllm_memory(language_models()[model], load, limit_mib=limit_mib)


@pytest.mark.parametrize(
    ("model", "published_gb"),
    [(LLAMA_8B, 16), (LLAMA_70B, 140), ("qwen3:4b", 2.5), ("Qwen/Qwen2.5-7B-Instruct", 15.2), (AWQ, 5.6)],
)
def test_weights_take_what_is_published(model: str, published_gb: float) -> None:
    weights = memory_of(model, limit_mib=10**9).gpu.weights_mib * MIB / 10**9
    assert weights == pytest.approx(published_gb, rel=0.02)


@pytest.mark.parametrize("name", language_models())
def test_memory_of_a_gpu_is_its_parts(name: str) -> None:
    model = language_models()[name]
    for gpus in (1, 2, 4):
        memory = memory_of(name, gpus=gpus, limit_mib=70_000).gpu
        # What every GPU has whole (norms, routers, vision towers, heads beyond the last) comes on top of an equal part,
        # and so does what is made of the weights (MLA's halves, padded MXFP4).
        assert model.files_bytes * 0.99 <= memory.weights_mib * gpus * MIB
        assert memory.weights_mib * MIB <= model.files_bytes / gpus * 1.09 + 2 * GIB
        assert memory.kv_cache_mib >= 0
        assert memory.kv_cache_mib == 0 or memory.total_mib == memory.limit_mib


@pytest.mark.parametrize("name", [LLAMA_8B, LLAMA_70B, "qwen3:4b"])
def test_a_4k_context_takes_the_published_half_to_two_gb(name: str) -> None:
    assert 0.5 <= kv_cache_bytes_per_token(language_models()[name]) * 4096 / 10**9 <= 2


def test_latent_attention_keeps_one_vector_a_token_whole_on_every_gpu() -> None:
    deepseek = language_models()["deepseek-ai/DeepSeek-V3-0324"]
    assert kv_cache_bytes_per_token(deepseek) == 61 * (512 + 64) * 2
    memory = memory_of(deepseek.name, gpus=8, limit_mib=130_000)
    blocks = memory.gpu.kv_cache_mib * MIB // (16 * 61 * 576 * 2)
    assert memory.largest_context == (blocks - 1) * 16


def test_layers_of_linear_attention_keep_nothing_that_grows() -> None:
    assert kv_cache_bytes_per_token(language_models()["Qwen/Qwen3.5-9B"]) == 2 * 8 * 4 * 256 * 2
    assert kv_cache_bytes_per_token(language_models()["BAAI/bge-m3"]) == 0


def test_an_encoder_has_no_requests_to_count() -> None:
    server = vllm_plan({"a": node()}, model="BAAI/bge-m3", maxModelLen=8192)
    assert server.memory is not None
    assert server.concurrent_full_length_requests is None


def test_tokens_of_the_kv_cache() -> None:
    llama = language_models()[LLAMA_8B]
    assert kv_cache_bytes_per_token(llama) == 2 * 32 * 8 * 128 * 2
    tokens = {}
    for gpus in (1, 4, 8, 16):
        free = memory_of(LLAMA_8B, gpus=gpus, limit_mib=10**6).gpu
        memory = memory_of(LLAMA_8B, gpus=gpus, limit_mib=free.weights_mib + free.other_mib + 1000)
        assert memory.gpu.kv_cache_mib == 1000
        tokens[gpus] = memory.largest_context
    # Beyond its 8 KV heads each GPU holds a copy of one: more GPUs have no room for more tokens. One block of 16 tokens
    # is never given away.
    assert tokens == {1: 8000 - 16, 4: 32000 - 16, 8: 64000 - 16, 16: 64000 - 16}


@pytest.mark.parametrize(
    ("gpu", "model", "gpus", "fits"),
    [
        ("rtx-4060-ti-16gb", AWQ, 1, True),
        ("rtx-4060-ti-16gb", LLAMA_8B, 1, False),
        ("rtx-4090", LLAMA_8B, 1, True),
        ("a100-80gb", LLAMA_70B, 1, False),
        ("a100-80gb", LLAMA_70B, 2, True),
        ("rtx-4090", LLAMA_70B, 4, False),
        ("rtx-4090", LLAMA_70B, 8, True),
    ],
)
def test_what_fits(gpu: str, model: str, gpus: int, fits: bool) -> None:
    nodes, models = {"a": node(gpu, 8)}, {"chat": vllm(model, gpus=gpus)}
    if fits:
        server = planned(nodes, models).servers["chat"]
        assert isinstance(server, VllmPlan)
        assert server.concurrent_full_length_requests is not None
        assert server.concurrent_full_length_requests >= 1
    else:
        assert [line.split(" ")[1] for line in problems(nodes, models)] == ["weights"]


def test_weights_that_exceed_the_card_are_told_with_both_numbers() -> None:
    assert problems({"a": node("rtx-3090")}, {"chat": vllm(LLAMA_70B)}) == [
        "models.chat: weights 134564 MiB and 4040 MiB of buffers exceed the 22118 MiB that it may take of each GPU, so "
        "it would run out of memory while it loads. Write gpus: 8 (a node with 8 such GPUs is needed)."
    ]


def test_a_context_without_room_is_told_with_the_largest_that_has() -> None:
    nodes = {"a": node("rtx-4090")}
    [told] = problems(nodes, {"chat": vllm(LLAMA_8B, maxModelLen=100_000)})
    assert told == (
        "models.chat.maxModelLen: a context of 100000 tokens needs more KV cache than the 4509 MiB that weights leave, "
        "so vLLM would refuse to start. Write 36048 or less, or gpus: 2 (a node with 2 such GPUs is "
        "needed), or take "
        "hugging-quants/Meta-Llama-3.1-8B-Instruct-GPTQ-INT4 (gptq, 5 GiB)."
    )
    assert vllm_plan(nodes, model=LLAMA_8B, maxModelLen=36048).concurrent_full_length_requests == 1
    assert problems(nodes, {"chat": vllm(LLAMA_8B, maxModelLen=36049)})


def test_no_more_requests_run_at_once_than_vllm_takes_up() -> None:
    """The cache of an H200 has room for more short requests than the profile's sequences."""
    nodes = {"a": node("h200")}
    few = vllm_plan(nodes, model=LLAMA_8B, profile="latency")
    assert few.cached_full_length_requests is not None
    assert few.cached_full_length_requests > few.max_num_seqs == few.concurrent_full_length_requests == 16
    queued = vllm_plan(nodes, model=LLAMA_8B, profile="latency", maxNumQueuedReqs=9)
    assert queued.concurrent_full_length_requests == 9
    wide = vllm_plan(nodes, model=LLAMA_8B, maxModelLen=131072)
    assert wide.concurrent_full_length_requests == wide.cached_full_length_requests != wide.max_num_seqs


def test_a_context_beyond_the_models_own_is_told() -> None:
    [told] = problems({"a": node("a100-80gb")}, {"chat": vllm(maxModelLen=32769)})
    assert told.startswith(
        f"models.chat.maxModelLen: 32769 tokens, but {AWQ} was made for 32768, so vLLM would refuse to start. Write "
        "32768 or less"
    )


def test_nothing_is_claimed_of_a_model_that_the_catalogue_does_not_know() -> None:
    server = vllm_plan({"a": node()}, model="someone/unknown")
    assert (server.memory, server.concurrent_full_length_requests) == (None, None)


@pytest.mark.parametrize(
    ("slices", "settings_", "utilization"),
    [
        (1, {}, "0.9"),
        (2, {}, "0.45"),
        (2, {"gpuShare": 0.5}, "0.45"),
        (2, {"gpuShare": 0.4, "gpuMemoryUtilization": 0.88}, "0.352"),
        (1, {"gpuShare": 0.5}, "0.45"),
    ],
)
def test_a_server_takes_no_more_than_its_share(slices: int, settings_: Raw, utilization: str) -> None:
    arguments = vllm_plan({"a": node("a100-80gb", slices=slices)}, **settings_).arguments
    assert f"--gpu-memory-utilization={utilization}" in arguments


def test_driver_and_nccl_of_wsl2_are_set_on_its_nodes_alone() -> None:
    names = {"LD_LIBRARY_PATH", "NCCL_P2P_DISABLE", "NCCL_CUMEM_HOST_ENABLE", "NCCL_NVLS_ENABLE"}
    wsl2, native = vllm_plan({"a": node(platform="wsl2")}), vllm_plan({"a": node()})
    assert names <= set(wsl2.environment)
    assert wsl2.environment["LD_LIBRARY_PATH"].split(":")[0] == "/usr/lib/wsl/lib"
    assert not names & set(native.environment)
    assert ("--enforce-eager" in wsl2.arguments, "--enforce-eager" in native.arguments) == (True, False)
