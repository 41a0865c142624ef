"""Brings images into the lab's containerd: those that are there with the same digest are left alone."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lab.images import Image, write_archive
from lab.layout import CONTAINERD_SOCKET

Run = Callable[[list[str]], str]
"""Runs a command in the lab and gives its standard output."""

CTR = ["ctr", "--address", str(CONTAINERD_SOCKET), "--namespace", "k8s.io"]


@dataclass(frozen=True)
class Archive:
    """An image archive in the cache folder."""

    path: Path
    digest: str

    @property
    def name(self) -> str:
        """The reference under which containerd imports it, before it gets the names that are asked for."""
        return f"lab.invalid/{self.path.stem}:{self.digest.removeprefix('sha256:')[:12]}"


def archive(image: Image, name: str, folder: Path) -> Archive:
    """The archive of `image` in `folder`, made if it is not there; older ones of the same name are removed."""
    facts = folder / f"{name}-{image.key()}.json"
    path = folder / f"{name}.tar"
    if facts.exists() and path.exists():
        return Archive(path, json.loads(facts.read_text())["digest"])
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob(f"{name}-????????????????.json"):
        old.unlink()
    partial = path.with_suffix(".partial")
    digest = write_archive(image, f"lab.invalid/{name}:imported", partial)
    partial.rename(path)
    facts.write_text(json.dumps({"digest": digest}))
    return Archive(path, digest)


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


def bring_in(archives: Mapping[str, Archive], run: Run) -> list[str]:
    """Import what is missing.

    Args:
        archives: the archive for each image reference, as the stack writes it.
        run: runs commands in the lab.

    Returns:
        The references that were missing or had another digest.
    """
    there = present(run)
    wanted = {normalise(reference): item for reference, item in archives.items()}
    missing = {reference: item for reference, item in wanted.items() if there.get(reference) != item.digest}
    contents = {item.digest: item for item in missing.values() if item.digest not in there.values()}
    with ThreadPoolExecutor(max_workers=2) as pool:
        list(pool.map(lambda item: _import(item, run), contents.values()))
    sources = {digest: reference for reference, digest in present(run).items()} if missing else {}
    for reference, item in missing.items():
        run([*CTR, "images", "tag", "--force", sources[item.digest], reference])
    return list(missing)


def _import(item: Archive, run: Run) -> None:
    run([*CTR, "images", "import", str(item.path)])


def remove(references: Iterable[str], run: Run) -> None:
    """Forget images by their full references."""
    for reference in references:
        run([*CTR, "images", "remove", reference])
