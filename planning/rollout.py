"""How a new version takes over from the old one, where GPUs are scarce."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

from planning.pods import Shutdown
from planning.startup import Startup


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """A Deployment's strategy. `max_surge` and `max_unavailable` are pods, and 0 for Recreate."""

    strategy: Literal["Recreate", "RollingUpdate"]
    max_surge: int = 0
    max_unavailable: int = 0
    has_outage: bool
    """Whether the only pod goes before its successor comes."""

    outage_seconds: int = 0
    """How long nobody answers while a new version takes over, as expected; 0 where there is always a pod."""

    spare_wait_seconds: int = 0
    """How long a new pod may wait for the spare GPU where other servers, replaced at the same time, have it first."""

    spare_gpus: int
    """GPUs that stay free, when every replica of the stack is placed, on the node that has most for one more pod."""


def rollout(*, replicas: int, most: int, gpus: int, free: Mapping[str, int]) -> Rollout:
    """The strategy that cannot hang: a new pod is only started first where a GPU is spare for it.

    Args:
        replicas: fewest pods of the server.
        most: pods that an autoscaler may bring it to; the same where there is none.
        gpus: GPUs of one pod.
        free: GPUs that nobody takes, by node that one more pod may run on.
    """
    spare = max(free.values())
    if spare >= gpus:
        return Rollout(strategy="RollingUpdate", max_surge=1, has_outage=False, spare_gpus=spare)
    if most == 1:
        return Rollout(strategy="Recreate", has_outage=True, spare_gpus=spare)
    return Rollout(strategy="RollingUpdate", max_unavailable=1, has_outage=replicas == 1, spare_gpus=spare)


def outage_seconds(rollout: Rollout, *, startup: Startup, shutdown: Shutdown) -> int:
    """Seconds between the last answer of the old version and the first of the new one.

    The old pod stops answering new requests when its end begins, and may use all of its time to drain; the new one then
    starts with the model on its volume, and with what the old one has compiled.
    """
    if not rollout.has_outage:
        return 0
    return shutdown.pre_stop_seconds + shutdown.drain_seconds + startup.restart_seconds


def pod_seconds(*, startup: Startup, shutdown: Shutdown, download_seconds: int = 0) -> int:
    """Seconds that the replacement of one pod is given: the old one's end, the new one's start, a Job's download."""
    return shutdown.grace_period_seconds + startup.budget_seconds + download_seconds


@dataclass(frozen=True, kw_only=True)
class Surge:
    """What one server takes of the spare GPUs while its pods are replaced."""

    gpus: int
    """Of one pod; there is one more of them at a time."""

    seconds: int
    """Until all of its pods are replaced."""

    free: Mapping[str, int]
    """GPUs that nobody takes, by node that has enough of them for the pod."""


def rivals(surges: Mapping[str, Surge]) -> dict[str, tuple[str, ...]]:
    """By server: all that surge onto the same nodes, itself too, where there is not enough for all at once."""
    by_node: dict[str, list[str]] = {}
    for name, surge in surges.items():
        for node in surge.free:
            by_node.setdefault(node, []).append(name)

    @cache
    def met(nodes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(sorted({name for node in nodes for name in by_node[node]}))

    found = {name: met(tuple(surge.free)) for name, surge in surges.items()}
    return {
        name: names
        for name, names in found.items()
        if sum(surges[other].gpus for other in names) > max(surges[name].free.values())
    }


def spare_wait_seconds(name: str, among: Sequence[str], surges: Mapping[str, Surge]) -> int:
    """How long a pod of `name` waits at most for the spare GPUs that it shares with the servers `among`.

    While it waits, all places are taken that there are for the largest of them.
    """
    places = max(1, max(surges[name].free.values()) // max(surges[other].gpus for other in among))
    return -(-sum(surges[other].seconds for other in among if other != name) // places)
