"""Where a lab keeps its files: in its state folder, and as its node sees them.

The node's paths are k3s' own, so that what is read on a k3s node is found here too.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

API_PORT = 6443

WORKER = "worker-"
"""How the names of the first node's processes and control groups begin that are workers."""

# As the node sees them (in the lab's mount namespace).
KUBELET_ROOT = Path("/var/lib/kubelet")
K3S_AGENT = Path("/var/lib/rancher/k3s/agent")
CONTAINERD_ROOT = K3S_AGENT / "containerd"
CONTAINERD_STATE = Path("/run/k3s/containerd")
CONTAINERD_SOCKET = CONTAINERD_STATE / "containerd.sock"
CONTAINERD_CONFIG = K3S_AGENT / "etc/containerd/config.toml"
NVIDIA_BASE_SPEC = K3S_AGENT / "etc/containerd/nvidia-base-spec.json"
CNI_CONFIG = K3S_AGENT / "etc/cni/net.d"
STORAGE = Path("/var/lib/rancher/k3s/storage")
DRIVER = Path("/run/nvidia-lab")
"""What stands for NVIDIA's driver: the runtime handler `nvidia` shows this folder to a container."""
WORKER_READY = Path("/run/lab-worker")
"""Once it is there, what a worker sees is its own, no longer what it was started from."""


@dataclass(frozen=True)
class Layout:
    """The files of one lab, below its state folder; of its first node, or of the worker `node`."""

    root: Path
    node: str = ""
    """Name of a worker; empty for the first node, which also has what is the whole lab's."""

    def of(self, node: str) -> Layout:
        """The layout of the worker `node`."""
        return Layout(self.root, node)

    @property
    def home(self) -> Path:
        """Folder of the node's own files."""
        return self.root / "workers" / self.node if self.node else self.root

    @property
    def identity(self) -> str:
        """Eight hex digits that tell this lab from others on the same machine."""
        return hashlib.sha256(str(self.root).encode()).hexdigest()[:8]

    @property
    def interface(self) -> str:
        """Name of the network interface on the machine that leads into the lab."""
        return f"lab-{self.identity}"

    @property
    def cgroup(self) -> str:
        """The node's cgroup, relative to each hierarchy's root; a worker's is within the lab's."""
        lab = f"llm-lab-{self.identity}"
        return f"{lab}/{WORKER}{self.node}" if self.node else lab

    @property
    def lock(self) -> Path:
        """Held by the command that changes the lab."""
        return self.root / "lock"

    @property
    def supervisor(self) -> Path:
        """Held by the supervisor as long as it lives; says who it is."""
        return self.root / "supervisor.json"

    @property
    def components(self) -> Path:
        """Definitions of the processes that init keeps running on the node."""
        return self.home / "components.json"

    @property
    def status(self) -> Path:
        """What init says of them."""
        return self.home / "components-status.json"

    @property
    def forwards(self) -> Path:
        """Definitions of the processes that the supervisor keeps running on the machine."""
        return self.root / "forwards.json"

    def is_forwarding(self) -> bool:
        """Whether there are any."""
        return self.forwards.exists() and self.forwards.read_text() != "[]"

    @property
    def spec(self) -> Path:
        """The spec that the lab was last brought up with."""
        return self.root / "spec.json"

    @property
    def network(self) -> Path:
        """The lab's subnet."""
        return self.root / "network.json"

    @property
    def kubeconfig(self) -> Path:
        """Administrator's access from the machine."""
        return self.root / "kubeconfig"

    @property
    def logs(self) -> Path:
        """One log file for each component."""
        return self.home / "logs"

    @property
    def pki(self) -> Path:
        """Keys and certificates."""
        return self.root / "pki"

    @property
    def config(self) -> Path:
        """Configuration files of the components."""
        return self.home / "config"

    @property
    def driver(self) -> Path:
        """The folder that the node sees as DRIVER."""
        return self.home / "driver"

    @property
    def var(self) -> Path:
        """The folder that the node sees as /var."""
        return self.home / "var"

    @property
    def applied(self) -> Path:
        """Digest of the manifests that were applied last."""
        return self.root / "applied"

    def on_machine(self, path: Path) -> Path:
        """Where the node's `path` below /var is on the machine."""
        return self.var / path.relative_to("/var")
