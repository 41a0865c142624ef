"""Rules about autoscalers: what they may come to, what feeds them, and who else sets the number of pods."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from math import floor
from typing import NamedTuple

from llm_policies.containers import Container
from llm_policies.nodes import open_to, pools_of
from llm_policies.objects import Object, Stack
from llm_policies.pools import Pool
from llm_policies.rule import Context, Rule, Said
from llm_policies.scalers import HPA, SCALERS, Unsure, claims, least_and_most, scalers, written_replicas
from llm_policies.values import Doubt, Value

_DEFAULT_MAX_NUM_SEQS, _LARGE_MAX_NUM_SEQS, _LARGE_MIB = 256, 1024, 70 * 1024
"""vLLM's own --max-num-seqs where nothing is said: 1024 on cards of 70 GiB or more (but the A100: 256 there too)."""

_TOLERANCE = Fraction(1, 10)
"""Of the cluster's autoscaler, where nothing is said."""

_SCALER = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
"""


def _range(item: Object, _: Context) -> Iterator[Said]:
    least, most = least_and_most(item)
    if item.kind == HPA and not item.properties.get("spec", "maxReplicas").exists:
        yield f"HPA '{item.name}' has no maxReplicas, which Kubernetes refuses. Write it, above minReplicas."
    elif most <= least:
        kind = "HPA" if item.kind == HPA else item.kind
        yield f"{kind} '{item.name}' can never scale ({least}..{most}). Raise the most, or drop the autoscaler."


HPA_RANGE = Rule(
    name="hpa-range",
    title="An autoscaler has a range.",
    description="With as many pods at most as at least it only costs, and hides that the number is fixed.",
    remediation="Raise maxReplicas above minReplicas, or write replicas and no autoscaler.",
    severity="error",
    references=("polaris hpaMaxAvailability", "gatekeeper horizontalpodautoscaler"),
    of_object=_range,
    kinds=SCALERS,
    bad=_SCALER + "  minReplicas: 2\n  maxReplicas: 2\n",
    good=_SCALER + "  minReplicas: 1\n  maxReplicas: 4\n",
)


def _fights(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    first: dict[int, Object] = {}
    claimed = list(claims(stack))
    times = Counter(id(item) for _, target in claimed for item in _meant(target))
    for scaler, target in claimed:
        if isinstance(target, Unsure):
            # Of a workload without a number, and with no other autoscaler, there is nothing to say.
            if not target.of or any(times[id(item)] > 1 or _may_have_a_number(item) for item in target.of):
                yield scaler, target.why
            continue
        if target is None:
            continue
        if (other := first.setdefault(id(target), scaler)) is not scaler:
            yield scaler, f"scales '{target.name}', as {other.id} does: each undoes the other. Keep one."
            continue
        try:
            replicas = written_replicas(target)
            if replicas.exists:
                shown = "?" if replicas.is_unknown else replicas.integer()
                yield (
                    target,
                    f"Every deployment resets '{target.name}' to {shown} replicas, which '{scaler.name}' has scaled; "
                    "drop spec.replicas, or let Pulumi ignore its changes.",
                )
        except Doubt as doubt:
            yield target, doubt


def _meant(target: Object | Unsure | None) -> Sequence[Object]:
    """What an autoscaler scales, or may."""
    if isinstance(target, Unsure):
        return target.of
    return () if target is None else (target,)


def _may_have_a_number(workload: Object) -> bool:
    try:
        return written_replicas(workload).exists
    except Doubt:
        return True


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
    kinds=frozenset({*SCALERS, "Deployment", "StatefulSet"}),
    bad=f"{_SCALER}  maxReplicas: 4\n---\n{_TARGET}  replicas: 2\n",
    good=f"{_SCALER}  maxReplicas: 4\n---\n{_TARGET}",
)


class _Target(NamedTuple):
    """What a metric of running requests is to come to."""

    value: Fraction
    is_average: bool
    """Over the pods; else of all of them together."""


def _targets(scaler: Object) -> Iterator[_Target]:
    """The targets of metrics that count running requests alone: with those that wait there is no end to them."""
    spec = scaler.properties.get("spec")
    return _of_metrics(spec) if scaler.kind == HPA else _of_triggers(spec)


_PLACES: dict[str | None, str] = {"Pods": "pods", "External": "external"}


def _of_metrics(spec: Value) -> Iterator[_Target]:
    for metric in spec.get("metrics").items():
        place = _PLACES.get(metric.get("type").text())
        if place is not None and _counts_running(metric.get(place, "metric", "name").text()):
            target = metric.get(place, "target")
            average, value = target.get("averageValue").quantity(), target.get("value").quantity()
            if (found := value if average is None else average) is not None:
                yield _Target(found, average is not None)


def _of_triggers(spec: Value) -> Iterator[_Target]:
    for trigger in spec.get("triggers").items():
        if trigger.get("type").text() == "prometheus" and _counts_running(trigger.get("metadata", "query").text()):
            threshold = trigger.get("metadata", "threshold").quantity()
            if threshold is not None:
                # KEDA's own kind of target is an average.
                yield _Target(threshold, trigger.get("metricType").text() != "Value")


def _counts_running(text: str | None) -> bool:
    return text is not None and "num_requests_running" in text and "num_requests_waiting" not in text


def _unreachable(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    pools = pools_of(stack, context) or {}
    for scaler, target in scalers(stack):
        if target is not None:
            try:
                yield from ((scaler, said) for said in _beyond_reach(scaler, target, pools))
            except Doubt as doubt:
                yield scaler, doubt


def _beyond_reach(scaler: Object, target: Object | Doubt, pools: Mapping[str, Pool]) -> Iterator[Said]:
    targets = list(_targets(scaler))
    if not targets:
        return  # whatever it scales
    if isinstance(target, Doubt):
        yield target
        return
    engines = [container for pod in target.pods for container in pod.engines if container.engine == "vllm"]
    if not engines:
        return
    most = sum(_most_running(container, pools) for container in engines)
    pods = max(1, least_and_most(scaler)[0])
    tolerance = _tolerance(scaler)
    for wanted, is_average in targets:
        reached = most if is_average else most * pods
        if wanted * (1 + tolerance) >= reached:
            own = "" if engines[0].has_flag("--max-num-seqs") else " (vLLM's own)"
            yield (
                f"running requests are capped at max-num-seqs {reached}{own}; target {float(wanted):g} is never "
                f"passed by the {float(100 * tolerance):g} % that the HPA tolerates, so no pod is ever added. Use "
                f"waiting requests, or a target below {_rounded_down(reached / (1 + tolerance)):g}."
            )


def _tolerance(scaler: Object) -> Fraction:
    """How far, as a share of it, a metric may be above its target before pods are added."""
    spec = scaler.properties.get("spec")
    rules = spec if scaler.kind == HPA else spec.get("advanced", "horizontalPodAutoscalerConfig")
    own = rules.get("behavior", "scaleUp", "tolerance").quantity(least=0)
    return _TOLERANCE if own is None else own


def _rounded_down(number: Fraction) -> float:
    return floor(number * 10) / 10


def _most_running(container: Container, pools: Mapping[str, Pool]) -> int:
    """Requests that run at once in a pod: of each engine of a data-parallel one, which the metric adds up."""
    told = container.number("--max-num-seqs")
    if told is None:
        memory = {pool.memory_mib for pool in open_to(container.pod, pools).values()}
        is_large = bool(memory) and all(mib is not None and mib >= _LARGE_MIB for mib in memory)
        told = Fraction(_LARGE_MAX_NUM_SEQS if is_large else _DEFAULT_MAX_NUM_SEQS)
    local = container.number("--data-parallel-size-local", "-dpl")
    copies = container.number("--data-parallel-size", "-dp") if local is None else local
    return int(told) * (1 if copies is None else max(1, int(copies)))


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
        "An engine never runs more requests than --max-num-seqs; the others wait. A target for the average of running "
        "requests at or above that is never passed, however long the queue is; nor is one less than a tenth below, as "
        "an autoscaler adds pods only beyond its tolerance (10 % unless behavior.scaleUp.tolerance says otherwise)."
    ),
    remediation="Lower the target to nine tenths of --max-num-seqs or less, or scale on waiting requests.",
    severity="error",
    references=("vLLM --max-num-seqs", "Kubernetes: --horizontal-pod-autoscaler-tolerance"),
    of_stack=_unreachable,
    kinds=SCALERS,
    bad=_SCALER + _METRIC.format(target=300) + _TARGET,
    good=_SCALER + _METRIC.format(target=50) + _TARGET,
)

RULES = (HPA_RANGE, HPA_REPLICAS_FIGHT, HPA_TARGET_UNREACHABLE)
