"""Rules about autoscalers: what they may come to, what feeds them, and who else sets the number of pods."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import Object, Stack
from llm_policies.rule import Context, Rule, Said
from llm_policies.values import Doubt, Value

_HPA = "HorizontalPodAutoscaler"
_SCALERS = frozenset({_HPA, "ScaledObject"})
_RUNNING = ("vllm_num_requests_running", "vllm:num_requests_running", "num_requests_running")
_DEFAULT_MAX_NUM_SEQS = 256
"""vLLM's own --max-num-seqs where nothing is said, on cards with less than 70 GB; 1024 above."""

_SCALER = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
"""


def least_and_most(scaler: Object) -> tuple[int, int]:
    """Fewest and most pods of an autoscaler; Kubernetes' own defaults, and KEDA's, where nothing is said."""
    spec = scaler.properties.get("spec")
    keys = ("minReplicas", "maxReplicas") if scaler.kind == _HPA else ("minReplicaCount", "maxReplicaCount")
    least, most = (spec.get(key).integer() for key in keys)
    own = (1, 1) if scaler.kind == _HPA else (0, 100)
    return (own[0] if least is None else least), (own[1] if most is None else most)


def target_of(scaler: Object, stack: Stack) -> Object | None:
    """The workload that it scales, if it is in the stack."""
    target = scaler.properties.get("spec", "scaleTargetRef")
    kind, name = target.get("kind").text() or "Deployment", target.get("name").text()
    return next((item for item in stack.of(kind) if item.name == name and item.namespace == scaler.namespace), None)


def _range(item: Object, _: Context) -> Iterator[Said]:
    least, most = least_and_most(item)
    if most <= least:
        yield f"HPA '{item.name}' can never scale ({least}..{most}). Raise the most, or drop the autoscaler."


HPA_RANGE = Rule(
    name="hpa-range",
    title="An autoscaler has a range.",
    description="With as many pods at most as at least it only costs, and hides that the number is fixed.",
    remediation="Raise maxReplicas above minReplicas, or write replicas and no autoscaler.",
    severity="error",
    references=("polaris hpaMaxAvailability", "gatekeeper horizontalpodautoscaler"),
    of_object=_range,
    kinds=_SCALERS,
    bad=_SCALER + "  minReplicas: 2\n  maxReplicas: 2\n",
    good=_SCALER + "  minReplicas: 1\n  maxReplicas: 4\n",
)


def _fights(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    first: dict[int, Object] = {}
    for scaler in stack.of(*_SCALERS):
        try:
            target = target_of(scaler, stack)
            if target is None:
                continue
            if id(target) in first:
                yield (
                    scaler,
                    f"scales '{target.name}', as {first[id(target)].id} does: each undoes the other. Keep one.",
                )
                continue
            first[id(target)] = scaler
            replicas = target.properties.get("spec", "replicas")
            if replicas.exists and not any(path.strip("[]\"'") in _REPLICAS for path in target.ignores_changes):
                shown = "?" if replicas.is_unknown else replicas.integer()
                yield (
                    target,
                    f"Every deployment resets '{target.name}' to {shown} replicas, which '{scaler.name}' has scaled; "
                    "drop spec.replicas, or let Pulumi ignore its changes.",
                )
        except Doubt as doubt:
            yield scaler, doubt


_REPLICAS = ("spec.replicas", "spec", 'spec["replicas"')

_TARGET = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template: {spec: {containers: [{name: vllm, image: "vllm/vllm-openai:v0.33.0"}]}}
"""

HPA_REPLICAS_FIGHT = Rule(
    name="hpa-replicas-fight",
    title="One sets the number of pods.",
    description=(
        "A number that is written beside an autoscaler comes back at each deployment, under load too; two autoscalers "
        "of one workload undo each other all the time."
    ),
    remediation="Drop spec.replicas (or ignore its changes), and keep one autoscaler.",
    severity="error",
    references=("kube-score deployment-targeted-by-hpa-does-not-have-replicas-configured", "pulumi-kubernetes#2491"),
    of_stack=_fights,
    kinds=frozenset({*_SCALERS, "Deployment", "StatefulSet"}),
    bad=f"{_SCALER}  maxReplicas: 4\n---\n{_TARGET}  replicas: 2\n",
    good=f"{_SCALER}  maxReplicas: 4\n---\n{_TARGET}",
)


def running_target(metric: Value) -> int | None:
    """The target of a metric that counts running requests; None for others."""
    kind = {"Pods": "pods", "External": "external", "Object": "object"}.get(metric.get("type").text() or "")
    if kind is None or metric.get(kind, "metric", "name").text() not in _RUNNING:
        return None
    average = metric.get(kind, "target", "averageValue").quantity()
    value = metric.get(kind, "target", "value").quantity() if average is None else average
    return None if value is None else int(value)


def _unreachable(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    for scaler in stack.of(_HPA):
        try:
            target = target_of(scaler, stack)
            engines = [c for pod in target.pods for c in pod.engines if c.engine == "vllm"] if target else []
            if not engines:
                continue
            most = int(engines[0].number("--max-num-seqs") or _DEFAULT_MAX_NUM_SEQS)
            for metric in scaler.properties.get("spec", "metrics").items():
                wanted = running_target(metric)
                if wanted is not None and wanted >= most:
                    yield (
                        scaler,
                        f"running requests are capped at max-num-seqs {most}; target {wanted} is never passed, so no "
                        "pod is ever added. Use waiting requests, or lower it.",
                    )
        except Doubt as doubt:
            yield scaler, doubt


_METRIC = """\
  maxReplicas: 4
  metrics:
  - type: Pods
    pods: {{metric: {{name: vllm_num_requests_running}}, target: {{type: AverageValue, averageValue: "{target}"}}}}
---
"""

HPA_TARGET_UNREACHABLE = Rule(
    name="hpa-target-unreachable",
    title="The metric can pass its target.",
    description=(
        "vLLM never runs more requests than --max-num-seqs; the others wait. An average of running requests at or "
        "above that is never passed, however long the queue is."
    ),
    remediation="Lower the target below --max-num-seqs, or scale on waiting requests.",
    severity="error",
    references=("vLLM --max-num-seqs",),
    of_stack=_unreachable,
    kinds=frozenset({_HPA}),
    bad=_SCALER + _METRIC.format(target=300) + _TARGET,
    good=_SCALER + _METRIC.format(target=50) + _TARGET,
)

RULES = (HPA_RANGE, HPA_REPLICAS_FIGHT, HPA_TARGET_UNREACHABLE)
