"""The published tables that the planner is held to (docs/memory.md says what each of their cells means)."""

from __future__ import annotations

import pytest
from memory_models import model_of

from planning.memory import MIB, LlamaCppLoad, VllmLoad, kv_cache_bytes_per_token, llama_cpp_memory, vllm_memory
from planning.memory.gguf_weights import gguf_weights

GB, GIB = 10**9, 2**30

FILES_70B = {"F16": 140, "Q8_0": 70, "Q6_K": 54, "Q5_K_M": 48, "Q4_K_M": 40, "Q4_K_S": 38, "Q3_K_M": 30, "Q2_K": 24}
GPU_70B = {"F16": 140, "Q8_0": 74, "Q6_K": 58, "Q5_K_M": 52, "Q4_K_M": 44, "Q4_K_S": 42, "Q3_K_M": 34, "Q2_K": 28}
FILES_8B = {"F16": 16, "Q8_0": 8.5, "Q5_K_M": 5.7, "Q4_K_M": 4.9}
GPU_8B = {"F16": 17, "Q8_0": 10, "Q5_K_M": 7, "Q4_K_M": 6}


@pytest.mark.parametrize(("quantization", "published"), FILES_70B.items())
def test_files_of_70b(quantization: str, published: float) -> None:
    # In GiB, as file managers show it: in GB, Q3_K_M would be 34.3 and Q8_0, at 8.5 bits a weight, 75.
    assert gguf_weights(model_of("llama-3.1-70b", quantization)).file / GIB == pytest.approx(published, rel=0.07)


@pytest.mark.parametrize(("quantization", "published"), FILES_8B.items())
def test_files_of_8b(quantization: str, published: float) -> None:
    assert gguf_weights(model_of("llama-3.1-8b", quantization)).file / GB == pytest.approx(published, rel=0.01)


@pytest.mark.parametrize(
    ("architecture", "quantization", "published"),
    [
        *(("llama-3.1-70b", *cell) for cell in GPU_70B.items()),
        *(("llama-3.1-8b", *cell) for cell in GPU_8B.items()),
    ],
)
def test_gpu_memory_of_gguf_files_with_a_4k_context(architecture: str, quantization: str, published: float) -> None:
    found = llama_cpp_memory(
        model_of(architecture, quantization), LlamaCppLoad(context_tokens=4096), limit_mib=10**7
    ).gpu
    assert found.total_mib * MIB / GB == pytest.approx(published, rel=0.07)


@pytest.mark.parametrize(("quantization", "published"), [("bf16", 16), ("fp8", 9), ("awq", 5), ("gptq", 5)])
def test_weights_of_8b_under_vllm(quantization: str, published: float) -> None:
    # In GiB, as vLLM says them: AWQ's embedding and output layer stay in 16 bits, so its file has 5.7 GB.
    load = VllmLoad(max_model_len=4096, max_num_seqs=16, max_num_batched_tokens=2048)
    found = vllm_memory(model_of("llama-3.1-8b", quantization), load, limit_mib=80_000)
    assert found.gpu.weights_mib * MIB / GIB == pytest.approx(published, rel=0.07)
    assert 0.5 <= kv_cache_bytes_per_token(model_of("llama-3.1-8b")) * 4096 / GB <= 2


@pytest.mark.parametrize(("quantization", "published"), [("F16", 8), ("Q4_K_M", 2.5)])
def test_files_of_qwen3_4b(quantization: str, published: float) -> None:
    assert gguf_weights(model_of("qwen3-4b", quantization)).file / GB == pytest.approx(published, rel=0.01)
