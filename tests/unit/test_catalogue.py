"""The catalogue: rows that agree with themselves, a reader that names mistakes, and what a row is asked for."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from planning.catalogue import Architecture, CatalogueError, Quantization, architectures, gpu_models, language_models
from planning.catalogue.reading import read_bases, read_gpus, read_models
from planning.hosts import gpu_words

LARGER_THAN_DERIVED = {
    # k-quants want rows of a multiple of 256; llama.cpp stores the others in types with more bits.
    **dict.fromkeys(("qwen2.5:0.5b", "gemma3:1b"), "rows of 896 or 1152, no multiple of 256"),
    **dict.fromkeys(("qwen3:0.6b", "qwen3:1.7b"), "the library has the output layer beside the embedding"),
    **dict.fromkeys(("gemma2:2b", "exaone3.5:2.4b"), "a large embedding, kept in Q6_K or Q8_0"),
    "Qwen/Qwen3.5-122B-A10B-GPTQ-Int4": "attention, shared experts and prediction heads stay in 16 bits",
}


@pytest.mark.parametrize("name", architectures())
def test_the_shape_makes_the_parameters_that_are_published(name: str) -> None:
    shape = architectures()[name].shape
    assert shape.derived_parameters + shape.other_parameters == pytest.approx(shape.parameters, rel=0.01)


@pytest.mark.parametrize("name", [name for name, model in language_models().items() if model.measured_bytes])
def test_a_measured_size_is_what_parameters_and_bits_make(name: str) -> None:
    model = language_models()[name]
    assert model.measured_bytes is not None
    ratio = model.measured_bytes / model.derived_bytes
    assert 0.96 < ratio < (1.5 if name in LARGER_THAN_DERIVED else 1.08)


def test_every_exception_of_size_is_still_needed() -> None:
    for name in LARGER_THAN_DERIVED:
        model = language_models()[name]
        assert model.measured_bytes is not None
        assert model.measured_bytes / model.derived_bytes >= 1.08, name


@pytest.mark.parametrize(
    ("name", "billions"),
    [
        ("mixtral-8x7b", 12.9),
        ("mixtral-8x22b", 39.1),
        ("qwen3-30b-a3b", 3.3),
        ("qwen3-235b-a22b", 22.2),
        ("deepseek-v3", 37.5),
        ("llama-4-scout", 17.2),
        ("qwen3-8b", 8.2),
    ],
)
def test_a_token_goes_through_the_parameters_that_are_published(name: str, billions: float) -> None:
    assert architectures()[name].shape.active_parameters / 10**9 == pytest.approx(billions, rel=0.02)


@pytest.mark.parametrize("name", architectures())
def test_heads_layers_and_windows_fit_each_other(name: str) -> None:
    shape = architectures()[name].shape
    assert shape.attention_heads % shape.kv_heads == 0
    assert 0 <= shape.layers_without_kv_cache <= shape.layers
    assert shape.layers_without_kv_cache in (0, shape.layers) or shape.linear_attention is not None
    if shape.sliding_window is not None:
        assert 0 < shape.sliding_window.layers <= shape.layers
        assert shape.sliding_window.tokens < shape.context_tokens
    if shape.experts is not None:
        assert shape.experts.active < shape.experts.count
        assert shape.experts.dense_layers < shape.layers


@pytest.mark.parametrize("name", language_models())
def test_a_name_says_its_engine_and_the_engine_reads_the_type(name: str) -> None:
    """Ollama's names are GGUF, but for gpt-oss, which it keeps in the type that it was trained in."""
    model = language_models()[name]
    assert model.name == name
    from_hub = "/" in name
    assert model.quantization.is_gguf is (not from_hub) or (name.startswith("gpt-oss") and not from_hub)
    assert not model.gated or from_hub
    assert model.licence
    assert model.source
    assert all(re.fullmatch(r"[a-z]{2}", code) for code in model.languages)


def test_a_name_never_contradicts_its_type() -> None:
    for name, model in language_models().items():
        said = re.search(r"-(awq|gptq|fp8)", name, re.I)
        if said and "/" in name:
            assert model.quantization.startswith(said.group(1).lower()), name


def test_every_architecture_has_a_checkpoint() -> None:
    def key(shape: Architecture) -> tuple[int, int, int]:
        return shape.layers, shape.hidden_size, shape.parameters

    used = {key(model.architecture) for model in language_models().values()}
    assert [name for name, base in architectures().items() if key(base.shape) not in used] == []


@pytest.mark.parametrize("name", gpu_models())
def test_a_gpus_products_are_what_a_host_is_asked_for(name: str) -> None:
    gpu = gpu_models()[name]
    for product in gpu.products:
        parts = set(re.split(r"[^a-z0-9]+", product.lower()))
        assert set(gpu_words(name).split()) <= parts
    assert gpu.fp8 is (gpu.compute_capability >= (8, 9))
    said = re.search(r"(\d+)gb", name)
    assert said is None or int(said.group(1)) * 1024 * 0.95 < gpu.memory_mib <= int(said.group(1)) * 1024


