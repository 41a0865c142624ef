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

    @property
    def has_outage(self) -> bool:
        """Whether the only pod goes before its successor comes."""
        return self.strategy == "Recreate"


def rollout(*, replicas: int, gpus: int, nodes: Sequence[str], free: Mapping[str, int]) -> Rollout:
    """The strategy that cannot hang: a new pod is only started first where a GPU is spare for it.

    Args:
        replicas: pods of the server.
        gpus: GPUs of one pod.
        nodes: nodes that the replicas are on; their volume binds a surging pod to these.
        free: GPUs by node that nobody takes.
    """
    if all(free[node] >= gpus for node in nodes):
        return Rollout(strategy="RollingUpdate", max_surge=1)
    if replicas == 1:
        return Rollout(strategy="Recreate")
    return Rollout(strategy="RollingUpdate", max_unavailable=1)
