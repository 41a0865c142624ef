"""Container images made without any engine: an OCI archive of one layer from given files, the same bytes each time."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

_MADE = 1_700_000_000
"""Time stamp of everything in an image: it must not depend on when the image was made."""
_OCI = "application/vnd.oci.image"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Entry:
    """One path of an image: a file with the content of `source` or `text`, a symbolic link, or else a folder.

    Attributes:
        path: absolute path in the image; folders above it are made as needed.
        source: file on this machine.
        text: the file's content itself.
        link: target of the symbolic link.
        mode: permissions; by default any user may read a file, run it, and enter a folder.
        owner: numeric user and group that it belongs to.
    """

    path: str
    source: Path | None = None
    text: str = ""
    link: str = ""
    mode: int = 0o755
    owner: int = 0


@dataclass(frozen=True)
class Image:
    """What an image holds and how it starts; arguments as in the OCI image configuration."""

    entries: tuple[Entry, ...]
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = "/"
    stop_signal: str = "SIGTERM"

    def key(self) -> str:
        """16 hex digits that change when the image would; looks at the files' size and time, not their content."""
        facts = [json.dumps(asdict(self), default=str)]
        for entry in self.entries:
            if entry.source:
                stat = entry.source.stat()
                facts.append(f"{entry.source} {stat.st_size} {stat.st_mtime_ns}")
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def write_archive(image: Image, name: str, target: Path) -> str:
    """Write `image` to the file `target`, named `name` for who imports it.

    Returns:
        The digest of its manifest, `sha256:...`.
    """
    layer_file = target.with_name(f".{target.name}.layer")
    with layer_file.open("w+b") as layer:
        with tarfile.open(fileobj=layer, mode="w", format=tarfile.GNU_FORMAT) as archive:
            for entry in _with_parents(image.entries):
                _add_entry(archive, entry)
        size = layer.tell()
        layer.seek(0)
        layer_digest = hashlib.file_digest(layer, "sha256").hexdigest()
        config = _json(
            {
                "architecture": "amd64",
                "os": "linux",
                "created": "2023-11-14T22:13:20Z",
                "config": {
                    "User": image.user,
                    "Env": [_PATH, *image.env],
                    "Entrypoint": list(image.entrypoint) or None,
                    "Cmd": list(image.cmd) or None,
                    "WorkingDir": image.workdir,
                    "StopSignal": image.stop_signal,
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
            }
        )
        # Not compressed: the archive never leaves the machine, and the result depends on no version of zlib.
        manifest = _json(
            {
                "schemaVersion": 2,
                "mediaType": f"{_OCI}.manifest.v1+json",
                "config": _descriptor(f"{_OCI}.config.v1+json", config),
                "layers": [
                    {"mediaType": f"{_OCI}.layer.v1.tar", "digest": f"sha256:{layer_digest}", "size": size},
                ],
            }
        )
        named = {"io.containerd.image.name": name, "org.opencontainers.image.ref.name": name.rpartition(":")[2]}
        index = _json(
            {
                "schemaVersion": 2,
                "manifests": [
                    {
                        **_descriptor(f"{_OCI}.manifest.v1+json", manifest),
                        "platform": {"architecture": "amd64", "os": "linux"},
                        "annotations": named,
                    }
                ],
            }
        )
        layer.seek(0)
        with tarfile.open(target, "w") as archive:
            _add_bytes(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add_bytes(archive, "index.json", index)
            for blob in (config, manifest):
                _add_bytes(archive, f"blobs/sha256/{_digest(blob)}", blob)
            _add(archive, _info(f"blobs/sha256/{layer_digest}", 0o644), size, layer)
    layer_file.unlink()
    return f"sha256:{_digest(manifest)}"


def _with_parents(entries: Iterable[Entry]) -> list[Entry]:
    known: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda entry: entry.path):
        for parent in reversed(Path(entry.path).parents[:-1]):
            known.setdefault(str(parent), Entry(str(parent)))
        known[entry.path] = entry
    return list(known.values())


def _add_entry(archive: tarfile.TarFile, entry: Entry) -> None:
    name = entry.path.lstrip("/")
    if entry.source:
        with entry.source.open("rb") as content:
            _add(archive, _info(name, entry.mode, entry.owner), entry.source.stat().st_size, content)
        return
    if entry.text:
        text = entry.text.encode()
        _add(archive, _info(name, entry.mode, entry.owner), len(text), io.BytesIO(text))
        return
    info = _info(name, entry.mode, entry.owner)
    info.type = tarfile.SYMTYPE if entry.link else tarfile.DIRTYPE
    info.linkname = entry.link
    archive.addfile(info)


def _add_bytes(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    _add(archive, _info(name, 0o644), len(content), io.BytesIO(content))


def _add(archive: tarfile.TarFile, info: tarfile.TarInfo, size: int, content: BinaryIO | io.BytesIO) -> None:
    info.size = size
    archive.addfile(info, content)


def _info(name: str, mode: int, owner: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = mode
    info.mtime = _MADE
    info.uid = info.gid = owner
    return info


def _descriptor(media_type: str, content: bytes) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{_digest(content)}", "size": len(content)}


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
