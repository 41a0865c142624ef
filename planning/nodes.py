"""What each GPU node is told: labels that pods are placed by, who is kept away, and how its GPUs are shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planning.catalogue import gpu_models
from planning.gpu_names import gpu_meant
from planning.hosts import HostPlan, SshPlan, plan_host
from settings.labels import Taint, parse_taint
from settings.node import NodeSettings

GPU_MODEL_LABEL = "llm-serving/gpu-model"
TIME_SLICES_LABEL = "llm-serving/gpu-time-slices"
GPU_PRESENT_LABEL = "nvidia.com/gpu.present"
"""Set by hand, as on WSL2 the feature discovery sees no PCI device."""

PLANNED_GPUS_ANNOTATION = "llm-serving/planned-gpus"

_TAINT = "nvidia.com/gpu=present:NoSchedule"


@dataclass(frozen=True, kw_only=True)
class TaintPlan:
    """The commands that put the node's taint on and off, each without a difference where that is done already."""

    add: str
    remove: str
    ssh: SshPlan | None
    """The host that holds the cluster; None for the machine that deploys."""


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """One node of the cluster."""

    name: str
    labels: dict[str, str]
    gpu_model: str
    gpus: int
    time_slices: int
    taint: TaintPlan | None
    other_taints: tuple[Taint, ...]
    """What others have put on it."""

    host: HostPlan | None
    """What makes the node of a host; None where it is in the cluster already."""

    @property
    def allocatable_gpus(self) -> int:
        """What the node must advertise as `nvidia.com/gpu`."""
        return self.gpus * self.time_slices


def plan_nodes(nodes: Mapping[str, NodeSettings], problems: list[str]) -> dict[str, NodePlan]:
    """Plans by node name; GPUs that cannot be counted on, and hosts of two clusters, are added to `problems`."""
    known = gpu_models()
    for name, node in nodes.items():
        if node.gpus.model not in known:
            problems.append(
                f"nodes.{name}.gpus.model: {node.gpus.model!r} is not in the catalogue, so nothing can be said of its "
                f"memory{gpu_meant(node.gpus.model)} (`llmctl catalogue list --gpus` shows all of them)"
            )
        if node.platform == "wsl2" and node.gpus.count > 1:
            problems.append(
                f"nodes.{name}.gpus.count: {node.gpus.count} on wsl2, where the device plugin advertises all cards as "
                "one, so the node would never have what is planned. Write 1, or run Linux without Windows."
            )
    hosts = {name: plan_host(name, node) for name, node in nodes.items()}
    servers = [name for name, host in hosts.items() if host is not None and not host.joins]
    for name in servers[1:]:
        problems.append(
            f"nodes.{name}.k3s.role: server, as {servers[0]} is, so they would be two clusters, and a stack is of one. "
            "Write role: agent, with server and token."
        )
    holder = hosts[servers[0]] if servers else None
    joining = [name for name, host in hosts.items() if host is not None and host.joins]
    if servers and joining and ((k3s := nodes[servers[0]].k3s) is None or k3s.token is None):
        problems.append(
            f"nodes.{servers[0]}.k3s.token: is not set, so {servers[0]} would make one of its own, and {joining[0]} "
            "could not join with another. Set the same token for both."
        )
    return {
        name: NodePlan(
            name=name,
            labels={
                **node.labels,
                GPU_MODEL_LABEL: node.gpus.model,
                TIME_SLICES_LABEL: str(node.gpus.time_slices),
                GPU_PRESENT_LABEL: "true",
            },
            gpu_model=node.gpus.model,
            gpus=node.gpus.count,
            time_slices=node.gpus.time_slices,
            taint=_taint(name, holder) if node.taint else None,
            other_taints=tuple(parse_taint(text) for text in node.taints),
            host=hosts[name],
        )
        for name, node in nodes.items()
    }


def _taint(name: str, holder: HostPlan | None) -> TaintPlan:
    """By kubectl: a node's taints are one field to server-side apply, so who applies one of them takes off the others.

    Args:
        name: the node's.
        holder: the host that holds the cluster, where it is prepared here; else kubectl of the machine that deploys
            reaches the cluster, as Pulumi does.
    """
    kubectl = holder.kubectl if holder else "kubectl"
    add = f"{kubectl} taint nodes {name} {_TAINT} --overwrite"
    # A node that is gone has no taint, and kubectl fails for a taint that is gone.
    found = f"found=$({kubectl} get node {name} --ignore-not-found -o name)"
    remove = f'{found} && {{ test -z "$found" || {{ {add} && {kubectl} taint nodes {name} {_TAINT}-; }}; }}'
    return TaintPlan(add=add, remove=remove, ssh=holder.ssh if holder else None)
