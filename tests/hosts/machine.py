"""A host of a test's own on this machine: its own processes, network and files, and a real OpenSSH server.

Its files are this machine's, under a layer of its own that goes with it. Nothing here is changed, and nothing is
reached from outside but through `Machine.enter`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import packages

_STANDINS = Path(__file__).with_name("standins")
_START_SECONDS = 20.0
_INIT = r"""
set -eu
mount --make-rprivate /
mount -t tmpfs -o size=100g layers "$FOLDER/layers"
mkdir "$FOLDER/layers/upper" "$FOLDER/layers/work"
# Copied, since a layer may not lie within another one.
cp -a "$BASE" "$FOLDER/layers/base"
root=$FOLDER/root
cd "$FOLDER/layers"
mount -t overlay -o lowerdir=base:/,upperdir=upper,workdir=work overlay "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
for path in run tmp root home etc/apt/sources.list.d var/lib/apt/lists; do
  mount -t tmpfs -o mode=755 tmpfs "$root/$path"
done
chmod 1777 "$root/tmp"
mkdir -p "$root/run/sshd" "$root/run/systemd/system" "$root/var/lib/apt/lists/partial" "$root/srv/mirror"
mount --rbind "$MIRROR" "$root/srv/mirror"
echo "$KERNEL" >"$root/run/kernel"
mount --bind "$root/run/kernel" "$root/proc/sys/kernel/osrelease"
for home in root home/ops; do
  mkdir -p -m 700 "$root/$home/.ssh"
  cp "$FOLDER/user.pub" "$root/$home/.ssh/authorized_keys"
done
chown -R 54322 "$root/home/ops"
ip link set lo up
[ "$WEB" = False ] || (cd "$MIRROR" && "$PYTHON" -m http.server --bind 127.0.0.1 8000 >/dev/null 2>&1) &
exec chroot "$root" /usr/sbin/sshd -D -e -f /etc/ssh/test_config
"""


def base(folder: Path) -> Path:
    """The layer that all hosts have over this machine's files: sshd, sudo and what stands in for hardware."""
    packages.unpack("openssh-server", "libwrap0", "sudo", into=folder)
    for name in ("bin", "sbin", "lib"):
        if (folder / name).is_dir():  # Debian's packages may have it so; on the machine it is a link to usr
            shutil.copytree(folder / name, folder / "usr" / name, dirs_exist_ok=True, symlinks=True)
            shutil.rmtree(folder / name)
    for name in ("systemctl", "nvidia-smi"):
        _write(folder / "usr/bin" / name, (_STANDINS / name).read_text(), 0o755)
    for name, line in (
        ("passwd", "sshd:x:54321:65534::/run/sshd:/bin/false\nops:x:54322:54322::/home/ops:/bin/bash\n"),
        ("group", "ops:x:54322:\n"),
        ("shadow", "ops:*:19000:0:99999:7:::\n"),
    ):
        text = (Path("/etc") / name).read_text()
        kept = [entry for entry in text.splitlines() if not entry.startswith(("sshd:", "ops:"))]
        _write(folder / "etc" / name, "\n".join([*kept, line]), 0o644)
    _write(folder / "etc/sudoers.d/ops", "ops ALL=(ALL) NOPASSWD: ALL\n", 0o440)
    _write(folder / "etc/apt/sources.list", "", 0o644)
    _write(folder / "etc/standin/gpus.csv", "NVIDIA GeForce RTX 4090, 24564, 580.95.05, GPU-1\n", 0o644)
    _write(
        folder / "etc/ssh/test_config",
        "ListenAddress 127.0.0.1\nPort 22\nHostKey /etc/ssh/test_host_key\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPrintMotd no\n",
        0o644,
    )
    _keygen(folder / "etc/ssh/test_host_key")
    return folder


@dataclass
class Machine:
    """One host; `start` and `stop` it."""

    folder: Path
    base: Path
    mirror: Path
    kernel: str = "6.1.0-40-amd64"
    web: bool = True
    """Whether the mirror is served at http://127.0.0.1:8000 too, not only a folder."""

    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    @property
    def host_key(self) -> str:
        """The SSH server's public key, as a stack file has it."""
        return " ".join((self.base / "etc/ssh/test_host_key.pub").read_text().split()[:2])

    @property
    def private_key(self) -> str:
        """The key that lets in."""
        return (self.folder / "user").read_text()

    def start(self) -> None:
        """Start it; returns when its SSH server answers."""
        for name in ("layers", "root"):
            (self.folder / name).mkdir(parents=True)
        _keygen(self.folder / "user")
        with (self.folder / "log").open("wb") as log:
            self._process = self._started(log)
        deadline = time.monotonic() + _START_SECONDS
        while self.ssh("true", check=False).returncode != 0:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.1)  # before the next try

    def _started(self, log: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["unshare", "--mount", "--net", "--pid", "--uts", "--fork", "--kill-child", "bash", "-c", _INIT],
            env={
                "PATH": os.environ["PATH"],
                "FOLDER": str(self.folder),
                "BASE": str(self.base),
                "MIRROR": str(self.mirror),
                "KERNEL": self.kernel,
                "WEB": str(self.web),
                "PYTHON": sys.executable,
            },
            stderr=log,
        )

    def stop(self) -> None:
        """End it with all that runs in it; its files go too."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def enter(self, *command: str) -> list[str]:
        """`command` as it is run on this machine, but in the host's network."""
        return ["nsenter", f"--net=/proc/{self._init}/ns/net", *command]

    def ssh(
        self, command: str, *, stdin: str = "", user: str = "root", check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run `command` through the SSH server, which must have the host's key."""
        known = self.folder / "known_hosts"
        known.write_text(f"127.0.0.1 {self.host_key}\n")
        options = ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]
        line = ["ssh", "-F", "none", "-i", str(self.folder / "user"), *options, f"{user}@127.0.0.1", command]
        return subprocess.run(self.enter(*line), input=stdin, capture_output=True, text=True, check=check, timeout=120)

    def read(self, path: str) -> str:
        """A file's content; empty where there is none."""
        return self.ssh(f"cat {path} 2>/dev/null || true").stdout

    def log(self) -> list[str]:
        """What the stand-ins have done that changes something."""
        return self.read("/var/log/standin.log").splitlines()

    def written(self) -> dict[str, tuple[str, str]]:
        """Every file that is the host's own, with its size and when it was written; logs aside."""
        upper = str(self.folder / "layers/upper")
        listed = subprocess.run(
            [
                "nsenter",
                f"--target={self._init}",
                "--mount",
                "find",
                upper,
                "!",
                "-type",
                "d",
                "-printf",
                r"/%P\t%s\t%T@\n",
            ],
            check=True,
            capture_output=True,
            text=True,
        )
        rows = [line.split("\t") for line in listed.stdout.splitlines()]
        return {path: (size, time) for path, size, time in rows if not path.startswith("/var/log/")}

    @property
    def _init(self) -> int:
        assert self._process is not None, "not started"
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
        return int(children[0]) if children else self._process.pid


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def _keygen(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
