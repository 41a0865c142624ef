"""The models of the registry stand-in, as the files and manifests that registry.ollama.ai would have."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

_DOCKER = "application/vnd.docker"
_OLLAMA = "application/vnd.ollama.image"
_TEMPLATE = "{{ range .Messages }}<|{{ .Role }}|>\n{{ .Content }}</s>\n{{ end }}<|assistant|>\n"
_PARAMETERS = {"num_predict": 64, "stop": ["</s>"]}
"""A model of random weights seldom finds an end: it gets one."""


@dataclass(frozen=True)
class Name:
    """A model's name in the registry, every part of it said."""

    namespace: str
    model: str
    tag: str

    @classmethod
    def parse(cls, text: str) -> Name:
        """`qwen3:4b`, `qwen3`, `someone/model:tag`: the namespace is `library` and the tag `latest` if not given."""
        path, _, tag = text.partition(":")
        namespace, _, model = path.rpartition("/")
        return cls(namespace or "library", model, tag or "latest")

    @property
    def path(self) -> str:
        """`namespace/model`, as in the registry's addresses."""
        return f"{self.namespace}/{self.model}"


def model_file(name: Name, folder: Path) -> Path:
    """The GGUF of model `name` in `folder`, made if it is not there; each model's weights are its own."""
    path = folder / f"{name.namespace}-{name.model}-{name.tag}.gguf"
    if not path.exists():
        from lab.standins import tiny_gguf  # numpy takes half a second to import, and is seldom needed

        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        seed = int(hashlib.sha256(repr(name).encode()).hexdigest()[:8], 16)
        tiny_gguf.write(partial, f"{name.path}:{name.tag}", seed)
        partial.rename(path)
    return path


@dataclass(frozen=True)
class Published:
    """A model as the registry has it: its manifest, and its blobs by digest."""

    manifest: bytes
    blobs: dict[str, bytes]


def publish(gguf: bytes) -> Published:
    """The manifest and blobs of a model with the weights `gguf`."""
    layers = [
        (f"{_OLLAMA}.model", gguf),
        (f"{_OLLAMA}.template", _TEMPLATE.encode()),
        (f"{_OLLAMA}.params", json.dumps(_PARAMETERS).encode()),
    ]
    config = {
        "model_format": "gguf",
        "model_family": "llama",
        "model_families": ["llama"],
        "model_type": "100K",
        "file_type": "F16",
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [_digest(content) for _, content in layers]},
    }
    config_blob = json.dumps(config).encode()
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{_DOCKER}.distribution.manifest.v2+json",
        "config": _descriptor(f"{_DOCKER}.container.image.v1+json", config_blob),
        "layers": [_descriptor(kind, content) for kind, content in layers],
    }
    blobs = {_digest(content): content for content in (config_blob, *(content for _, content in layers))}
    return Published(json.dumps(manifest).encode(), blobs)


def _descriptor(kind: str, content: bytes) -> dict[str, object]:
    return {"mediaType": kind, "digest": _digest(content), "size": len(content)}


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"
