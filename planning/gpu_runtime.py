"""How the GPUs of the nodes come to be advertised: one device plugin for each way of sharing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import yaml

from planning.images import mirrored
from planning.nodes import NodePlan
from planning.pods import Toleration

GPU_RESOURCE = "nvidia.com/gpu"
DEVICE_PLUGIN_IMAGE = "nvcr.io/nvidia/k8s-device-plugin:v0.20.0"


@dataclass(frozen=True, kw_only=True)
class DevicePluginPlan:
    """The device plugin of all nodes whose GPUs are cut in `time_slices`."""

    image: str
    time_slices: int
    config: str
    """The plugin's configuration file (YAML)."""

    tolerations: tuple[Toleration, ...]
    """The taints that others have put on these nodes."""


def plan_gpu_runtime(nodes: Mapping[str, NodePlan], *, mirror: str | None = None) -> tuple[DevicePluginPlan, ...]:
    """One plugin for each number of slices that occurs, smallest first; from the registry `mirror` if there is one."""
    return tuple(
        DevicePluginPlan(
            image=mirrored(DEVICE_PLUGIN_IMAGE, mirror),
            time_slices=slices,
            config=_config(slices),
            tolerations=tuple(
                sorted({taint for node in nodes.values() if node.time_slices == slices for taint in node.other_taints})
            ),
        )
        for slices in sorted({node.time_slices for node in nodes.values()})
    )


def _config(time_slices: int) -> str:
    config: dict[str, object] = {"version": "v1"}
    if time_slices > 1:
        config["sharing"] = {
            "timeSlicing": {
                # More slices would not give a pod more of the GPU; asking for them is a mistake that should show.
                "failRequestsGreaterThanOne": True,
                "resources": [{"name": GPU_RESOURCE, "replicas": time_slices}],
            }
        }
    return yaml.safe_dump(config, sort_keys=False)
