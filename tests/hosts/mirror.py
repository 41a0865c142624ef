"""A mirror as a site without the internet has it: NVIDIA's apt repository, signed, and releases of k3s."""

from __future__ import annotations

import hashlib
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_STANDINS = Path(__file__).with_name("standins")
_TOOLKIT = {
    "libnvidia-container1": ("usr/lib/libnvidia-container.so.1",),
    "libnvidia-container-tools": ("usr/bin/nvidia-container-cli",),
    "nvidia-container-toolkit-base": ("usr/bin/nvidia-ctk", "usr/bin/nvidia-container-runtime"),
    "nvidia-container-toolkit": ("usr/bin/nvidia-container-runtime-hook",),
}
# Where a lost connection hurts most: unpacked, and not yet configured.
_POSTINST = """#!/bin/sh
if [ "$(cat /etc/standin/die-at 2>/dev/null)" = postinst ]; then
  rm /etc/standin/die-at
  pkill -9 -s "$(ps -o sid= -p $$ | tr -d ' ')"
fi
"""


@dataclass(frozen=True)
class Mirror:
    """The mirror in `folder`, and the key that signs its packages."""

    folder: Path
    fingerprint: str


def make(folder: Path, *, toolkits: tuple[str, ...], k3s: tuple[str, ...]) -> Mirror:
    """Make a mirror with these versions."""
    folder.chmod(0o755)  # apt reads as a user of its own
    nvidia = folder / "nvidia"
    packages = nvidia / "stable/deb/amd64"
    packages.mkdir(parents=True)
    index = "\n".join(_package(packages, name, version) for version in toolkits for name in _TOOLKIT)
    (packages / "Packages").write_text(index)
    digest = hashlib.sha256(index.encode()).hexdigest()
    release = f"Date: Sat, 01 Nov 2025 00:00:00 UTC\nSHA256:\n {digest} {len(index.encode())} Packages\n"
    (packages / "Release").write_text(release)
    fingerprint = _sign(folder, nvidia / "gpgkey", packages / "Release", packages / "InRelease")
    for version in k3s:
        _release(folder / "k3s/download" / version, version)
    return Mirror(folder, fingerprint)


def _package(folder: Path, name: str, version: str) -> str:
    """Build one package, and give its paragraph of the index."""
    tree = folder / name
    for file in _TOOLKIT[name]:
        (tree / file).parent.mkdir(parents=True, exist_ok=True)
        (tree / file).write_text(f"#!/bin/sh\necho {version}\n")
        (tree / file).chmod(0o755)
    control = (
        f"Package: {name}\nVersion: {version}-1\nArchitecture: amd64\nMaintainer: tests\nDescription: a stand-in\n"
    )
    (tree / "DEBIAN").mkdir(exist_ok=True)
    (tree / "DEBIAN/control").write_text(control)
    (tree / "DEBIAN/postinst").write_text(_POSTINST)
    (tree / "DEBIAN/postinst").chmod(0o755)
    built = folder / f"{name}_{version}-1_amd64.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", str(tree), str(built)], check=True, capture_output=True
    )
    content = built.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return f"{control}Filename: ./{built.name}\nSize: {len(content)}\nSHA256: {digest}\n"


def _sign(work: Path, public: Path, release: Path, signed: Path) -> str:
    home = work / "gnupg"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}

    def gpg(*arguments: str) -> str:
        done = subprocess.run(
            ["gpg", "--batch", "--quiet", *arguments], env=environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    gpg("--passphrase", "", "--quick-generate-key", "mirror@tests", "rsa2048", "sign", "never")
    public.write_text(gpg("--armor", "--export"))
    gpg("--clearsign", "--output", str(signed), str(release))
    listed = gpg("--with-colons", "--list-keys").splitlines()
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environment, check=True)
    return next(line.split(":")[9] for line in listed if line.startswith("fpr:"))


def _release(folder: Path, version: str) -> None:
    folder.mkdir(parents=True)
    binary = (_STANDINS / "k3s").read_text().replace("@VERSION@", version)
    (folder / "k3s").write_text(binary)
    (folder / "sha256sum-amd64.txt").write_text(f"{hashlib.sha256(binary.encode()).hexdigest()}  k3s\n")
    (folder / "install.sh").write_text((_STANDINS / "install.sh").read_text())
    (folder / "k3s-airgap-images-amd64.tar.zst").write_text("images\n")
