"""What the header of a GGUF file says of a model, and what of it is refused."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from small_gguf import GGUF_TENSORS, write_gguf

from cli import catalogue
from cli.model_files import SourceError, read_gguf
from planning.catalogue import Quantization
from planning.catalogue.config_json import ConfigError
from planning.catalogue.gguf_metadata import architecture_of_gguf


def test_a_gguf_tells_shape_type_and_size(tmp_path: Path) -> None:
    file = tmp_path / "small-f16.gguf"
    write_gguf(file)
    model = catalogue.read(str(file))
    shape = model.architecture
    assert (model.name, model.quantization, model.licence) == ("small-f16", Quantization.F16, "apache-2.0")
    assert model.measured_bytes == file.stat().st_size
    assert (shape.layers, shape.kv_heads, shape.head_dim, shape.vocabulary_size) == (2, 2, 16, 256)
    assert (shape.tied_embeddings, shape.context_tokens) == (True, 512)
    assert shape.parameters == shape.derived_parameters == sum(math.prod(s) for s in GGUF_TENSORS.values())


def test_a_gguf_tells_its_languages_and_keeps_quiet_of_its_tokens(tmp_path: Path) -> None:
    file = tmp_path / "m.gguf"
    write_gguf(file, more={"general.languages": ["ko", "en"], "general.tags": ["text-generation"]})
    assert catalogue.read(str(file)).languages == ("ko", "en")
    header, _ = read_gguf(file)
    assert header.metadata["tokenizer.ggml.tokens"] == 256


def test_an_output_layer_of_its_own_is_counted(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", tensors={**GGUF_TENSORS, "output.weight": (256, 64)})
    assert not catalogue.read(str(tmp_path / "m.gguf")).architecture.tied_embeddings


def test_the_windows_of_a_gguf_are_its_familys(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf", family="gemma2", more={"gemma2.attention.sliding_window": 128})
    window = catalogue.read(str(tmp_path / "m.gguf")).architecture.sliding_window
    assert window is not None
    assert (window.tokens, window.layers) == (128, 1)


def test_a_gguf_with_experts(tmp_path: Path) -> None:
    dense: dict[str, tuple[int, ...]] = {name: shape for name, shape in GGUF_TENSORS.items() if ".ffn_" not in name}
    experts = {f"blk.{n}.ffn_{p}_exps.weight": (4, 96, 64) for n in range(2) for p in ("gate", "up", "down")}
    routers = {f"blk.{n}.ffn_gate_inp.weight": (4, 64) for n in range(2)}
    more = {"qwen3moe.expert_count": 4, "qwen3moe.expert_used_count": 2, "qwen3moe.expert_feed_forward_length": 96}
    write_gguf(tmp_path / "m.gguf", family="qwen3moe", tensors=dense | experts | routers, more=more)
    found = catalogue.read(str(tmp_path / "m.gguf")).architecture.experts
    assert found is not None
    assert (found.count, found.active, found.intermediate_size) == (4, 2, 96)


@pytest.mark.parametrize(
    ("family", "more", "tensors", "told"),
    [
        ("llama", {}, {**GGUF_TENSORS, "blk.0.extra.weight": (100, 100)}, "is not understood here"),
        ("qwen3next", {"qwen3next.ssm.state_size": 128}, GGUF_TENSORS, "its recurrent layers are not counted"),
        ("llama", {"llama.attention.key_length": 32}, GGUF_TENSORS, "is not understood here"),
        ("clip", {}, {"v.patch_embd.weight": (3, 3)}, "token_embd.weight: missing"),
    ],
)
def test_a_gguf_that_is_not_understood_is_refused(
    tmp_path: Path, family: str, more: dict[str, int], tensors: dict[str, tuple[int, ...]], told: str
) -> None:
    write_gguf(tmp_path / "m.gguf", family=family, more=more, tensors=tensors)
    with pytest.raises(ConfigError, match=told):
        catalogue.read(str(tmp_path / "m.gguf"))


def test_heads_that_differ_between_layers_are_refused(tmp_path: Path) -> None:
    write_gguf(tmp_path / "m.gguf")
    header, _ = read_gguf(tmp_path / "m.gguf")
    same = type(header)(metadata={**header.metadata, "llama.attention.head_count_kv": [2, 2]}, tensors=header.tensors)
    assert architecture_of_gguf(same).kv_heads == 2
    differing = type(header)(
        metadata={**same.metadata, "llama.attention.head_count_kv": [2, 4]}, tensors=header.tensors
    )
    with pytest.raises(ConfigError, match="differs between layers"):
        architecture_of_gguf(differing)


@pytest.mark.parametrize("cut", [0, 3, 20, 300])
def test_a_file_that_is_no_gguf_is_told(tmp_path: Path, cut: int) -> None:
    file = tmp_path / "m.gguf"
    write_gguf(file)
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(SourceError, match="is no GGUF file that can be read: it ends within its header"):
        catalogue.read(str(file))


def test_the_parts_of_a_split_file_are_read_together(tmp_path: Path) -> None:
    first, second = (tmp_path / f"m-{n:05d}-of-00002.gguf" for n in (1, 2))
    names = list(GGUF_TENSORS)
    write_gguf(first, tensors={name: GGUF_TENSORS[name] for name in names[:5]})
    with pytest.raises(SourceError, match=r"m-00002-of-00002\.gguf is missing"):
        catalogue.read(str(first))
    write_gguf(second, tensors={name: GGUF_TENSORS[name] for name in names[5:]})
    model = catalogue.read(str(first))
    assert model.measured_bytes == first.stat().st_size + second.stat().st_size
    assert model.architecture.parameters == model.architecture.derived_parameters
