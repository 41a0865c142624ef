"""Rules about how a new version takes over."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from math import ceil, floor

from llm_policies.objects import Object
from llm_policies.rule import Context, Rule, Setting
from llm_policies.values import Value

_DEFAULT = Fraction(1, 4)
"""Kubernetes' own maxSurge and maxUnavailable, of the replicas."""


def _deadlock(item: Object, context: Context) -> Iterator[str]:
    wanted = sum(pod.gpus for pod in item.pods)
    spec = item.properties.get("spec")
    written = spec.get("replicas").integer()
    replicas = 1 if written is None else written
    if wanted == 0 or replicas == 0 or _replaces_in_place(spec.get("strategy"), replicas):
        return
    by_workload = context.settings["spareGpusByWorkload"]
    if by_workload.get(f"{item.namespace}/{item.name}", context.settings["spareGpus"]) < wanted:
        yield (
            f"rollout of '{item.name}' needs a spare GPU and there is none: new pod Pending, old pod kept. "
            "Use Recreate, or maxSurge 0 / maxUnavailable 1."
        )


def _replaces_in_place(strategy: Value, replicas: int) -> bool:
    """Whether some old pod may go before its successor is up."""
    if strategy.get("type").text() == "Recreate":
        return True
    unavailable = strategy.get("rollingUpdate", "maxUnavailable").share(replicas)
    surge = strategy.get("rollingUpdate", "maxSurge").share(replicas)
    least = floor(_DEFAULT * replicas if unavailable is None else unavailable)
    # Where both come to 0, Kubernetes takes maxUnavailable for 1.
    return least > 0 or ceil(_DEFAULT * replicas if surge is None else surge) == 0


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
    of_object=_deadlock,
    kinds=frozenset({"Deployment"}),
    settings={
        "spareGpus": Setting(
            default=0, description="GPUs on one node that are free when every replica of the stack is placed."
        ),
        "spareGpusByWorkload": Setting(
            default={}, description="The same by Deployment ('namespace/name'), where nodes differ."
        ),
    },
    bad="""\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - {name: vllm, image: "vllm/vllm-openai:v0.33.0", resources: {limits: {nvidia.com/gpu: 1}}}
""",
    good="""\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 1
  strategy: {type: Recreate}
  template:
    spec:
      containers:
      - {name: vllm, image: "vllm/vllm-openai:v0.33.0", resources: {limits: {nvidia.com/gpu: 1}}}
""",
)

RULES = (GPU_ROLLOUT_DEADLOCK,)
