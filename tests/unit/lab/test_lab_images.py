"""Images: the same content gives the same digest, whenever and from wherever it is made."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from lab.images import Entry, Image, write_archive


@pytest.fixture
def image(tmp_path: Path) -> Image:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF" * 100)
    entries = (
        Entry("/usr/bin/program", program),
        Entry("/tmp", mode=0o1777),
        Entry("/srv/data", mode=0o775, owner=101),
        Entry("/srv/text", text="x", owner=101),
        Entry("/bin/sh", link="/usr/bin/program"),
    )
    return Image(entries, ("/usr/bin/program",), ("serve",), ("A=b",), user="1000", stop_signal="SIGQUIT")


def _parts(archive: Path) -> tuple[dict[str, Any], dict[str, Any], bytes]:
    """The archive's manifest, configuration and layer, each looked up by the digest that names it."""
    files: dict[str, bytes] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member)
            assert content is not None
            files[member.name] = content.read()

    def blob(descriptor: dict[str, Any]) -> bytes:
        content = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
        assert f"sha256:{hashlib.sha256(content).hexdigest()}" == descriptor["digest"]
        assert len(content) == descriptor["size"]
        return content

    manifest = json.loads(blob(json.loads(files["index.json"])["manifests"][0]))
    return manifest, json.loads(blob(manifest["config"])), blob(manifest["layers"][0])


def test_same_content_same_bytes(image: Image, tmp_path: Path) -> None:
    first = write_archive(image, "lab/x:1", tmp_path / "a.tar")
    os.utime(tmp_path / "program", (1, 1))
    assert write_archive(image, "lab/x:1", tmp_path / "b.tar") == first
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_changed_content_changes_digest_and_key(image: Image, tmp_path: Path) -> None:
    key, digest = image.key(), write_archive(image, "lab/x:1", tmp_path / "a.tar")
    (tmp_path / "program").write_bytes(b"other")
    assert image.key() != key
    assert write_archive(image, "lab/x:1", tmp_path / "b.tar") != digest


def test_layer_has_files_folders_and_links(image: Image, tmp_path: Path) -> None:
    write_archive(image, "lab/x:1", tmp_path / "a.tar")
    _, config, layer = _parts(tmp_path / "a.tar")
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        members = {member.name: member for member in tar}
    assert " ".join(members) == "bin bin/sh srv srv/data srv/text tmp usr usr/bin usr/bin/program"
    assert members["tmp"].isdir()
    assert members["tmp"].mode == 0o1777
    assert members["bin/sh"].linkname == "/usr/bin/program"
    assert members["usr/bin/program"].mode == 0o755
    owned = {name: (member.uid, member.gid) for name, member in members.items() if member.uid or member.gid}
    assert owned == {"srv/data": (101, 101), "srv/text": (101, 101)}
    assert {member.mtime for member in members.values()} == {1_700_000_000}
    assert config["config"]["User"] == "1000"
    assert config["config"]["Entrypoint"] == ["/usr/bin/program"]
    assert config["config"]["Cmd"] == ["serve"]
    assert config["config"]["StopSignal"] == "SIGQUIT"


def test_configuration_names_the_layer_it_unpacks_to(image: Image, tmp_path: Path) -> None:
    write_archive(image, "lab/x:1", tmp_path / "a.tar")
    manifest, config, _ = _parts(tmp_path / "a.tar")
    assert config["rootfs"]["diff_ids"] == [layer["digest"] for layer in manifest["layers"]]
