"""What is proposed where a model does not fit does fit, and is the smallest change that does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_stacks import LLAMA_8B, LLAMA_70B

from planning.alternatives import Alternatives, fitting_alternatives
from planning.catalogue import LanguageModel, hub_models
from planning.memory import VllmLoad, vllm_memory


def load(context: int = 4096, gpus: int = 1) -> VllmLoad:
    return VllmLoad(max_model_len=context, max_num_seqs=16, max_num_batched_tokens=2048, tensor_parallel=gpus)


def fits(model: LanguageModel, wanted: VllmLoad, limit_mib: int) -> bool:
    memory = vllm_memory(model, wanted, limit_mib=limit_mib)
    held = memory.gpu.weights_mib + memory.gpu.other_mib <= limit_mib
    return held and (memory.largest_context is None or memory.largest_context >= wanted.max_model_len)


def test_70b_in_16_bits_on_a_card_of_24_gib_needs_8_of_them() -> None:
    found = fitting_alternatives(hub_models()[LLAMA_70B], load(), limit_mib=22107)
    assert (found.gpus, found.checkpoint) == (8, None)
    assert found.repair(available_gpus=8) == "Write gpus: 8."
    assert found.repair(available_gpus=4) == "Write gpus: 8 (a node with 8 such GPUs is needed)."


def test_70b_in_16_bits_on_a_card_of_80_gib_may_be_a_smaller_checkpoint() -> None:
    found = fitting_alternatives(hub_models()[LLAMA_70B], load(), limit_mib=73728)
    assert found.checkpoint is not None
    assert found.checkpoint.quantization.bits_per_weight <= 8
    assert found.checkpoint.architecture == hub_models()[LLAMA_70B].architecture
    weights = round(found.checkpoint.files_bytes / 2**30)
    told = f"{found.checkpoint.name} ({found.checkpoint.quantization.value}, {weights} GiB)"
    assert found.repair(available_gpus=8) == f"Write gpus: {found.gpus}, or take {told}."


def test_where_nothing_is_known_to_fit_nothing_is_proposed() -> None:
    assert fitting_alternatives(hub_models()[LLAMA_70B], load(), limit_mib=2000).repair(available_gpus=8) == (
        "Choose a model with smaller weights, or larger GPUs."
    )


def test_a_checkpoint_of_another_purpose_is_none_of_the_same_model() -> None:
    """Qwen2.5-Coder has the shape of Qwen2.5, and answers otherwise."""
    found = fitting_alternatives(hub_models()["Qwen/Qwen2.5-32B-Instruct"], load(), limit_mib=30000)
    assert found.checkpoint is not None
    assert found.checkpoint.name.startswith("Qwen/Qwen2.5-32B-Instruct-")


@given(
    st.sampled_from([LLAMA_8B, LLAMA_70B, "Qwen/Qwen2.5-32B-Instruct", "Qwen/Qwen2.5-7B-Instruct"]),
    st.integers(1000, 200_000),
    st.sampled_from([2048, 8192, 32768]),
    st.sampled_from([1, 2, 4]),
)
def test_what_is_proposed_fits_and_no_smaller_number_does(name: str, limit_mib: int, context: int, have: int) -> None:
    model, wanted = hub_models()[name], load(context, have)
    found = fitting_alternatives(model, wanted, limit_mib=limit_mib)
    if found.gpus is not None:
        assert fits(model, load(context, found.gpus), limit_mib)
        assert not any(
            fits(model, load(context, fewer), limit_mib)
            for fewer in (1, 2, 4, 8, 16)
            if have < fewer < found.gpus and model.architecture.attention_heads % fewer == 0
        )
    if found.checkpoint is not None:
        assert fits(found.checkpoint, wanted, limit_mib)
        assert found.checkpoint.files_bytes < model.files_bytes


@pytest.mark.parametrize("gpus", [(), (2,), (2, 4)])
def test_only_numbers_that_there_are_are_proposed(gpus: tuple[int, ...]) -> None:
    found: Alternatives = fitting_alternatives(hub_models()[LLAMA_70B], load(), limit_mib=22107, gpus=gpus)
    assert found.gpus is None
