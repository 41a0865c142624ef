"""Rule about what feeds an autoscaler."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

from llm_policies.metrics_adapter import AdapterRule, adapter_rules
from llm_policies.objects import Object, Stack
from llm_policies.promql import is_of_each_pod
from llm_policies.rule import Context, Rule, Said, Setting
from llm_policies.scalers import HPA, KEDA, SCALERS, least_and_most, owners
from llm_policies.values import Doubt, Value, each


def _unserved(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    for scaler in stack.of(KEDA):
        yield from ((scaler, said) for said in each([scaler], _queries))
    rules, doubts = adapter_rules(stack)
    for scaler in stack.of(HPA):
        try:
            if any(kind == KEDA for kind, _ in owners(scaler)):
                continue  # KEDA serves what it has asked for itself
            metrics = scaler.properties.get("spec", "metrics").items()
            least = least_and_most(scaler)[0]
        except Doubt as doubt:
            yield scaler, doubt
            continue
        for metric in metrics:
            try:
                if (said := _of_metric(metric, rules, context, least)) is not None:
                    # What cannot be read yet may serve it.
                    yield from ((scaler, doubt) for doubt in doubts)
                    if not doubts:
                        yield scaler, said
            except Doubt as doubt:
                yield scaler, doubt


def _of_metric(metric: Value, rules: Sequence[AdapterRule], context: Context, least: int) -> str | None:
    written = metric.get("type")
    kind = written.text()
    if kind not in ("Pods", "External"):
        if kind not in ("Resource", "ContainerResource", "Object"):
            raise written.malformed("Pods, External, Object, Resource or ContainerResource")
        return None
    name = metric.get("pods" if kind == "Pods" else "external", "metric", "name").text() or ""
    if any(fnmatchcase(name, pattern) for pattern in context.settings["servedMetrics"]):
        return None
    fitting = [rule for rule in rules if rule.is_external == (kind == "External") and rule.serves(name)]
    if fitting and (kind == "External" or any(rule.is_of_pods for rule in fitting)):
        return None
    where = "on pods" if kind == "Pods" else "from outside"
    why = (
        "The adapter's rule for it has no override for both pod and namespace: add them."
        if fitting
        else f"Add a rule of prometheus-adapter{' (externalRules)' if kind == 'External' else ''}, or a ScaledObject "
        "of KEDA instead; or name it in servedMetrics of this rule, if an adapter elsewhere serves it."
    )
    return f"nothing serves metric '{name}' {where}; HPA stays at {least}. {why}"


def _queries(scaler: Object) -> Iterator[Said]:
    def judge(trigger: Value) -> Iterator[str]:
        if trigger.get("type").text() != "prometheus":
            return
        lacking = [key for key in ("serverAddress", "query", "threshold") if not trigger.get("metadata", key).exists]
        if lacking:
            yield (
                f"{trigger.path}: the trigger says no {', '.join(lacking)}, so KEDA makes no autoscaler of "
                f"'{scaler.name}'. Write it."
            )
        elif is_of_each_pod(str(trigger.get("metadata", "query").text())):
            yield (
                f"{trigger.path}: the query has a value for each pod, and KEDA takes one alone; '{scaler.name}' does "
                "not scale. Wrap it in sum()."
            )

    yield from each(scaler.properties.get("spec", "triggers").items(), judge)


_CONFIG = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: prometheus-adapter, namespace: monitoring}
data:
  config.yaml: |
    rules:
    - seriesQuery: 'vllm:num_requests_running{namespace!="",pod!=""}'
      resources: {overrides: {namespace: {resource: namespace}OVERRIDE}}
      name: {matches: '^vllm:(.*)$', as: 'vllm_${1}'}
      metricsQuery: 'sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)'
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: chat, namespace: llm}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
  maxReplicas: 4
  metrics:
  - type: Pods
    pods: {metric: {name: vllm_num_requests_running}, target: {type: AverageValue, averageValue: "50"}}
"""

HPA_METRIC_UNSERVED = Rule(
    name="hpa-metric-unserved",
    title="Somebody serves the metric that an autoscaler asks for.",
    description=(
        "Kubernetes itself serves CPU and memory alone, and so does the adapter that kube-prometheus ships. Without a "
        "rule for the metric, or with one that knows no pods, the autoscaler says FailedGetPodsMetric in its events, "
        "and never scales. KEDA's query must come to one value: not to one for each pod, nor to the topmost three."
    ),
    remediation=(
        "Add a rule to prometheus-adapter's configuration, with overrides for pod and namespace; or use a ScaledObject "
        "of KEDA, with its query in sum()."
    ),
    severity="error",
    references=("prometheus-adapter docs/config.md", "KEDA scalers/prometheus"),
    of_stack=_unserved,
    kinds=SCALERS,
    settings={
        "servedMetrics": Setting(
            default=["prometheus.googleapis.com|*", "custom.googleapis.com|*", "datadogmetric@*"],
            description="Metrics that an adapter outside the stack serves; `*` stands for any text.",
        )
    },
    bad=_CONFIG.replace("OVERRIDE", ""),
    good=_CONFIG.replace("OVERRIDE", ", pod: {resource: pod}"),
)

RULES = (HPA_METRIC_UNSERVED,)
