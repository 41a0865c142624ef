"""What the lab needs from the machine: Linux, root, and some of Debian's packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolchain.steps import StepFailed, step

_PACKAGES = {
    "containerd": "containerd",
    "runc": "runc",
    "etcd": "etcd-server",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "socat": "socat",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "unshare": "util-linux",
    "openssl": "openssl",
    "curl": "curl",
    "nginx": "nginx-light",
    "envsubst": "gettext-base",
    "/bin/busybox": "busybox-static",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
}
"""Debian's package for each program (looked for on PATH) or file."""


def missing() -> list[str]:
    """Packages whose program is not there."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    found = {name: Path(name).exists() if "/" in name else bool(shutil.which(name, path=path)) for name in _PACKAGES}
    return sorted(package for name, package in _PACKAGES.items() if not found[name])


def ensure() -> None:
    """Install what is missing.

    Raises:
        StepFailed: not Linux, not root, no apt, or apt failed.
    """
    if sys.platform != "linux":
        raise StepFailed(
            f"The lab runs on Linux's namespaces, and this is {sys.platform}. Use a Linux machine or WSL2, "
            "or give an existing cluster by KUBECONFIG."
        )
    if os.geteuid() != 0:
        raise StepFailed(
            "The lab makes namespaces, mounts and network interfaces, which only root may. Run it with sudo, "
            "or give an existing cluster by KUBECONFIG."
        )
    packages = missing()
    if not packages:
        return
    if not shutil.which("apt-get"):
        raise StepFailed(
            f"The lab needs Debian's {', '.join(packages)}, and this machine has no apt-get to install them with. "
            "Install the same programs by other means and try again."
        )
    with step(f"Installing Debian's {', '.join(packages)}"):
        _apt("update", "-q")
        with _no_services_started():
            _apt("install", "-y", "-q", "--no-install-recommends", *packages)


def ensure_kernel() -> None:
    """Load the module by which the kernel's rules hold for packets between pods of one node.

    Raises:
        StepFailed: the kernel does not have it.
    """
    setting = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not setting.exists():
        subprocess.run(["modprobe", "br_netfilter"], capture_output=True, check=False)
    if not setting.exists():
        raise StepFailed(
            "This kernel has no br_netfilter, so services would not answer pods and network policies would not hold. "
            "Install or enable that module and try again."
        )


@contextmanager
def _no_services_started() -> Iterator[None]:
    """Keep Debian from starting the packages' services (containerd, etcd) on the machine: the lab runs its own."""
    policy = Path("/usr/sbin/policy-rc.d")
    if policy.exists():  # the machine has a policy of its own, which is not ours to change
        yield
        return
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    try:
        yield
    finally:
        policy.unlink()


def _apt(*arguments: str) -> None:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(["apt-get", *arguments], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-10:])
        raise StepFailed(f"apt-get {arguments[0]} failed, so the lab lacks programs that it needs:\n{tail}")
