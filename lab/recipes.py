"""What is in each of the lab's images, and under which references the cluster knows it."""

from __future__ import annotations

import re
from pathlib import Path

from lab.images import Entry, Image
from lab.node import output
from lab.node_components import PAUSE_IMAGE
from lab.spec import Role
from toolchain.catalogue import PROGRAMS

SYSTEM_PROGRAMS = ("pause", "coredns", "local-path-provisioner", "traefik")
ROLE_PROGRAMS: dict[Role, tuple[str, ...]] = {
    "vllm": ("vllm", "llm-d-inference-sim"),
    "ollama": ("ollama",),
    "llamacpp": (),
    "tgi": ("tgi", "llm-d-inference-sim"),
    "devicePlugin": ("device-plugin",),
    "gateway": (),
    "prometheus": ("prometheus", "promtool"),
    "prometheusAdapter": ("prometheus-adapter",),
    "dcgmExporter": ("dcgm-exporter",),
    "grafana": ("grafana",),
}
"""Go programs that the image of each role needs."""

ROLE_WHEELS: dict[Role, str] = {"llamacpp": "llama-server"}
"""Program of lab.wheels that the image of a role needs."""

SYSTEM_IMAGES = {
    "pause": PAUSE_IMAGE,
    "busybox": "docker.io/rancher/mirrored-library-busybox:1.37.0",
    "coredns": "docker.io/rancher/mirrored-coredns-coredns:1.15.0",
    "local_path": "docker.io/rancher/local-path-provisioner:v0.0.30",
    "traefik": "docker.io/rancher/mirrored-library-traefik:3.6.12",
}
"""References of the images that k3s' packaged parts use, by name."""

_BUSYBOX = Path("/bin/busybox")
_CRASHING_APPLETS = {"wget", "nslookup"}
"""Debian's static busybox cannot look names up, and crashes when it tries."""
_NGINX = Path("/usr/sbin/nginx")
_CURL = Path("/usr/bin/curl")
_NGINX_USER = 101
_NOBODY = 65534
_GRAFANA_USER = 472
_STANDINS = Path(__file__).parent / "standins"
_GPU_ENVIRONMENT = ("NVIDIA_VISIBLE_DEVICES=all", "NVIDIA_DRIVER_CAPABILITIES=compute,utility")


def system_image(name: str, programs: dict[str, Path]) -> Image:
    """The image `name` of SYSTEM_IMAGES; `programs` has the Go programs by name."""
    if name == "pause":
        return Image((Entry("/pause", programs["pause"]),), ("/pause",), user="65535:65535")
    if name == "busybox":
        return Image((*_tmp(), *_busybox()), cmd=("sh",))
    program = {"local_path": "local-path-provisioner"}.get(name, name)
    return Image((*_tmp(), Entry(f"/{program}", programs[program])), (f"/{program}",))


def role_image(role: Role, programs: dict[str, Path], authority: Path, model: Path) -> Image:
    """The image that answers for `role`: entry point, user and files as in the real one.

    Args:
        role: a role of the spec.
        programs: the programs by name.
        authority: certificate of the authority that signs for the lab's stand-ins of internet sites.
        model: a GGUF in the place of every one that would be downloaded from Hugging Face.
    """
    match role:
        case "vllm":
            return _vllm(programs)
        case "ollama":
            return _ollama(programs, authority)
        case "llamacpp":
            return _llamacpp(programs["llama-server"], model)
        case "tgi":
            return _tgi(programs)
        case "devicePlugin":
            program = Entry("/usr/bin/nvidia-device-plugin", programs["device-plugin"])
            return Image((*_tmp(), program), ("nvidia-device-plugin",), env=_GPU_ENVIRONMENT)
        case "gateway":
            return _gateway()
        case "prometheus":
            return _prometheus(programs)
        case "prometheusAdapter":
            adapter = Entry("/adapter", programs["prometheus-adapter"])
            return Image((*_tmp(), adapter), ("/adapter",), user=str(_NOBODY))
        case "dcgmExporter":
            counters = PROGRAMS["dcgm-exporter"].source / "default-counters.csv"
            files = (
                Entry("/usr/bin/dcgm-exporter", programs["dcgm-exporter"]),
                Entry("/etc/dcgm-exporter/default-counters.csv", counters),
            )
            return Image((*_tmp(), *files), ("/usr/bin/dcgm-exporter",), env=_GPU_ENVIRONMENT)
        case "grafana":
            return _grafana(programs)


