"""Rules about how a new version takes over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import ceil, floor
from typing import Any

from llm_policies.manifest import gpus, kind, name, namespace, pod_spec
from llm_policies.rule import Properties, Rule, Setting


def _deadlock(resource_type: str, properties: Properties, settings: Properties) -> Iterator[str]:
    if kind(resource_type) != "Deployment":
        return
    wanted = gpus(pod_spec(resource_type, properties) or {})
    spec = properties.get("spec") or {}
    replicas = 1 if spec.get("replicas") is None else int(spec["replicas"])
    if wanted == 0 or replicas == 0 or _replaces_in_place(spec.get("strategy") or {}, replicas):
        return
    by_workload = settings["spareGpusByWorkload"]
    if by_workload.get(f"{namespace(properties)}/{name(properties)}", settings["spareGpus"]) < wanted:
        yield (
            f"rollout of '{name(properties)}' needs a spare GPU and there is none: new pod Pending, old pod kept. "
            "Use Recreate, or maxSurge 0 / maxUnavailable 1."
        )


def _replaces_in_place(strategy: Mapping[str, Any], replicas: int) -> bool:
    """Whether some old pod may go before its successor is up."""
    if strategy.get("type") == "Recreate":
        return True
    rolling = strategy.get("rollingUpdate") or {}
    unavailable = floor(_pods(rolling.get("maxUnavailable", "25%"), replicas))
    surge = ceil(_pods(rolling.get("maxSurge", "25%"), replicas))
    # Where both come to 0, Kubernetes takes maxUnavailable for 1.
    return unavailable > 0 or surge == 0


def _pods(value: Any, replicas: int) -> float:
    if isinstance(value, str) and value.endswith("%"):
        return float(value[:-1]) / 100 * replicas
    return float(value)


GPU_ROLLOUT_DEADLOCK = Rule(
    name="gpu-rollout-deadlock",
    title="A rollout does not wait for a GPU that nobody has.",
    description=(
        "With RollingUpdate the new pod starts before the old one ends. Where all GPUs are taken it stays Pending, and "
        "the rollout hangs for ever."
    ),
    remediation="Use Recreate with one replica, and maxSurge 0 with maxUnavailable 1 with more.",
    severity="error",
    references=("LLMKube#196", "airunway#400", "kserve#4618"),
    check=_deadlock,
    settings={
        "spareGpus": Setting(
            default=0, description="GPUs on one node that are free when every replica of the stack is placed."
        ),
        "spareGpusByWorkload": Setting(
            default={}, description="The same by Deployment ('namespace/name'), where nodes differ."
        ),
    },
)
