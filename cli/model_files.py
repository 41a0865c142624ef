"""What the files of a model say of it: config.json, the headers of its weights, and its page at the hub.

Of weight files the headers are read and never the tensors. GGUF is read by hand: the `gguf` package wants numpy and
builds every one of a tokenizer's 150,000 texts, where a few numbers are asked for.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import httpx

from planning.catalogue.gguf_metadata import GgufHeader

HUB = "https://huggingface.co"
_TIMEOUT_SECONDS = 20
_LONGEST_HEADER_BYTES = 100 * 2**20
_MOST_DIMENSIONS = 8
"""What the safetensors library itself reads at most."""

_MODELOPT = "hf_quant_config.json"
"""Where NVIDIA's ModelOpt says how it quantized, in checkpoints whose config.json is as if nothing had been."""

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _ARRAY = 8, 9


class SourceError(Exception):
    """A source that is no model, or cannot be read; the message says which, why, and what to give instead."""


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """What was found of a model."""

    name: str
    config: Mapping[str, Any]
    files_bytes: int | None = None
    tensors: Mapping[str, int] = field(default_factory=dict)
    """Elements of each tensor, where headers were read: those of packed weights are fewer than parameters."""

    parameters: int | None = None
    """As the hub counts them."""

    gated: bool = False
    licence: str | None = None
    languages: Sequence[str] = ()


def read_folder(path: Path) -> ModelFiles:
    """A folder with config.json, or that file itself; weights beside it are measured.

    Raises:
        SourceError: there is no config.json, or a file is none of what its name says.
    """
    config_file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(config_file.read_text())
    except FileNotFoundError:
        raise SourceError(f"{config_file}: there is no such file. Give a config.json, its folder, or a GGUF.") from None
    except ValueError as error:
        raise SourceError(f"{config_file}: is no JSON ({error}).") from None
    if not isinstance(config, dict):
        raise SourceError(f"{config_file}: holds no JSON object, so it is no model's configuration.")
    folder = config_file.parent
    modelopt = folder / _MODELOPT
    if modelopt.is_file():
        config = _with_modelopt(config, json.loads(modelopt.read_text()))
    shards = [folder / name for name in _weights(file.name for file in folder.iterdir())]
    tensors: dict[str, int] = {}
    for shard in shards:
        tensors |= _safetensors_header(shard)
    index = folder / "model.safetensors.index.json"
    total = json.loads(index.read_text())["metadata"]["total_size"] if index.is_file() else 0
    measured = sum(shard.stat().st_size for shard in shards)
    # An index without all of its files still tells their size.
    complete = measured >= total
    return ModelFiles(
        name=folder.resolve().name,  # not `_name_or_path`: in a quantized checkpoint that is the model it was made of
        config=config,
        files_bytes=max(measured, total) or None,
        tensors=tensors if complete else {},
    )


def read_hub(repository: str, *, hub: str = HUB, token: str | None = None) -> ModelFiles:
    """A repository of the hub: two requests, and no weights.

    Args:
        token: of an account that has been let in, for gated repositories.

    Raises:
        SourceError: the hub cannot be reached, or does not give the file.
    """
    token = (token or "").strip()
    if not re.fullmatch(r"[!-~]*", token):
        raise SourceError("HF_TOKEN: is no token (it has spaces or characters beyond ASCII), so it was not sent.")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with httpx.Client(base_url=hub, headers=headers, timeout=_TIMEOUT_SECONDS, follow_redirects=True) as client:
        page = _get(client, f"/api/models/{repository}?blobs=true", repository)
        config = _get(client, f"/{repository}/resolve/main/config.json", repository)
        sizes = {file["rfilename"]: int(file.get("size") or 0) for file in page.get("siblings", [])}
        if _MODELOPT in sizes:
            config = _with_modelopt(config, _get(client, f"/{repository}/resolve/main/{_MODELOPT}", repository))
    card = page.get("cardData") or {}
    languages = card.get("language") or []
    counts = (page.get("safetensors") or {}).get("parameters") or {}
    return ModelFiles(
        name=str(page.get("id", repository)),
        config=config,
        files_bytes=sum(sizes[name] for name in _weights(sizes)) or None,
        parameters=sum(counts.values()) or None,
        gated=bool(page.get("gated")),
        licence=card.get("license_name") or card.get("license"),
        languages=[languages] if isinstance(languages, str) else languages,
    )


def read_gguf(path: Path) -> tuple[GgufHeader, int]:
    """Metadata and tensors of a GGUF file, and the bytes of it and of the further parts of a split one.

    Raises:
        SourceError: it is no GGUF, or a part is missing.
    """
    parts = _parts(path)
    metadata: dict[str, Any] = {}
    tensors: dict[str, int] = {}
    for part in parts:
        with part.open("rb") as file:
            try:
                found, elements = _gguf_header(file)
            except (struct.error, UnicodeDecodeError, ValueError) as error:
                raise SourceError(f"{part}: is no GGUF file that can be read: {error}.") from None
        metadata = {**found, **metadata}
        tensors |= elements
    return GgufHeader(metadata=metadata, tensors=tensors), sum(part.stat().st_size for part in parts)


def _with_modelopt(config: dict[str, Any], said: Mapping[str, Any]) -> dict[str, Any]:
    algorithm = (said.get("quantization") or {}).get("quant_algo")
    return {"quantization_config": {"quant_method": "modelopt", "quant_algo": algorithm}, **config}


