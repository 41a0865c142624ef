"""Brings images into the lab's containerd: those that are there with the same digest are left alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from lab.images import Image, write_archive
from lab.layout import CONTAINERD_SOCKET
from lab.processes import write_atomically
from toolchain.steps import StepFailed

Run = Callable[[list[str]], str]
"""Runs a command in the lab and gives its standard output."""

_KEPT_SECONDS = 7 * 24 * 3600.0

CTR = ["ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io"]


@dataclass(frozen=True)
class Archive:
    """An image archive in the cache folder."""

    path: Path
    name: str
    digest: str


def _imported(name: str) -> str:
    """The reference under which containerd imports an image, before it gets the names that are asked for."""
    return f"lab.invalid/{name}:imported"


def archive(image: Image, name: str, folder: Path) -> Archive:
    """The archive of `image` in `folder`, made if it is not there; those that no lab used for a week are removed.

    Only one process at a time may work on the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{image.key()}.tar"
    digest = path.with_suffix(".digest")
    if not digest.exists():
        partial = path.with_suffix(".partial")
        found = write_archive(image, _imported(name), partial)
        partial.rename(path)
        write_atomically(digest, found)
    path.touch()
    for old in folder.glob(f"{name}-*.tar"):
        if old.stat().st_mtime < time.time() - _KEPT_SECONDS:
            old.with_suffix(".digest").unlink(missing_ok=True)
            old.unlink()
    return Archive(path, name, digest.read_text())


def normalise(reference: str) -> str:
    """The full form under which containerd keeps an image reference; a digest wins over a tag, as the kubelet has it.

    `vllm/vllm-openai:v1` becomes `docker.io/vllm/vllm-openai:v1`, `busybox` `docker.io/library/busybox:latest`.
    """
    name, at, digest = reference.partition("@")
    first, slash, _ = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif "." not in first and ":" not in first and first != "localhost":
        name = f"docker.io/{name}"
    path, colon, tag = name.rpartition(":")
    if not colon or "/" in tag:
        path, tag = name, "latest"
    return f"{path}@{digest}" if at else f"{path}:{tag}"


def present(run: Run) -> dict[str, str]:
    """Digests of the images that the lab's containerd has, by full reference."""
    lines = run([*CTR, "images", "list"]).splitlines()[1:]
    return {fields[0]: fields[2] for fields in (line.split() for line in lines)}


def answers(run: Run) -> bool:
    """Whether containerd takes commands."""
    try:
        run([*CTR, "version"])
    except StepFailed:
        return False
    return True


def missing(archives: Mapping[str, Archive], run: Run) -> dict[str, Archive]:
    """Those of `archives` (by image reference, as the stack writes it) that are not there, or in another version."""
    there = present(run)
    wanted = {normalise(reference): item for reference, item in archives.items()}
    return {reference: item for reference, item in wanted.items() if there.get(reference) != item.digest}


def bring_in(archives: Mapping[str, Archive], run: Run) -> None:
    """Import each archive once and give it the names (full references) that it has in `archives`."""
    sources = {digest: reference for reference, digest in present(run).items()}
    contents = {item.digest: item for item in archives.values() if item.digest not in sources}
    for item in contents.values():  # one by one: of two at a time containerd 1.6 may drop one without a word
        run([*CTR, "images", "import", str(item.path)])
        sources[item.digest] = _imported(item.name)
    for reference, item in archives.items():
        run([*CTR, "images", "tag", "--force", sources[item.digest], reference])


def _import(item: Archive, run: Run) -> Archive:
    run([*CTR, "images", "import", str(item.path)])
    return item
