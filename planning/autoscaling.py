"""How many pods a server has at most, and how its number follows the load."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from planning.startup import Startup
from settings.autoscale import AutoscaleSettings

_LONGEST_WINDOW_SECONDS = 3600
"""Kubernetes' own limit for a stabilization window."""

_TOLERANCE = Fraction(1, 10)
"""By how much, as a share of the target, a metric must pass it: Kubernetes' own."""


@dataclass(frozen=True, kw_only=True)
class AutoscalePlan:
    """What a HorizontalPodAutoscaler is made of."""

    min_replicas: int
    max_replicas: int
    running_requests: int
    """Target of `vllm_num_requests_running`, on average over the pods."""

    scale_up_window_seconds: int
    scale_down_window_seconds: int


def plan_autoscale(
    name: str, settings: AutoscaleSettings, *, startup: Startup, max_num_seqs: int, problems: list[str]
) -> AutoscalePlan:
    """The autoscaler of server `name`; a target that is never passed is added to `problems`.

    Args:
        startup: of one pod. While a pod starts, the load per pod stays as high as it was; without a window as long as
            a start the autoscaler would go on to the maximum (aibrix#2670).
        max_num_seqs: sequences that one pod runs at once, and so the metric's highest value.
    """
    if settings.running_requests * (1 + _TOLERANCE) >= max_num_seqs and settings.max > settings.min:
        most = ceil(max_num_seqs / (1 + _TOLERANCE)) - 1
        problems.append(
            f"models.{name}.autoscale.runningRequests: {settings.running_requests}, but a pod never runs more than "
            f"{max_num_seqs} (--max-num-seqs), and Kubernetes adds one only beyond a tenth above the target, so no pod "
            f"would ever be added. {f'Write {most} at most, or raise' if most else 'Raise'} maxNumSeqs."
        )
    return AutoscalePlan(
        min_replicas=settings.min,
        max_replicas=settings.max,
        running_requests=settings.running_requests,
        scale_up_window_seconds=min(startup.expected_seconds, _LONGEST_WINDOW_SECONDS),
        scale_down_window_seconds=settings.scale_down_window_seconds,
    )