def _parts(path: Path) -> list[Path]:
    if not (split := re.fullmatch(r"(.+)-\d{5}-of-(\d{5})\.gguf", path.name)):
        return [path]
    stem, count = split.group(1), int(split.group(2))
    parts = []
    for number in range(1, count + 1):
        part = path.with_name(f"{stem}-{number:05d}-of-{count:05d}.gguf")
        if not part.is_file():
            raise SourceError(f"{path}: {part.name} is missing, one of {count} parts, so the whole is not known.")
        parts.append(part)
    return parts


def _get(client: httpx.Client, path: str, repository: str) -> dict[str, Any]:
    url = client.base_url
    where = f"{url.scheme}://{url.netloc.decode()}{path}"  # without what is before an @
    try:
        answer = client.get(path)
    except httpx.HTTPError as error:
        raise SourceError(
            f"{where}: cannot be reached ({type(error).__name__}). Where there is no internet, copy the "
            "model's config.json and give its path."
        ) from None
    if answer.status_code in (401, 403):
        raise SourceError(
            f"{repository}: is gated, or there is none of that name. Ask its owner for access, and set HF_TOKEN to a "
            "token of the account that was let in."
        )
    if answer.status_code != httpx.codes.OK:
        raise SourceError(
            f"{where}: answered {answer.status_code}. A repository of GGUF files alone has no config.json."
        )
    try:
        content: Any = answer.json()
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise SourceError(f"{where}: answered with no JSON object; is a proxy's page in between?")
    return content


def _weights(names: Any) -> list[str]:
    """The safetensors files to load: not the second copy that some repositories have under another name."""
    files = [name for name in sorted(names) if name.endswith(".safetensors") and "/" not in name]
    first = [name for name in files if not name.startswith("consolidated")]
    return first or files


def _safetensors_header(path: Path) -> dict[str, int]:
    """Elements of each tensor: eight bytes of length, then JSON."""
    with path.open("rb") as file:
        lead = file.read(8)
        length = struct.unpack("<Q", lead)[0] if len(lead) == 8 else 0
        if not 2 <= length <= _LONGEST_HEADER_BYTES:
            raise SourceError(f"{path}: is no safetensors file: its header would have {length} bytes.")
        try:
            header = json.loads(file.read(length))
            tensors = {name: info for name, info in header.items() if name != "__metadata__"}
            whole = 8 + length + max((int(info["data_offsets"][1]) for info in tensors.values()), default=0)
            if whole > path.stat().st_size:
                raise SourceError(
                    f"{path}: ends before its tensors do. Wait until it is downloaded, or fetch it again."
                )
            return {name: _elements(info["shape"]) for name, info in tensors.items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise SourceError(f"{path}: is no safetensors file: {error!r} in its header.") from None


def _elements(shape: list[int]) -> int:
    """Of a tensor, which has few dimensions (a convolution has five); a header may claim any number."""
    if len(shape) > _MOST_DIMENSIONS:
        raise ValueError(f"a tensor of {len(shape)} dimensions")
    return math.prod(shape)


def _gguf_header(file: BinaryIO) -> tuple[dict[str, Any], dict[str, int]]:
    magic, version = file.read(4), _number(file, "I")
    if magic != b"GGUF" or version not in (2, 3):
        raise ValueError(f"it begins with {magic!r}, version {version}; versions 2 and 3 are read")
    count, pairs = _number(file, "Q"), _number(file, "Q")
    metadata: dict[str, Any] = {}
    for _ in range(pairs):
        key = _text(file)
        # Tags and languages; a tokenizer's texts are many, and need not be UTF-8.
        metadata[key] = _value(file, _number(file, "I"), texts=key.startswith("general."))
    tensors: dict[str, int] = {}
    for _ in range(count):
        name = _text(file)
        dimensions = _number(file, "I")
        tensors[name] = _elements([_number(file, "Q") for _ in range(min(dimensions, _MOST_DIMENSIONS + 1))])
        file.seek(4 + 8, 1)  # its type and offset
    return metadata, tensors


def _value(file: BinaryIO, kind: int, *, texts: bool) -> Any:
    """The value of type `kind`; of an array of texts the number of them, unless `texts` are wanted."""
    if kind == _TEXT:
        return _text(file)
    if kind != _ARRAY:
        return _number(file, _format(kind))
    inner, count = _number(file, "I"), _number(file, "Q")
    if inner == _TEXT:
        if texts:
            return [_text(file) for _ in range(count)]
        for _ in range(count):
            file.seek(_number(file, "Q"), 1)
        return count
    form = _format(inner)
    return list(struct.unpack(f"<{count}{form}", _exactly(file, count * struct.calcsize(f"<{form}"))))


def _format(kind: int) -> str:
    if kind not in _NUMBERS:
        raise ValueError(f"a value of type {kind}, which GGUF does not have")
    return _NUMBERS[kind]


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(f"<{form}", _exactly(file, struct.calcsize(f"<{form}")))[0]


def _text(file: BinaryIO) -> str:
    return _exactly(file, _number(file, "Q")).decode()


def _exactly(file: BinaryIO, count: int) -> bytes:
    if count > _LONGEST_HEADER_BYTES:
        raise ValueError(f"a value of {count} bytes in its header")
    if len(found := file.read(count)) != count:
        raise ValueError("it ends within its header")
    return found
