"""`llmctl catalogue add`: what the files of a model, and its page at the hub, say of it."""

from __future__ import annotations

import errno
import json
import math
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from small_gguf import write_gguf
from small_stacks import node, vllm_plan
from typer.testing import CliRunner

from cli import catalogue, model_files
from cli.__main__ import app
from cli.model_files import SourceError
from planning.catalogue import gpu_models, language_models
from planning.catalogue.config_json import ConfigError
from planning.catalogue.reading import read_bases, read_models

SMALL = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 256,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}
TENSORS = {
    "model.embed_tokens.weight": [256, 64],
    **{f"model.layers.{n}.self_attn.{p}_proj.weight": [64, 64] for n in range(2) for p in "qo"},
    **{f"model.layers.{n}.self_attn.{p}_proj.weight": [32, 64] for n in range(2) for p in "kv"},
    **{f"model.layers.{n}.mlp.{p}_proj.weight": [128, 64] for n in range(2) for p in ("gate", "up", "down")},
}


def write_safetensors(file: Path, shapes: Mapping[str, list[int]]) -> int:
    offset, header = 0, {}
    for name, shape in shapes.items():
        end = offset + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + bytes(offset))
    return file.stat().st_size


def test_a_folder_is_measured_and_its_copies_are_not(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    size = write_safetensors(tmp_path / "model.safetensors", TENSORS)
    write_safetensors(tmp_path / "consolidated.safetensors", TENSORS)
    model = catalogue.read(str(tmp_path), name="mine")
    assert (model.name, model.measured_bytes, model.quantization) == ("mine", size, "bf16")
    assert model.architecture.parameters == sum(math.prod(shape) for shape in TENSORS.values())


def test_an_index_tells_the_size_of_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"metadata": {"total_size": 5_000_000}}))
    assert catalogue.read(str(tmp_path / "config.json")).measured_bytes == 5_000_000


def test_a_folder_is_named_as_it_is_and_not_as_what_it_was_made_of(tmp_path: Path) -> None:
    folder = tmp_path / "small-AWQ"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({**SMALL, "_name_or_path": "/home/somebody/small"}))
    assert catalogue.read(str(folder)).name == "small-AWQ"


def test_a_download_that_is_not_finished_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    file = tmp_path / "model.safetensors"
    write_safetensors(file, TENSORS)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(SourceError, match="ends before its tensors do"):
        catalogue.read(str(tmp_path))


@pytest.mark.parametrize("token", ["hf_planted\nX: y", "hf planted", "hf_plant\N{LATIN SMALL LETTER E WITH ACUTE}d"])
def test_a_token_that_cannot_be_one_is_refused_and_never_told(token: str) -> None:
    with pytest.raises(SourceError, match="HF_TOKEN: is no token") as caught:
        catalogue.read("a/b", hub="http://127.0.0.1:9", token=token)
    assert "plant" not in str(caught.value)


def test_what_cannot_be_reached_is_told_without_the_hubs_password() -> None:
    with pytest.raises(SourceError, match="cannot be reached") as caught:
        catalogue.read("a/b", hub="http://user:planted@127.0.0.1:9", token="hf_planted\n")
    assert "planted" not in str(caught.value)


def test_a_file_that_cannot_be_read_is_told_as_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(SMALL))

    def denied(self: Path) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", denied)
    with pytest.raises(SourceError, match=r"config\.json: cannot be read: Permission denied\."):
        catalogue.read(str(file))


def test_a_source_is_named_by_its_folder_and_a_name_has_no_spaces(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(SMALL))
    assert catalogue.read(str(file)).source == catalogue.read(str(tmp_path)).source == f"config.json of {tmp_path.name}"
    with pytest.raises(SourceError, match=r"--name: 'a b' has spaces"):
        catalogue.read(str(file), name="a b")


def test_a_vision_tower_of_unknown_size_is_told(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**SMALL, "vision_config": {"hidden_size": 32}}))
    done = CliRunner().invoke(app, ["catalogue", "add", str(file), "--form", "architecture"])
    assert (done.exit_code, "architecture:" in done.stdout) == (0, True)
    assert "does not say how large" in done.stderr
    file.write_text(json.dumps(SMALL))
    assert CliRunner().invoke(app, ["catalogue", "add", str(file)]).stderr == ""