def _vllm(programs: dict[str, Path]) -> Image:
    binaries = (
        Entry("/usr/local/bin/vllm", programs["vllm"]),
        Entry("/usr/local/bin/llm-d-inference-sim", programs["llm-d-inference-sim"]),
    )
    # The real image has a shell too, for who looks into a pod.
    return Image((*_tmp(), *_busybox(), *binaries), ("vllm", "serve"), env=_GPU_ENVIRONMENT, workdir="/vllm-workspace")


def _ollama(programs: dict[str, Path], authority: Path) -> Image:
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


def _llamacpp(server: Path, model: Path) -> Image:
    """The real llama-server on the CPU, behind a script that knows no Hugging Face."""
    folder = "/app/lab"
    libraries = [Path(path) for path in _linked(server)]
    own = [path for path in libraries if path.parent.resolve() == server.parent.resolve()]
    return Image(
        (
            *_tmp(),
            *_busybox(),
            Entry("/app/llama-server", _STANDINS / "llama_server.sh"),
            Entry(f"{folder}/llama-server", server),
            Entry(f"{folder}/model.gguf", model, mode=0o644),
            *(Entry(f"{folder}/{path.name}", path.resolve()) for path in own),
            *(Entry(str(path), path.resolve()) for path in libraries if path not in own),
            Entry("/usr/bin/curl", _CURL),
            *_libraries(_CURL),
        ),
        ("/app/llama-server",),
        env=("LLAMA_ARG_HOST=0.0.0.0", *_GPU_ENVIRONMENT),
        workdir="/app",
    )


def _tgi(programs: dict[str, Path]) -> Image:
    binaries = (
        Entry("/usr/local/bin/text-generation-launcher", programs["tgi"]),
        Entry("/usr/local/bin/llm-d-inference-sim", programs["llm-d-inference-sim"]),
    )
    # Unquoted, as in the real image: an argument with a space becomes two.
    entry = Entry("/tgi-entrypoint.sh", text="#!/bin/sh\nexec text-generation-launcher $@\n")
    environment = ("HF_HOME=/data", "PORT=80", *_GPU_ENVIRONMENT)
    return Image((*_tmp(), *_busybox(), entry, *binaries), ("/tgi-entrypoint.sh",), env=environment, workdir="/usr/src")


def _prometheus(programs: dict[str, Path]) -> Image:
    """Prometheus' image in its variant with busybox; its configuration scrapes nothing."""
    return Image(
        (
            *_tmp(),
            *_users(f"nobody:x:{_NOBODY}:{_NOBODY}:nobody:/home:/bin/false"),
            *_busybox(),
            Entry("/bin/prometheus", programs["prometheus"]),
            Entry("/bin/promtool", programs["promtool"]),
            Entry("/etc/prometheus/prometheus.yml", text="global: {}\n", mode=0o644, owner=_NOBODY),
            Entry("/prometheus", mode=0o775, owner=_NOBODY),
        ),
        ("/bin/prometheus",),
        ("--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"),
        user="nobody",
        workdir="/prometheus",
    )


