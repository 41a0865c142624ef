"""What is in each of the lab's images, and under which references the cluster knows it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from lab.components import PAUSE_IMAGE
from lab.images import Entry, Image

SYSTEM_PROGRAMS = ("pause", "coredns", "local-path-provisioner", "traefik")
ROLE_PROGRAMS = {"vllm": ("vllm", "llm-d-inference-sim"), "ollama": ("ollama",), "devicePlugin": ("device-plugin",)}
"""Go programs that the image of each role needs."""

SYSTEM_IMAGES = {
    "pause": PAUSE_IMAGE,
    "busybox": "docker.io/rancher/mirrored-library-busybox:1.37.0",
    "coredns": "docker.io/rancher/mirrored-coredns-coredns:1.15.0",
    "local_path": "docker.io/rancher/local-path-provisioner:v0.0.30",
    "traefik": "docker.io/rancher/mirrored-library-traefik:3.6.12",
}
"""References of the images that k3s' packaged parts use, by name."""

_BUSYBOX = Path("/bin/busybox")
_APPLETS = (
    *("sh", "sleep", "cat", "grep", "test", "ls", "mkdir", "chmod", "rm", "cp", "mv", "df", "mount", "id", "env"),
    *("echo", "nc", "head", "tail", "wc", "sed", "true", "false"),
)
_GPU_ENVIRONMENT = ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility")


def system_image(name: str, programs: dict[str, Path]) -> Image:
    """The image `name` of SYSTEM_IMAGES; `programs` has the Go programs by name."""
    if name == "pause":
        return Image((Entry("/pause", programs["pause"]),), ("/pause",), user="65535:65535")
    if name == "busybox":
        return Image((*_tmp(), *_busybox()), cmd=("sh",))
    program = {"local_path": "local-path-provisioner"}.get(name, name)
    return Image((*_tmp(), Entry(f"/{program}", programs[program])), (f"/{program}",))


def role_image(role: str, programs: dict[str, Path], authority: Path) -> Image:
    """The image that answers for `role`.

    Args:
        role: a role of the spec.
        programs: the Go programs by name.
        authority: certificate of the authority that signs for the lab's stand-ins of internet sites.
    """
    if role == "ollama":
        return Image(
            (
                *_tmp(),
                *_users("ubuntu:x:1000:1000::/home/ubuntu:/bin/sh"),
                *_busybox(),
                Entry("/bin/ollama", programs["ollama"]),
                Entry("/usr/bin/ollama", link="/bin/ollama"),
                *_libraries(programs["ollama"]),
                Entry("/etc/ssl/certs/ca-certificates.crt", authority, mode=0o644),
            ),
            ("/bin/ollama",),
            ("serve",),
            ("OLLAMA_HOST=0.0.0.0:11434", *_GPU_ENVIRONMENT),
        )
    if role == "devicePlugin":
        program = Entry("/usr/bin/nvidia-device-plugin", programs["device-plugin"])
        return Image((*_tmp(), program), ("nvidia-device-plugin",), env=_GPU_ENVIRONMENT)
    binaries = (
        Entry("/usr/local/bin/vllm", programs["vllm"]),
        Entry("/usr/local/bin/llm-d-inference-sim", programs["llm-d-inference-sim"]),
    )
    # The real image has a shell too, for who looks into a pod.
    return Image((*_tmp(), *_busybox(), *binaries), ("vllm", "serve"), env=_GPU_ENVIRONMENT, workdir="/vllm-workspace")


def _tmp() -> tuple[Entry, ...]:
    return (Entry("/tmp", mode=0o1777),)


def _users(*others: str) -> tuple[Entry, ...]:
    """The list of users, from which the container runtime takes HOME: without it that would be `/` for root too."""
    lines = "\n".join(["root:x:0:0:root:/root:/bin/sh", *others, ""])
    return (Entry("/root", mode=0o700), Entry("/etc/passwd", text=lines, mode=0o644))


def _busybox() -> tuple[Entry, ...]:
    links = tuple(Entry(f"/bin/{applet}", link="/bin/busybox") for applet in _APPLETS)
    return (Entry("/bin/busybox", _BUSYBOX), *links)


def _libraries(program: Path) -> tuple[Entry, ...]:
    """The shared libraries of `program`, where the loader looks for them."""
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    return tuple(Entry(path, Path(path).resolve()) for path in sorted(set(re.findall(r"(/\S+) \(0x", listed))))
