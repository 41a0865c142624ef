"""What each GPU node is told: labels that pods are placed by, and how its GPUs are shared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planning.catalogue import gpu_models
from settings.node import NodeSettings
from settings.problems import did_you_mean

GPU_MODEL_LABEL = "llm-serving/gpu-model"
TIME_SLICES_LABEL = "llm-serving/gpu-time-slices"
GPU_PRESENT_LABEL = "nvidia.com/gpu.present"
"""Set by hand, as on WSL2 the feature discovery sees no PCI device."""


@dataclass(frozen=True, kw_only=True)
class NodePlan:
    """One node of the cluster."""

    name: str
    labels: dict[str, str]
    gpu_model: str
    gpus: int
    time_slices: int

    @property
    def allocatable_gpus(self) -> int:
        """What the node must advertise as `nvidia.com/gpu`."""
        return self.gpus * self.time_slices


def plan_nodes(nodes: Mapping[str, NodeSettings], problems: list[str]) -> dict[str, NodePlan]:
    """Plans by node name; GPUs that the catalogue does not know are added to `problems`."""
    known = gpu_models()
    for name, node in nodes.items():
        if node.gpus.model not in known:
            problems.append(
                f"nodes.{name}.gpus.model: {node.gpus.model!r} is not in the catalogue, so nothing can be said of its "
                f"memory{did_you_mean(node.gpus.model, known)}. Known: {', '.join(known)}."
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
        )
        for name, node in nodes.items()
    }
