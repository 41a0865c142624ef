"""What every node of the lab runs: containerd, the kubelet, kube-proxy and the network policies' controller.

Configuration files and command lines as pure functions, with k3s' defaults. Not here: the control plane
(components.py), and how processes are started (processes.py, init.py).
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
from lab.processes import Definition
from lab.spec import LabSpec

PAUSE_IMAGE = "docker.io/rancher/mirrored-pause:3.6"


@dataclass(frozen=True)
class Programs:
    """Executables: the one with all of Kubernetes in it, the network policies' controller, and Python."""

    kube: Path
    netpol: Path
    python: Path


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


def cni_config(pod_cidr: str) -> str:
    """The pod network of a node: one bridge, host ports by redirection."""
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "hairpinMode": True,
        "forceAddress": True,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": pod_cidr}]]},
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return json.dumps({"cniVersion": "1.0.0", "name": "cbr0", "plugins": [bridge, ports]}, indent=1)


def serving_certificate(layout: Layout) -> Path:
    """The kubelet's certificate, without its suffix."""
    return layout.pki / (f"kubelet-serving-{layout.node}" if layout.node else "kubelet-serving")


def kubelet_config(layout: Layout) -> str:
    """The kubelet's configuration file."""
    serving = serving_certificate(layout)
    return json.dumps(
        {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": f"{serving}.crt",
            "tlsPrivateKeyFile": f"{serving}.key",
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


def driver_file(spec: LabSpec, name: str) -> str:
    """What stands for the driver's view of node `name`: its GPUs, with identifiers that are the same at each start."""
    node = spec.nodes[name]
    gpus = [
        {
            "index": index,
            "uuid": _gpu_uuid(name, index),
            "name": node.gpu_model,
            "memoryMiB": node.gpu_memory_mib,
        }
        for index in range(node.gpus)
    ]
    return json.dumps({"gpus": gpus}, indent=1)


def _gpu_uuid(node_name: str, index: int) -> str:
    digits = hashlib.sha256(f"{node_name}/{index}".encode()).hexdigest()
    return f"GPU-{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:32]}"


def node_definitions(
    layout: Layout, network: Network, spec: LabSpec, name: str, programs: Programs
) -> list[Definition]:
    """The processes of node `name`, whose files are those of `layout`; each waits for what it needs."""
    index, config = spec.workers.get(name, 0), layout.config
    serving = serving_certificate(layout).with_suffix(".json")
    issued = serving.read_text() if serving.exists() else ""
    api_ready = f"{api_server(network, index)}/readyz"
    return [
        Definition(
            "containerd",
            ("containerd", "--config", str(CONTAINERD_CONFIG), "--log-level", "warn"),
            fingerprint=digest(containerd_config()),
        ),
        Definition(
            "kubelet",
            (
                *(str(programs.kube), "kubelet"),
                f"--kubeconfig={config}/kubelet.kubeconfig",
                f"--config={config}/kubelet.json",
                f"--node-ip={network.address(index)}",
                f"--hostname-override={name}",
            ),
            (api_ready, f"unix:{CONTAINERD_SOCKET}"),
            digest(kubelet_config(layout), issued, driver_file(spec, name)),
        ),
        Definition(
            "kube-proxy",
            (
                *(str(programs.kube), "kube-proxy"),
                f"--kubeconfig={config}/kube-proxy.kubeconfig",
                f"--hostname-override={name}",
                f"--cluster-cidr={net.POD_CIDR}",
                "--proxy-mode=iptables",
                # The limits on tracked connections are the machine's own, and not for a lab to change.
                "--conntrack-max-per-core=0",
                "--conntrack-tcp-timeout-established=0",
                "--conntrack-tcp-timeout-close-wait=0",
            ),
            (api_ready,),
        ),
        Definition(
            "netpol",
            (
                str(programs.netpol),
                f"--kubeconfig={config}/admin.kubeconfig",
                f"--hostname-override={name}",
                f"--service-cluster-ip-range={net.SERVICE_CIDR}",
            ),
            (api_ready,),
        ),
    ]


def api_server(network: Network, index: int) -> str:
    """The API server's URL for processes of the node with place `index`."""
    return f"https://{network.node if index else '127.0.0.1'}:{API_PORT}"


def digest(*texts: str) -> str:
    """Sixteen hex digits that change with the texts."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