def _grafana(programs: dict[str, Path]) -> Image:
    folders = ("/var/lib/grafana", "/var/log/grafana")
    provisioning = "/etc/grafana/provisioning"
    return Image(
        (
            *_tmp(),
            *_users(f"grafana:x:{_GRAFANA_USER}:0:grafana:/home/grafana:/bin/false"),
            *_busybox(),
            *(Entry(folder, mode=0o777, owner=_GRAFANA_USER) for folder in folders),
            *(Entry(f"{provisioning}/{kind}") for kind in ("datasources", "dashboards", "alerting", "plugins")),
            Entry("/usr/share/grafana/bin/grafana", programs["grafana"]),
            Entry("/run.sh", link="/usr/share/grafana/bin/grafana"),
        ),
        ("/run.sh",),
        env=(f"GF_PATHS_PROVISIONING={provisioning}", "GF_PATHS_DATA=/var/lib/grafana"),
        user=str(_GRAFANA_USER),
        workdir="/usr/share/grafana",
    )


def _gateway() -> Image:
    """nginx-unprivileged: Debian's nginx, with the layout, the scripts and the user of the real image."""
    own = _STANDINS / "gateway"
    scripts = sorted(file.relative_to(own) for file in own.rglob("*.sh"))
    configuration = sorted(file.relative_to(own) for file in own.rglob("*.conf"))
    nginx = ("/etc/nginx", "/etc/nginx/conf.d", "/var/cache/nginx")
    envsubst = Path("/usr/bin/envsubst")
    return Image(
        (
            *_tmp(),
            *_users(f"nginx:x:{_NGINX_USER}:{_NGINX_USER}:nginx:/var/cache/nginx:/sbin/nologin"),
            *_busybox(),
            *(Entry(folder, mode=0o775, owner=_NGINX_USER) for folder in nginx),
            *(Entry(f"/{file}", own / file) for file in scripts),
            *(Entry(f"/etc/nginx/{file}", own / file, mode=0o644, owner=_NGINX_USER) for file in configuration),
            Entry("/etc/nginx/mime.types", Path("/etc/nginx/mime.types"), mode=0o644, owner=_NGINX_USER),
            Entry("/usr/share/nginx/html/index.html", text="<h1>Welcome to nginx!</h1>\n", mode=0o644),
            Entry("/usr/sbin/nginx", _NGINX),
            Entry("/usr/bin/envsubst", envsubst),
            *_libraries(_NGINX, envsubst),
            # Debian's nginx keeps here what the real one keeps in /var/cache/nginx.
            Entry("/var/lib/nginx", link="/var/cache/nginx"),
            Entry("/var/lock", mode=0o1777),
            Entry("/var/log/nginx/access.log", link="/dev/stdout"),
            Entry("/var/log/nginx/error.log", link="/dev/stderr"),
        ),
        ("/docker-entrypoint.sh",),
        ("nginx", "-g", "daemon off;"),
        user=str(_NGINX_USER),
        stop_signal="SIGQUIT",
    )


def _tmp() -> tuple[Entry, ...]:
    return (Entry("/tmp", mode=0o1777),)


def _users(*others: str) -> tuple[Entry, ...]:
    """The list of users, from which the container runtime takes HOME: without it that would be `/` for root too."""
    lines = "\n".join(["root:x:0:0:root:/root:/bin/sh", *others, ""])
    return (Entry("/root", mode=0o700), Entry("/etc/passwd", text=lines, mode=0o644))


def _busybox() -> tuple[Entry, ...]:
    listed = set(output([str(_BUSYBOX), "--list"]).split()) - _CRASHING_APPLETS - {"busybox"}
    return (
        Entry("/bin/busybox", _BUSYBOX),
        *(Entry(f"/bin/{applet}", link="/bin/busybox") for applet in sorted(listed)),
    )


def _libraries(*programs: Path) -> tuple[Entry, ...]:
    """The shared libraries of `programs`, where the loader looks for them."""
    return tuple(Entry(path, Path(path).resolve()) for path in _linked(*programs))


def _linked(*programs: Path) -> list[str]:
    """Paths of the shared libraries that `programs` are linked with, as the loader finds them."""
    return sorted(set(re.findall(r"(/\S+) \(0x", output(["ldd", *map(str, programs)]))))
