"""The stand-in for registry.ollama.ai: the spec's models and no others, files from another host by a redirect."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import gguf
import httpx
import pytest

from lab.standins import ollama_models, tiny_gguf
from lab.standins.internet import OLLAMA_BLOBS, OLLAMA_REGISTRY
from lab.standins.ollama_models import Name
from lab.standins.ollama_registry import Server

_GGUF = b"GGUF" + bytes(range(256)) * 10
_DIGEST = f"sha256:{hashlib.sha256(_GGUF).hexdigest()}"


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[httpx.Client]:
    monkeypatch.setattr("lab.standins.ollama_registry._Handler.log_message", lambda *_: None)
    server = Server(("127.0.0.1", 0), {Name.parse("qwen3:4b"): _GGUF})
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_address[1]}", trust_env=False) as client:
        client.headers["Host"] = OLLAMA_REGISTRY
        yield client
    server.shutdown()
    thread.join()
    server.server_close()


def test_manifest_names_files_that_are_there(registry: httpx.Client) -> None:
    answer = registry.get("/v2/library/qwen3/manifests/4b")
    assert answer.headers["Content-Type"] == "application/vnd.docker.distribution.manifest.v2+json"
    manifest = answer.json()
    assert [layer["mediaType"].rpartition(".")[2] for layer in manifest["layers"]] == ["model", "template", "params"]
    for item in (manifest["config"], *manifest["layers"]):
        head = registry.head(f"/v2/library/qwen3/blobs/{item['digest']}")
        assert head.status_code == 200
        assert int(head.headers["Content-Length"]) == item["size"]
        content = registry.get(f"/{item['digest']}", headers={"Host": OLLAMA_BLOBS}).content
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == item["digest"]


@pytest.mark.parametrize(
    "path", ["library/qwen3/manifests/8b", "library/llama3/manifests/latest", "me/qwen3/manifests/4b"]
)
def test_other_models_are_unknown(registry: httpx.Client, path: str) -> None:
    answer = registry.get(f"/v2/{path}")
    assert answer.status_code == 404
    assert answer.json()["errors"][0]["code"] == "MANIFEST_UNKNOWN"


def test_file_comes_from_another_host(registry: httpx.Client) -> None:
    answer = registry.get(f"/v2/library/qwen3/blobs/{_DIGEST}")
    assert answer.status_code == 307
    assert answer.headers["Location"] == f"https://{OLLAMA_BLOBS}/{_DIGEST}"
    assert registry.get(f"/v2/library/qwen3/blobs/sha256:{'0' * 64}").status_code == 404


@pytest.mark.parametrize(
    ("asked", "status", "content"),
    [
        ("bytes=0-3", 206, _GGUF[:4]),
        ("bytes=4-", 206, _GGUF[4:]),
        ("bytes=2560-9999", 206, _GGUF[2560:]),
        ("bytes=9999-", 416, b""),
    ],
)
def test_part_of_a_file(registry: httpx.Client, asked: str, status: int, content: bytes) -> None:
    answer = registry.get(f"/{_DIGEST}", headers={"Host": OLLAMA_BLOBS, "Range": asked})
    assert answer.status_code == status
    assert answer.content == content


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("qwen3:4b", Name("library", "qwen3", "4b")),
        ("qwen3", Name("library", "qwen3", "latest")),
        ("me/jini:v2", Name("me", "jini", "v2")),
    ],
)
def test_model_names(text: str, name: Name) -> None:
    assert Name.parse(text) == name


def test_model_file_is_made_once_and_is_the_models_own(tmp_path: Path) -> None:
    first = ollama_models.model_file(Name.parse("qwen3:4b"), tmp_path)
    before = first.stat().st_mtime_ns
    assert ollama_models.model_file(Name.parse("qwen3:4b"), tmp_path).stat().st_mtime_ns == before
    other = ollama_models.model_file(Name.parse("qwen3:8b"), tmp_path)
    assert other.read_bytes()[-1024:] != first.read_bytes()[-1024:]  # weights, not only the name


def test_model_is_a_llama_with_a_whole_vocabulary(tmp_path: Path) -> None:
    tiny_gguf.write(tmp_path / "a.gguf", "x", 1)
    tiny_gguf.write(tmp_path / "b.gguf", "x", 1)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
    reader = gguf.GGUFReader(tmp_path / "a.gguf")
    architecture, tokens = reader.get_field("general.architecture"), reader.get_field("tokenizer.ggml.tokens")
    assert architecture is not None
    assert tokens is not None
    shapes = {tensor.name: list(tensor.shape) for tensor in reader.tensors}
    assert architecture.contents() == "llama"
    assert shapes["token_embd.weight"] == shapes["output.weight"] == [64, len(tokens.contents())]


def test_published_config_lists_the_layers() -> None:
    published = ollama_models.publish(_GGUF)
    manifest = json.loads(published.manifest)
    config = json.loads(published.blobs[manifest["config"]["digest"]])
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