@pytest.mark.parametrize("page", ["https://huggingface.co/a/b", "https://hf.co/a/b/tree/main"])
def test_a_page_of_the_hub_is_its_repository(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def read_hub(repository: str, **_: object) -> None:
        asked.append(repository)
        raise SourceError("asked")

    monkeypatch.setattr(model_files, "read_hub", read_hub)
    with pytest.raises(SourceError, match="asked"):
        catalogue.read(page)
    assert asked == ["a/b"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_attention_heads": 0},
        {"head_dim": "x"},
        {"sliding_window": "4096"},
        {"quantization_config": "awq"},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_value_that_no_model_has_is_told_without_a_traceback(tmp_path: Path, wrong: dict[str, Any]) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**SMALL, **wrong}))
    done = CliRunner().invoke(app, ["catalogue", "add", str(file)])
    assert done.exit_code == 1
    assert isinstance(done.exception, SystemExit), done.exception


def test_weights_that_the_shape_does_not_make_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    write_safetensors(tmp_path / "model.safetensors", {**TENSORS, "model.layers.0.extra": [100, 100]})
    with pytest.raises(ConfigError, match="is not understood here"):
        catalogue.read(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "would have 0 bytes"), (b"\xff" * 64, "is no safetensors file"), (b"<html>" * 9, "is no")],
)
def test_a_file_that_is_no_safetensors_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(SourceError, match=told):
        catalogue.read(str(tmp_path))