@pytest.mark.parametrize(("name", "fp8"), [("rtx-3090", False), ("a100-80gb", False), ("l4", True), ("rtx-5090", True)])
def test_fp8_begins_with_ada(name: str, fp8: bool) -> None:
    assert gpu_models()[name].fp8 is fp8


def test_the_models_that_the_mission_names_are_there() -> None:
    names = set(language_models())
    assert names >= {
        *("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", "Qwen/Qwen2.5-7B-Instruct-AWQ"),
        *("Qwen/Qwen2.5-72B-Instruct-AWQ", "qwen3:4b", "bge-m3", "nomic-embed-text", "exaone3.5:7.8b", "solar:10.7b"),
    }
    korean = [name for name, model in language_models().items() if "ko" in model.languages]
    assert len(korean) > 20


def test_a_size_that_was_not_read_is_derived_with_embeddings_in_16_bits() -> None:
    model = language_models()["Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4"]
    assert model.measured_bytes is None
    assert model.files_bytes == model.derived_bytes
    assert model.files_bytes / 10**9 == pytest.approx(5.58, rel=0.01)  # as the AWQ of the same shape was measured


def test_context_of_a_checkpoint_goes_before_its_architectures() -> None:
    assert language_models()["Qwen/QwQ-32B"].architecture.context_tokens == 40960
    assert language_models()["Qwen/Qwen2.5-32B-Instruct"].architecture.context_tokens == 32768


def test_layers_without_a_window_may_have_heads_of_their_own() -> None:
    """Gemma 4 31B: 50 layers of 16 KV heads of 256; 10 of 4 of 512, whose one matrix makes keys and values."""
    windows = 50 * 5376 * (2 * 32 * 256 + 2 * 16 * 256)
    others = 10 * 5376 * (2 * 32 * 512 + 4 * 512)
    rest = 262144 * 5376 + 60 * 3 * 5376 * 21504
    assert architectures()["gemma-4-31b"].shape.derived_parameters == windows + others + rest


def test_a_linear_layers_state_is_counted() -> None:
    linear = architectures()["qwen3.5-9b"].shape.linear_attention
    assert linear is not None
    assert linear.state_elements == 32 * 128 * 128 + (2 * 16 * 128 + 32 * 128) * 3


@pytest.mark.parametrize("quantization", Quantization)
def test_every_type_has_its_bits(quantization: Quantization) -> None:
    assert 2 < quantization.bits_per_weight <= 32


def test_all_of_it_is_read_in_the_time_of_a_blink() -> None:
    """Seconds of this process rather than of the clock, and the best of three, so that a busy machine fails nothing."""
    read_models(read_bases())  # whatever is loaded and compiled once

    def seconds() -> float:
        start = time.process_time()
        read_gpus()
        read_models(read_bases())
        return time.process_time() - start

    assert min(seconds() for _ in range(3)) < 0.2


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ("memoryMiB: 24576, computeCapability: [8, 6], speed: 1", "g.speed: Extra inputs are not permitted"),
        ("memoryMiB: '24576', computeCapability: [8, 6]", "g.memoryMiB: Input should be a valid integer"),
        ("memoryMiB: 24576", "g.computeCapability: Field required"),
        ("memoryMiB: 0, computeCapability: [8, 6]", "g.memoryMiB: Input should be greater than 0"),
        ("memoryMiB: 24576, computeCapability: [8, 6]", "g.source: Field required"),
    ],
)
def test_a_mistake_is_told_by_file_row_and_key(tmp_path: Path, row: str, told: str) -> None:
    file = tmp_path / "gpus.yaml"
    source = "" if "source" in told else ", source: s"
    file.write_text(f"g: {{{row}, bandwidthGBPerSecond: 936, products: [x]{source}}}\n")
    with pytest.raises(CatalogueError) as error:
        read_gpus(file)
    assert str(error.value).startswith("gpus.yaml cannot be read:")
    assert told in str(error.value)


def test_a_name_that_comes_twice_is_told(tmp_path: Path) -> None:
    row = "{of: qwen3-4b, quantization: bf16, source: s}"
    file = tmp_path / "models.yaml"
    file.write_text(f"a: {row}\na: {row}\n")
    with pytest.raises(CatalogueError, match="a: comes twice"):
        read_models(architectures(), file)


def test_a_checkpoint_of_nothing_is_told_with_every_other(tmp_path: Path) -> None:
    file = tmp_path / "models.yaml"
    file.write_text("".join(f"{name}: {{of: {name}-base, quantization: bf16, source: s}}\n" for name in ("a", "b")))
    with pytest.raises(CatalogueError) as error:
        read_models(architectures(), file)
    assert [line.strip() for line in str(error.value).splitlines()[1:]] == [
        "a.of: 'a-base' is no row of architectures.yaml.",
        "b.of: 'b-base' is no row of architectures.yaml.",
    ]
