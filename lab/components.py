"""The lab's components: their configuration files and command lines, as pure functions of the spec and addresses.

Kubernetes' own programs with k3s' defaults. Not here: how they are started (processes.py, init.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import network as net
from lab.layout import (
    API_PORT,
    CNI_CONFIG,
    CONTAINERD_CONFIG,
    CONTAINERD_ROOT,
    CONTAINERD_SOCKET,
    CONTAINERD_STATE,
    DRIVER,
    NVIDIA_BASE_SPEC,
    Layout,
)
from lab.network import Network
from lab.pki import Certificate
from lab.processes import Definition
from lab.spec import LabSpec

PAUSE_IMAGE = "docker.io/rancher/mirrored-pause:3.6"
_ETCD = "http://127.0.0.1:2379"
API_SERVER = f"https://127.0.0.1:{API_PORT}"
_API_READY = f"{API_SERVER}/readyz"


@dataclass(frozen=True)
class Programs:
    """Executables: the one with all of Kubernetes in it, the network policies' controller, and Python."""

    kube: Path
    netpol: Path
    python: Path


@dataclass(frozen=True)
class Registry:
    """What the stand-in for registry.ollama.ai serves: certificates' folder, and the file of each model."""

    certificates: Path
    models: dict[str, Path]


def certificates(node_name: str, network: Network) -> list[Certificate]:
    """Every certificate of the cluster, issuers first."""
    addresses = (f"IP:{network.node}", "IP:127.0.0.1")
    api_names = (
        "DNS:localhost",
        *(f"DNS:kubernetes{rest}" for rest in ("", ".default", ".default.svc", ".default.svc.cluster.local")),
        f"IP:{net.API_SERVICE_IP}",
    )
    node = f"/O=system:nodes/CN=system:node:{node_name}"
    return [
        Certificate("ca", "/CN=lab-ca"),
        Certificate("front-proxy-ca", "/CN=lab-front-proxy-ca"),
        Certificate("kube-apiserver", "/CN=kube-apiserver", "serverAuth", "ca", (*addresses, *api_names)),
        Certificate("admin", "/O=system:masters/CN=system:admin", "clientAuth", "ca"),
        Certificate("kube-controller-manager", "/CN=system:kube-controller-manager", "clientAuth", "ca"),
        Certificate("kube-scheduler", "/CN=system:kube-scheduler", "clientAuth", "ca"),
        Certificate("kube-proxy", "/CN=system:kube-proxy", "clientAuth", "ca"),
        Certificate("kubelet", node, "clientAuth", "ca"),
        Certificate("kubelet-serving", node, "serverAuth", "ca", (f"DNS:{node_name}", *addresses)),
        Certificate("apiserver-kubelet", "/O=system:masters/CN=kube-apiserver-kubelet-client", "clientAuth", "ca"),
        Certificate("front-proxy", "/CN=front-proxy-client", "clientAuth", "front-proxy-ca"),
    ]


KUBECONFIGS = ("admin", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
"""Client certificates that get a kubeconfig for use on the node."""


def containerd_config() -> str:
    """containerd's configuration: k3s' paths, and beside runc the runtime handler `nvidia`."""
    return f"""version = 2
root = "{CONTAINERD_ROOT}"
state = "{CONTAINERD_STATE}"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Containers (CI, virtual machines) often lack the right to lower it, and nothing here needs it.
  restrict_oom_score_adj = true
  disable_apparmor = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{CNI_CONFIG}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
    # As nvidia-container-runtime does: a container of this class sees the driver, any other does not.
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
      runtime_type = "io.containerd.runc.v2"
      base_runtime_spec = "{NVIDIA_BASE_SPEC}"
"""


def nvidia_base_spec(default: Mapping[str, Any]) -> str:
    """containerd's `default` OCI spec with the lab's driver mounted read-only."""
    mount = {
        "destination": str(DRIVER),
        "type": "bind",
        "source": str(DRIVER),
        "options": ["rbind", "ro", "nosuid", "nodev", "noexec"],
    }
    return json.dumps({**default, "mounts": [*default["mounts"], mount]}, indent=1)


def cni_config() -> str:
    """The pod network: one bridge, host ports by redirection."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "hairpinMode": True,
        "forceAddress": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": net.NODE_POD_CIDR}]]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [bridge, ports]}, indent=1)


def kubelet_config(layout: Layout) -> str:
    """The kubelet's configuration file."""
    pki = layout.pki
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(pki / "kubelet-serving.crt"),
            "tlsPrivateKeyFile": str(pki / "kubelet-serving.key"),
            "clusterDomain": "cluster.local",
            "clusterDNS": [net.DNS_IP],
            "resolvConf": str(layout.config / "resolv.conf"),
            "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{layout.cgroup}",
            "failCgroupV1": False,
            "failSwapOn": False,
            # By default 10 s go by until the node says that a device plugin has registered.
            "nodeStatusUpdateFrequency": "2s",
            "oomScoreAdj": 0,  # lowering it needs a right that containers and virtual machines often lack
            "serializeImagePulls": False,
            # Images come from no registry: one that is collected could not be pulled again.
            "imageGCHighThresholdPercent": 100,
            "imageGCLowThresholdPercent": 99,
            "evictionHard": {"nodefs.available": "1%", "imagefs.available": "1%", "memory.available": "100Mi"},
        },
        indent=1,
    )


