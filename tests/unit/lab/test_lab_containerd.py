"""Images in containerd: names as the kubelet looks them up, and nothing imported twice."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lab import containerd
from lab.containerd import Archive
from lab.images import Entry, Image

_DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("busybox:1.37", "docker.io/library/busybox:1.37"),
        ("vllm/vllm-openai:v0.33.0", "docker.io/vllm/vllm-openai:v0.33.0"),
        ("nvcr.io/nvidia/k8s-device-plugin:v0.20.0", "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"),
        ("localhost:5000/a", "localhost:5000/a:latest"),
        ("registry:5000/a:1", "registry:5000/a:1"),
        (f"ollama/ollama:0.32.15@{_DIGEST}", f"docker.io/ollama/ollama@{_DIGEST}"),
        (f"ollama/ollama@{_DIGEST}", f"docker.io/ollama/ollama@{_DIGEST}"),
    ],
)
def test_reference_is_written_out(written: str, full: str) -> None:
    assert containerd.normalise(written) == full


class _Containerd:
    """Remembers images as `ctr` would list them, and what it was told to do."""

    def __init__(self, images: dict[str, str], imports: dict[str, str]) -> None:
        self.images = images
        self._imports = imports
        self.done: list[str] = []

    def run(self, command: list[str]) -> str:
        assert command[: len(containerd.CTR)] == containerd.CTR
        match command[len(containerd.CTR) :]:
            case ["images", "list"]:
                rows = [f"{name} application/x {digest} 1 MiB linux/amd64 -" for name, digest in self.images.items()]
                return "\n".join(["REF TYPE DIGEST SIZE PLATFORMS LABELS", *rows]) + "\n"
            case ["images", "import", path]:
                self.done.append(f"import {path}")
                name = Path(path).stem
                self.images[f"lab.invalid/{name}:imported"] = self._imports[path]
            case ["images", "tag", "--force", source, target]:
                self.done.append(f"tag {target}")
                self.images[target] = self.images[source]
            case other:
                raise AssertionError(other)
        return ""


def test_one_import_for_all_names_of_an_image() -> None:
    archive = Archive(Path("/c/vllm.tar"), "vllm", "sha256:1")
    there = _Containerd({}, {"/c/vllm.tar": "sha256:1"})
    missing = containerd.missing({"vllm/vllm-openai:v1": archive, "vllm/vllm-openai:v2": archive}, there.run)
    containerd.bring_in(missing, there.run)
    assert there.done == [
        "import /c/vllm.tar",
        "tag docker.io/vllm/vllm-openai:v1",
        "tag docker.io/vllm/vllm-openai:v2",
    ]


def test_image_that_is_there_is_left_alone() -> None:
    archive = Archive(Path("/c/vllm.tar"), "vllm", "sha256:1")
    there = _Containerd({"docker.io/vllm/vllm-openai:v1": "sha256:1"}, {})
    assert containerd.missing({"vllm/vllm-openai:v1": archive}, there.run) == {}


def test_new_name_of_a_known_image_needs_no_import() -> None:
    archive = Archive(Path("/c/vllm.tar"), "vllm", "sha256:1")
    there = _Containerd({"docker.io/vllm/vllm-openai:v1": "sha256:1"}, {})
    containerd.bring_in(containerd.missing({"vllm/vllm-openai:v2": archive}, there.run), there.run)
    assert there.done == ["tag docker.io/vllm/vllm-openai:v2"]


def test_changed_image_is_imported_again() -> None:
    archive = Archive(Path("/c/vllm.tar"), "vllm", "sha256:2")
    there = _Containerd({"docker.io/vllm/vllm-openai:v1": "sha256:1"}, {"/c/vllm.tar": "sha256:2"})
    containerd.bring_in(containerd.missing({"vllm/vllm-openai:v1": archive}, there.run), there.run)
    assert there.images["docker.io/vllm/vllm-openai:v1"] == "sha256:2"


def test_archive_is_made_once_and_kept_while_used(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("1")
    image = Image((Entry("/program", program),))
    first = containerd.archive(image, "x", tmp_path / "images")
    made = first.path.stat().st_ino
    assert containerd.archive(image, "x", tmp_path / "images") == first
    assert first.path.stat().st_ino == made
    program.write_text("22")
    second = containerd.archive(image, "x", tmp_path / "images")
    assert second.digest != first.digest
    assert first.path.exists()
    os.utime(first.path, (time.time() - 8 * 24 * 3600,) * 2)
    containerd.archive(image, "x", tmp_path / "images")
    assert not first.path.exists()
