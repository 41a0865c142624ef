"""The DCGM exporter: which metrics of the GPUs it gives, and on which nodes it runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planning.pods import Toleration
from settings.labels import parse_taint
from settings.node import NodeSettings

APP = "dcgm-exporter"
PORT = 9400
PORT_NAME = "metrics"

COUNTERS: Mapping[str, str] = {
    "DCGM_FI_DEV_GPU_UTIL": "Utilization of the GPU (in %).",
    "DCGM_FI_DEV_FB_USED": "Framebuffer memory used (in MiB).",
    "DCGM_FI_DEV_FB_FREE": "Framebuffer memory free (in MiB).",
    "DCGM_FI_DEV_GPU_TEMP": "Temperature of the GPU (in C).",
    "DCGM_FI_DEV_POWER_USAGE": "Power drawn (in W).",
    "DCGM_FI_DEV_SM_CLOCK": "Clock of the SMs (in MHz).",
    "DCGM_FI_DEV_XID_ERRORS": "The last XID error.",
}
"""Help by field; all gauges. The exporter's own list has profiling fields too, which need CAP_SYS_ADMIN."""


@dataclass(frozen=True, kw_only=True)
class DcgmPlan:
    """The exporter on every GPU node but some."""

    image: str
    counters: str
    """Its counters file (CSV)."""

    interval_milliseconds: int
    shares_gpus: bool
    """Whether pods share GPUs on some node: each then has a series of its own."""

    excluded_nodes: tuple[str, ...]
    tolerations: tuple[Toleration, ...]
    """The taints that others have put on the nodes."""


def plan_dcgm(
    nodes: Mapping[str, NodeSettings], *, image: str, scrape_interval_seconds: int, on_wsl2: bool
) -> DcgmPlan | None:
    """The exporter of `nodes`; None where it would run on none of them.

    Args:
        on_wsl2: whether it runs on WSL2 nodes, where it is unproven.
    """
    excluded = tuple(sorted(name for name, node in nodes.items() if node.platform == "wsl2" and not on_wsl2))
    watched = [node for name, node in nodes.items() if name not in excluded]
    if not watched:
        return None
    return DcgmPlan(
        image=image,
        counters="".join(f"{field}, gauge, {text}\n" for field, text in COUNTERS.items()),
        interval_milliseconds=scrape_interval_seconds * 1000,
        shares_gpus=any(node.gpus.time_slices > 1 for node in watched),
        excluded_nodes=excluded,
        tolerations=tuple(sorted({parse_taint(text) for node in watched for text in node.taints})),
    )