def test_modelopt_says_beside_the_config_what_it_quantized(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    (tmp_path / "hf_quant_config.json").write_text(json.dumps({"quantization": {"quant_algo": "FP8"}}))
    assert catalogue.read(str(tmp_path)).quantization == "fp8"


# --- hub ---


@contextmanager
def hub(answers: Mapping[str, Any], *, status: int = 200) -> Iterator[tuple[str, list[str | None]]]:
    """A stand-in of the hub: its address, and the authorization of each request that it had."""
    seen: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.headers["Authorization"])
            content = answers.get(urlsplit(self.path).path)
            self.send_response(404 if content is None else status)
            self.end_headers()
            self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            """Nothing: requests are no part of a test's output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PAGE = {
    "id": "owner/small",
    "gated": "manual",
    "cardData": {"license": "other", "license_name": "small-licence", "language": ["ko", "en"]},
    "siblings": [
        {"rfilename": "model-00001-of-00002.safetensors", "size": 70_000},
        {"rfilename": "model-00002-of-00002.safetensors", "size": 53_000},
        {"rfilename": "original/model.safetensors", "size": 999_000},
        {"rfilename": "README.md", "size": 7},
    ],
    "safetensors": {"parameters": {"BF16": 90_112}, "total": 90_112},
}
ANSWERS = {"/api/models/owner/small": PAGE, "/owner/small/resolve/main/config.json": SMALL}


def test_a_repository_of_the_hub_is_read_without_its_weights() -> None:
    with hub(ANSWERS) as (address, seen):
        model = catalogue.read("owner/small", hub=address, token="hf_x")
    assert seen == ["Bearer hf_x"] * 2
    assert (model.measured_bytes, model.gated, model.licence) == (123_000, True, "small-licence")
    assert model.languages == ("ko", "en")
    assert model.architecture.parameters == 90_112


@pytest.mark.parametrize(
    ("answers", "status", "told"),
    [
        (
            ANSWERS,
            401,
            "owner/small: is gated, or there is none of that name. Ask its owner for access, and set HF_TOKEN",
        ),
        ({"/api/models/owner/small": PAGE}, 200, "answered 404. A repository of GGUF files alone has no config.json"),
        ({"/api/models/owner/small": b"<html>"}, 200, "answered with no JSON object; is a proxy's page in between?"),
    ],
)
def test_what_the_hub_does_not_give_is_told(answers: Mapping[str, Any], status: int, told: str) -> None:
    with hub(answers, status=status) as (address, _), pytest.raises(SourceError) as error:
        catalogue.read("owner/small", hub=address)
    assert told in str(error.value)


def test_a_hub_that_cannot_be_reached_is_told_with_what_to_do() -> None:
    with hub({}) as (address, _):
        pass
    with pytest.raises(SourceError, match=r"cannot be reached .* copy the model's config.json and give its path"):
        catalogue.read("owner/small", hub=address)


# --- the command ---


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["catalogue", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


def test_a_shape_that_is_known_makes_one_row(tmp_path: Path) -> None:
    qwen = {**SMALL, "model_type": "qwen3", "num_hidden_layers": 36, "hidden_size": 2560, "intermediate_size": 9728}
    qwen |= {"num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936}
    (tmp_path / "config.json").write_text(json.dumps({**qwen, "max_position_embeddings": 262144}))
    said = run("add", str(tmp_path), "--name", "owner/fine-tuned")
    assert "architectures.yaml" not in said
    [(name, row)] = yaml.safe_load(said).items()
    assert set(row) == {"of", "quantization", "contextTokens", "source", "uses"}
    assert (name, row["of"], row["contextTokens"], row["quantization"]) == (
        "owner/fine-tuned",
        "qwen3-4b",
        262144,
        "bf16",
    )


def test_the_rows_that_are_printed_can_be_pasted(tmp_path: Path) -> None:
    write_gguf(tmp_path / "new.gguf", file_type=15)
    said = run("add", str(tmp_path / "new.gguf"))
    bases, models = tmp_path / "architectures.yaml", tmp_path / "models.yaml"
    first, second = said.split("# planning/catalogue/models.yaml\n")
    assert set(yaml.safe_load(second)["new"]) == {"of", "quantization", "filesGB", "source"}
    bases.write_text(first)
    models.write_text(second)
    [model] = read_models(read_bases(bases), models).values()
    file = catalogue.read(str(tmp_path / "new.gguf"))
    assert model == replace(file, measured_bytes=model.measured_bytes, base="new")
    assert model.measured_bytes == pytest.approx(file.measured_bytes, abs=50_000)


def test_the_architecture_alone_for_a_stack_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    said = yaml.safe_load(run("add", str(tmp_path), "--form", "architecture"))["architecture"]
    assert (said["layers"], said["kvHeads"], said["tiedEmbeddings"]) == (2, 2, True)
    assert "experts" not in said


def test_the_architecture_that_is_printed_plans_in_a_stack_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    pasted = yaml.safe_load(run("add", str(tmp_path), "--form", "architecture"))
    found = vllm_plan({"n": node()}, model="owner/small", maxModelLen=512, **pasted)
    unknown = vllm_plan({"n": node()}, model="owner/small", maxModelLen=512)
    assert found.memory is not None
    assert unknown.memory is None
    # 90,112 parameters of two bytes, and the norms that no shape tells.
    assert found.memory.weights_mib == 1


def test_the_architecture_is_indented_as_it_is_to_be_pasted(tmp_path: Path) -> None:
    """At the beginning of its line nobody would read it."""
    (tmp_path / "config.json").write_text(json.dumps(SMALL))
    comment, *lines = run("add", str(tmp_path), "--form", "architecture").splitlines()
    assert comment == "# below models.<name>:"
    assert lines[0] == "      architecture:"
    assert all(line.startswith("        ") for line in lines[1:])


@pytest.mark.parametrize("source", ["no-such-file.gguf", "./nowhere/config.json", "justaname"])
def test_a_source_that_is_nothing_is_told(source: str) -> None:
    result = CliRunner().invoke(app, ["catalogue", "add", source])
    assert result.exit_code == 1
    assert "there is no such file, and a repository of the hub is named owner/name" in str(result.exception)


def test_the_list_has_every_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    gpus, models = run("list", "--gpus"), run("list", "--models")
    assert all(f" {name} " in gpus for name in gpu_models())
    assert all(f" {name} " in models for name in language_models())
    assert "rtx-4090" not in models
    assert "qwen3:4b" not in gpus
