"""What holds of memory whatever the model and however it is loaded."""

from __future__ import annotations

import dataclasses
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from memory_models import model_of

from planning.catalogue import LanguageModel, Quantization, architectures, language_models
from planning.memory import LlamaCppLoad, VllmLoad, llama_cpp_memory, vllm_memory
from planning.memory.gguf_weights import gguf_weights
from planning.memory.layers import layers_of

NAMES = sorted(architectures())
LIMITS = st.integers(1_000, 200_000)
GGUF = [q for q in Quantization if q.is_gguf]

models = st.builds(model_of, st.sampled_from(NAMES), st.sampled_from(list(Quantization)))
gguf_models = st.builds(model_of, st.sampled_from(NAMES), st.sampled_from(GGUF))
vllm_loads = st.builds(
    VllmLoad,
    max_model_len=st.integers(1, 200_000),
    max_num_seqs=st.integers(1, 1024),
    max_num_batched_tokens=st.integers(1024, 32768),
    tensor_parallel=st.sampled_from([1, 2, 4, 8, 16]),
    pipeline_parallel=st.sampled_from([1, 2, 3, 4]),
    kv_cache_bits=st.sampled_from([8, 16]),
    eager=st.booleans(),
)
llama_loads = st.builds(
    LlamaCppLoad,
    context_tokens=st.integers(1, 300_000),
    key_bits=st.sampled_from([4.5, 8.5, 16]),
    value_bits=st.sampled_from([4.5, 8.5, 16]),
    ubatch_tokens=st.sampled_from([64, 512, 2048]),
    gpus=st.sampled_from([1, 2, 3, 4, 8]),
    gpu_layers=st.none() | st.integers(0, 100),
    sequences=st.integers(1, 8),
    flash_attention=st.booleans(),
)


@pytest.mark.parametrize("name", NAMES)
def test_matrices_come_to_the_parameters_that_follow_from_the_shape(name: str) -> None:
    shape = architectures()[name].shape
    matrices = sum(layer.elements for layer in layers_of(shape))
    outside = shape.embedding_parameters + shape.learned_positions * shape.hidden_size
    assert matrices + outside == shape.derived_parameters


@given(model=models, load=vllm_loads, limit=LIMITS, more=st.integers(0, 50_000))
def test_more_memory_is_never_room_for_less(model: LanguageModel, load: VllmLoad, limit: int, more: int) -> None:
    less, larger = (vllm_memory(model, load, limit_mib=size) for size in (limit, limit + more))
    assert (larger.largest_context or 0) >= (less.largest_context or 0)
    assert (larger.concurrent_full_length_requests or 0) >= (less.concurrent_full_length_requests or 0)


@given(model=models, load=vllm_loads, limit=LIMITS)
def test_a_context_fits_where_one_request_does(model: LanguageModel, load: VllmLoad, limit: int) -> None:
    found = vllm_memory(model, load, limit_mib=limit)
    if found.largest_context is not None:
        assert ((found.concurrent_full_length_requests or 0) >= 1) == (found.largest_context >= load.max_model_len)


@given(model=models, load=vllm_loads, limit=LIMITS)
def test_more_gpus_never_hold_more_weights_each(model: LanguageModel, load: VllmLoad, limit: int) -> None:
    each = [
        vllm_memory(model, dataclasses.replace(load, tensor_parallel=gpus), limit_mib=limit).gpu.weights_mib
        for gpus in (1, 2, 4, 8, 16)
    ]
    # Experts in MXFP4 are filled up to multiples of 128 on each GPU: parts of a narrow one do not get smaller.
    assert all(after <= before * 1.001 for before, after in pairwise(each))


@given(model=models, load=vllm_loads, limit=LIMITS)
def test_parts_are_the_whole_under_vllm(model: LanguageModel, load: VllmLoad, limit: int) -> None:
    gpu = vllm_memory(model, load, limit_mib=limit).gpu
    assert min(gpu.weights_mib, gpu.kv_cache_mib, gpu.other_mib) >= 0
    assert gpu.kv_cache_mib == 0 or gpu.total_mib == limit


@given(model=gguf_models, load=llama_loads, limit=LIMITS, more=st.integers(1, 100_000))
def test_a_larger_context_never_takes_less(model: LanguageModel, load: LlamaCppLoad, limit: int, more: int) -> None:
    load = dataclasses.replace(load, gpu_layers=99)
    longer = dataclasses.replace(load, context_tokens=load.context_tokens + more)
    short, long = (llama_cpp_memory(model, asked, limit_mib=limit) for asked in (load, longer))
    assert long.gpu.total_mib >= short.gpu.total_mib
    assert long.largest_context == short.largest_context


@given(model=gguf_models, load=llama_loads, limit=LIMITS, more=st.integers(0, 100_000))
def test_more_memory_never_spills_more(model: LanguageModel, load: LlamaCppLoad, limit: int, more: int) -> None:
    less, larger = (llama_cpp_memory(model, load, limit_mib=size) for size in (limit, limit + more))
    assert larger.spilled_layers <= less.spilled_layers
    assert larger.largest_context >= less.largest_context
    assert larger.host_mib <= less.host_mib


@given(model=gguf_models, load=llama_loads, limit=LIMITS)
def test_nothing_spills_where_the_context_is_no_larger_than_the_largest(
    model: LanguageModel, load: LlamaCppLoad, limit: int
) -> None:
    load = dataclasses.replace(load, gpu_layers=None)
    found = llama_cpp_memory(model, load, limit_mib=limit)
    if load.context_tokens <= found.largest_context:
        assert found.spilled_layers == 0
    if found.spilled_layers < len(layers_of(model.architecture)) + 1:
        assert found.gpu.total_mib <= limit + 3  # each of three parts is rounded up to a MiB


ORDER = ["F16", "Q8_0", "Q6_K", "Q5_K_M", "Q5_K_S", "Q4_K_M", "Q4_K_S", "Q3_K_L", "Q3_K_M", "Q3_K_S", "Q2_K"]


# Rows that are no multiple of 256 have types of their own, some of them larger than those of more bits.
EVEN = [
    name
    for name in NAMES
    if all(
        matrix.inputs % 256 == 0 or matrix.inputs < 256
        for layer in layers_of(architectures()[name].shape)
        for matrix in layer.matrices
    )
]


@pytest.mark.parametrize("name", EVEN)
def test_fewer_bits_take_less(name: str) -> None:
    sizes = [gguf_weights(model_of(name, quantization)).file for quantization in ORDER]
    assert all(after <= before for before, after in pairwise(sizes))


def test_a_thousand_models_are_a_fraction_of_a_second() -> None:
    known = list(language_models().values())
    loads = [
        VllmLoad(max_model_len=4096 + n, max_num_seqs=64, max_num_batched_tokens=2048, pipeline_parallel=1 + n % 2)
        for n in range(1000)
    ]
    start = time.process_time()
    for n, load in enumerate(loads):
        vllm_memory(known[n % len(known)], load, limit_mib=70_000)
        llama_cpp_memory(known[n % len(known)], LlamaCppLoad(context_tokens=4096 + n), limit_mib=22_000)
    assert time.process_time() - start < 1.5  # 0.3 s on an idle machine; one that is not is slower
