"""vLLM's own source and what its parser imports, fetched once into the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from toolchain.paths import cache_dir

FOLDER = Path(__file__).parent
_PARTS = ("vllm", "docs", "requirements")
"""Folders of the source distribution that the parser needs; kernels and tests are not among them."""


def vllm_source() -> tuple[Path, Path]:
    """The unpacked source of the pinned release, and a folder with the packages that its parser imports.

    Raises:
        RuntimeError: pip could not fetch them.
    """
    pins = [FOLDER / "vllm-source.txt", FOLDER / "vllm-packages.txt"]
    key = hashlib.sha256(b"".join(pin.read_bytes() for pin in pins) + sys.version.encode()).hexdigest()[:16]
    made = cache_dir() / "contract" / f"vllm-parser-{key}"
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=made.parent) as name:
            _fetch(*pins, into=Path(name))
            try:
                Path(name).rename(made)  # all of it, or nothing
            except OSError:
                if not made.exists():  # else another run was faster
                    raise
            Path(name).mkdir(exist_ok=True)  # for TemporaryDirectory to take away
    return made / "source", made / "packages"


def _fetch(source: Path, packages: Path, *, into: Path) -> None:
    downloads = into / "downloads"
    _pip("install", "--target", str(into / "packages"), "--requirement", str(packages))
    _pip(
        *("download", "--no-deps", "--no-binary=:all:", "--no-build-isolation"),
        *("--dest", str(downloads), "--requirement", str(source)),
        path=FOLDER / "metadata_only",
    )
    [archive] = downloads.iterdir()
    with tarfile.open(archive) as tar:
        wanted = [member for member in tar if member.name.split("/")[1:2] and member.name.split("/")[1] in _PARTS]
        tar.extractall(into, members=wanted, filter="data")
    shutil.rmtree(downloads)
    (into / archive.name.removesuffix(".tar.gz")).rename(into / "source")


def _pip(*arguments: str, path: Path | None = None) -> None:
    """Run pip with hashes required; `path`: a folder whose modules come before the installed ones."""
    environment = os.environ | ({"PYTHONPATH": str(path)} if path else {})
    command = [sys.executable, "-m", "pip", arguments[0], "--quiet", "--require-hashes", *arguments[1:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"vLLM's parser could not be fetched:\n{done.stdout}{done.stderr}")
