"""The lab's certificates, and the processes of its first node: control plane, stand-ins, and workers to run.

Command lines as pure functions of the spec and addresses. Not here: what every node runs (node_components.py), and
how processes are started (processes.py, init.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lab import network as net
from lab.layout import API_PORT, WORKER, Layout
from lab.network import Network
from lab.node_components import Programs, node_definitions
from lab.pki import Certificate
from lab.processes import IN_NAMESPACES, Definition
from lab.spec import LabSpec

_ETCD = "http://127.0.0.1:2379"
API_SERVER = f"https://127.0.0.1:{API_PORT}"
_API_READY = f"{API_SERVER}/readyz"


@dataclass(frozen=True)
class Registry:
    """What the stand-in for registry.ollama.ai serves: certificates' folder, and the file of each model."""

    certificates: Path
    models: dict[str, Path]


def certificates(spec: LabSpec, network: Network) -> list[Certificate]:
    """Every certificate of the cluster, issuers first."""
    addresses = (f"IP:{network.node}", "IP:127.0.0.1")
    api_names = (
        "DNS:localhost",
        *(f"DNS:kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")),
        f"IP:{net.API_SERVICE_IP}",
    )
    return [
        Certificate("ca", "/CN=lab-ca"),
        Certificate("front-proxy-ca", "/CN=lab-front-proxy-ca"),
        Certificate("kube-apiserver", "/CN=kube-apiserver", "serverAuth", "ca", (*addresses, *api_names)),
        Certificate("admin", "/O=system:masters/CN=system:admin", "clientAuth", "ca"),
        Certificate("kube-controller-manager", "/CN=system:kube-controller-manager", "clientAuth", "ca"),
        Certificate("kube-scheduler", "/CN=system:kube-scheduler", "clientAuth", "ca"),
        Certificate("kube-proxy", "/CN=system:kube-proxy", "clientAuth", "ca"),
        *_kubelet_certificates("", spec.first, addresses),
        *(
            certificate
            for name, index in spec.workers.items()
            for certificate in _kubelet_certificates(f"-{name}", name, (f"IP:{network.address(index)}",))
        ),
        Certificate("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth", "ca"),
        Certificate("front-proxy", "/CN=front-proxy-client", "clientAuth", "front-proxy-ca"),
    ]


def _kubelet_certificates(suffix: str, node_name: str, addresses: tuple[str, ...]) -> list[Certificate]:
    node = f"/O=system:nodes/CN=system:node:{node_name}"
    return [
        Certificate(f"kubelet{suffix}", node, "clientAuth", "ca"),
        Certificate(f"kubelet-serving{suffix}", node, "serverAuth", "ca", (f"DNS:{node_name}", *addresses)),
    ]


KUBECONFIGS = ("admin", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
"""Client certificates that get a kubeconfig for use on the first node."""

WORKER_KUBECONFIGS = ("admin", "kube-proxy", "kubelet")
"""The same for a worker."""


def definitions(
    layout: Layout,
    network: Network,
    spec: LabSpec,
    programs: Programs,
    registry: Registry,
    *,
    kept: Sequence[Path] = (),
) -> list[Definition]:
    """Every process of the first node, workers among them; each waits for what it needs.

    `kept`: folders of the machine that workers must see.
    """

    def kube(component: str, *flags: str, after: tuple[str, ...] = (_API_READY,), reads: str = "") -> Definition:
        return Definition(component, (str(programs.kube), component, *flags), after, reads)

    def with_kubeconfig(name: str) -> tuple[str, ...]:
        path = layout.config / f"{name}.kubeconfig"
        return tuple(
            f"--{flag}={path}" for flag in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        )

    pki = layout.pki
    return [
        *node_definitions(layout, network, spec, spec.first, programs),
        Definition(
            "etcd",
            (
                "etcd",
                f"--data-dir={layout.root / 'etcd'}",
                f"--listen-client-urls={_ETCD}",
                f"--advertise-client-urls={_ETCD}",
                "--listen-peer-urls=http://127.0.0.1:2380",
                "--log-level=warn",
                "--logger=zap",
            ),
        ),
        kube(
            "kube-apiserver",
            f"--advertise-address={network.node}",
            f"--secure-port={API_PORT}",
            f"--etcd-servers={_ETCD}",
            f"--service-cluster-ip-range={net.SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            "--enable-aggregator-routing=true",
            "--profiling=false",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/kube-apiserver.crt",
            f"--tls-private-key-file={pki}/kube-apiserver.key",
            f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-kubelet.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={pki}/service-account.pub",
            f"--service-account-signing-key-file={pki}/service-account.key",
            f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-username-headers=X-Remote-User",
            f"--proxy-client-cert-file={pki}/front-proxy.crt",
            f"--proxy-client-key-file={pki}/front-proxy.key",
            after=("tcp:127.0.0.1:2379",),
            reads=str(network.node),
        ),
        kube(
            "kube-controller-manager",
            *with_kubeconfig("kube-controller-manager"),
            "--bind-address=127.0.0.1",
            f"--cluster-cidr={net.POD_CIDR}",
            f"--service-cluster-ip-range={net.SERVICE_CIDR}",
            "--allocate-node-cidrs=false",
            f"--root-ca-file={pki}/ca.crt",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            f"--service-account-private-key-file={pki}/service-account.key",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--profiling=false",
        ),
        kube(
            "kube-scheduler",
            *with_kubeconfig("kube-scheduler"),
            "--bind-address=127.0.0.1",
            "--leader-elect=false",
            "--profiling=false",
        ),
        Definition(
            "ollama-registry",
            (
                *(str(programs.python), "-m", "lab.standins.ollama_registry"),
                *(str(network.internet), "443", str(registry.certificates)),
                *(f"{name}={file}" for name, file in registry.models.items()),
            ),
        ),
        *(_worker(layout.of(name), index, programs, kept) for name, index in spec.workers.items()),
    ]


def _worker(layout: Layout, index: int, programs: Programs, kept: Sequence[Path]) -> Definition:
    """A worker: an init in namespaces of its own, within those of the first node."""
    return Definition(
        f"{WORKER}{layout.node}",
        (
            *IN_NAMESPACES,
            *(str(programs.python), "-m", "lab.init", str(layout.root), layout.node, str(index)),
            *map(str, kept),
        ),
    )