def driver_file(spec: LabSpec) -> str:
    """What stands for the driver's view of the node: its GPUs, with identifiers that are the same at each start."""
    node = spec.node
    gpus = [
        {
            "index": index,
            "uuid": _gpu_uuid(spec.node_name, index),
            "name": node.gpu_model,
            "memoryMiB": node.gpu_memory_mib,
        }
        for index in range(node.gpus)
    ]
    return json.dumps({"gpus": gpus}, indent=1)


def _gpu_uuid(node_name: str, index: int) -> str:
    digits = hashlib.sha256(f"{node_name}/{index}".encode()).hexdigest()
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def definitions(
    layout: Layout, network: Network, spec: LabSpec, programs: Programs, registry: Registry
) -> list[Definition]:
    """Every process of the node; each waits for what it needs, so their order says nothing."""

    def kube(component: str, *flags: str, after: tuple[str, ...] = (_API_READY,), reads: str = "") -> Definition:
        return Definition(component, (str(programs.kube), component, *flags), after, reads)

    def with_kubeconfig(name: str) -> tuple[str, ...]:
        path = layout.config / f"{name}.kubeconfig"
        return tuple(
            f"--{flag}={path}" for flag in ("kubeconfig", "authentication-kubeconfig", "authorization-kubeconfig")
        )

    pki, config = layout.pki, layout.config
    node_name = spec.node_name
    serving = (pki / "kubelet-serving.json").read_text() if (pki / "kubelet-serving.json").exists() else ""
    return [
        Definition(
            "containerd",
            ("containerd", "--config", str(CONTAINERD_CONFIG), "--log-level", "warn"),
            fingerprint=_digest(containerd_config()),
        ),
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
            "--allocate-node-cidrs=true",
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
        kube(
            "kubelet",
            f"--kubeconfig={config}/kubelet.kubeconfig",
            f"--config={config}/kubelet.json",
            f"--node-ip={network.node}",
            f"--hostname-override={node_name}",
            after=(_API_READY, f"unix:{CONTAINERD_SOCKET}"),
            reads=_digest(kubelet_config(layout), serving, driver_file(spec)),
        ),
        kube(
            "kube-proxy",
            f"--kubeconfig={config}/kube-proxy.kubeconfig",
            f"--hostname-override={node_name}",
            f"--cluster-cidr={net.POD_CIDR}",
            "--proxy-mode=iptables",
            # The limits on tracked connections are the machine's own, and not for a lab to change.
            "--conntrack-max-per-core=0",
            "--conntrack-tcp-timeout-established=0",
            "--conntrack-tcp-timeout-close-wait=0",
        ),
        Definition(
            "netpol",
            (
                str(programs.netpol),
                f"--kubeconfig={config}/admin.kubeconfig",
                f"--hostname-override={node_name}",
                f"--service-cluster-ip-range={net.SERVICE_CIDR}",
            ),
            (_API_READY,),
        ),
        Definition(
            "ollama-registry",
            (
                *(str(programs.python), "-m", "lab.standins.ollama_registry"),
                *(str(network.internet), "443", str(registry.certificates)),
                *(f"{name}={file}" for name, file in registry.models.items()),
            ),
        ),
    ]


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
