"""How a new version takes over from the old one, where GPUs are scarce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A Deployment's strategy. `max_surge` and `max_unavailable` are pods, and 0 for Recreate."""

    strategy: Literal["Recreate", "RollingUpdate"]
    max_surge: int = 0
    max_unavailable: int = 0
    has_outage: bool
    """Whether the only pod goes before its successor comes."""

    spare_gpus: int
    """GPUs that stay free on each of the server's nodes when every replica of the stack is placed."""


def rollout(*, replicas: int, most: int, gpus: int, nodes: Sequence[str], free: Mapping[str, int]) -> Rollout:
    """The strategy that cannot hang: a new pod is only started first where a GPU is spare for it.

    Args:
        replicas: fewest pods of the server.
        most: pods that an autoscaler may bring it to; the same where there is none.
        gpus: GPUs of one pod.
        nodes: nodes that the replicas are on; their volume binds a surging pod to these.
        free: GPUs by node that nobody takes.
    """
    spare = min(free[node] for node in nodes)
    if spare >= gpus:
        return Rollout(strategy="RollingUpdate", max_surge=1, has_outage=False, spare_gpus=spare)
    if most == 1:
        return Rollout(strategy="Recreate", has_outage=True, spare_gpus=spare)
    return Rollout(strategy="RollingUpdate", max_unavailable=1, has_outage=replicas == 1, spare_gpus=spare)
