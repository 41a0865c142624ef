"""The Go programs that this project builds from their modules, as data.

Each has a folder with its go.mod and go.sum, so that versions and checksums are pinned in the repository.
Not here: what a program is used for. The lab and `bin/pulumi` ask for programs by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from toolchain.paths import REPOSITORY

_STRIPPED = "-s -w"
_KUBERNETES = "v1.34.4"
_PULUMI = "3.255.0"
_PROMETHEUS = f"{_STRIPPED} -X github.com/prometheus/common/version.Version=3.15.0"
# Of its service discoveries Kubernetes' alone, beside files and HTTP: the others need every cloud's client, and make
# the program a third larger.
_PROMETHEUS_TAGS = ("netgo", "remove_all_sd", "enable_kubernetes_sd")


@dataclass(frozen=True)
class Program:
    """How one Go program is built.

    Attributes:
        name: what callers ask for; also the file name of the result.
        package: the Go package to build, `.` for the program's own main.go.
        tags: build tags.
        ldflags: linker flags.
        cgo: whether C code is compiled in (needs a C compiler).
        folder: folder with go.mod, relative to the repository; `toolchain/programs/<name>` when empty.
        default: whether it is built when no names are given.
    """

    name: str
    package: str = "."
    tags: tuple[str, ...] = ()
    ldflags: str = _STRIPPED
    cgo: bool = False
    folder: str = ""
    default: bool = True

    @property
    def source(self) -> Path:
        """The folder with go.mod."""
        return REPOSITORY / (self.folder or f"toolchain/programs/{self.name}")


PROGRAMS: dict[str, Program] = {
    program.name: program
    for program in (
        Program(
            "pulumi",
            "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
            tags=("osusergo", "grpcnotrace"),
            ldflags=f"{_STRIPPED} -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={_PULUMI}",
        ),
        # One binary for kube-apiserver, -controller-manager, -scheduler, kubelet, kube-proxy and kubectl: it is
        # called by a link with the component's name, or with that name as its first argument.
        Program(
            "kube",
            tags=("netgo", "osusergo", "selinux"),
            ldflags=f"{_STRIPPED} -X k8s.io/component-base/version.gitVersion={_KUBERNETES}"
            " -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34",
        ),
        Program("traefik", "github.com/traefik/traefik/v3/cmd/traefik"),
        Program(
            "prometheus",
            "github.com/prometheus/prometheus/cmd/prometheus",
            tags=_PROMETHEUS_TAGS,
            ldflags=_PROMETHEUS,
        ),
        Program(
            "promtool",
            "github.com/prometheus/prometheus/cmd/promtool",
            tags=_PROMETHEUS_TAGS,
            ldflags=_PROMETHEUS,
            folder="toolchain/programs/prometheus",
        ),
        Program("prometheus-adapter", "sigs.k8s.io/prometheus-adapter/cmd/adapter"),
        Program(
            "ollama",
            "github.com/ollama/ollama",
            ldflags=f"{_STRIPPED} -X github.com/ollama/ollama/version.Version=0.11.4",
            cgo=True,
        ),
        Program("llm-d-inference-sim"),
        Program("coredns", "github.com/coredns/coredns"),
        Program("local-path-provisioner", "github.com/rancher/local-path-provisioner"),
        Program("netpol"),
        Program("pause", folder="lab/standins/pause"),
        Program("device-plugin", folder="lab/standins/device_plugin"),
        Program("dcgm-exporter", folder="lab/standins/dcgm_exporter"),
        Program("grafana", folder="lab/standins/grafana"),
        Program("vllm", folder="lab/standins/vllm"),
        Program("tgi", folder="lab/standins/tgi"),
        Program("ollama-parser", default=False),
        Program("gguf-parser", default=False),
        Program("kwok", "sigs.k8s.io/kwok/cmd/kwok", default=False),
        Program("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", default=False),
    )
}
"""Every program by name; the slowest builds first, so that two at a time end together."""
