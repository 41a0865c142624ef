"""Debian's packages that a test host has and this machine may lack: fetched once, and unpacked into the host alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

from toolchain.paths import cache_dir


def unpack(*packages: str, into: Path) -> None:
    """Unpack `packages` under `into`; no script of theirs runs."""
    folder = cache_dir() / "test-hosts"
    folder.mkdir(parents=True, exist_ok=True)
    lacking = [package for package in packages if not list(folder.glob(f"{package}_*.deb"))]
    if lacking:
        done = _apt("download", "-q", *lacking, folder=folder)
        if done.returncode != 0:  # the lists are of yesterday, or there are none
            _apt("update", "-q", folder=folder)
            done = _apt("download", "-q", *lacking, folder=folder)
        assert done.returncode == 0, f"apt-get download failed:\n{done.stderr}"
    for package in packages:
        file = str(next(folder.glob(f"{package}_*.deb")))
        subprocess.run(["dpkg-deb", "--extract", file, str(into)], check=True, capture_output=True)


def _apt(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["apt-get", *arguments], cwd=folder, capture_output=True, text=True, check=False)
