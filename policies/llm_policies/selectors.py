"""Rules about objects that point at others by labels or names."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import Object, Stack, texts
from llm_policies.pods import Pod
from llm_policies.rule import Context, Rule, Said
from llm_policies.values import Doubt, Value

_SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")
_KINDS = ("Service", "PodDisruptionBudget", "NetworkPolicy", "ServiceMonitor", "PodMonitor", *_SCALERS)


def matches(selector: Value, labels: dict[str, str]) -> bool:
    """Whether a LabelSelector (matchLabels and matchExpressions) selects `labels`; an empty one selects all.

    Raises:
        Doubt: it cannot be read.
    """
    if not texts(selector.get("matchLabels")).items() <= labels.items():
        return False
    for expression in selector.get("matchExpressions").items():
        key, operator = expression.get("key").text() or "", expression.get("operator").text()
        values = {value.text() for value in expression.get("values").items()}
        found = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }.get(operator or "", False)
        if not found:
            return False
    return True


def _selects_some(item: Object, stack: Stack) -> bool:
    """Whether the object selects a pod, or a Service, of the stack."""
    spec = item.properties.get("spec")
    if item.kind in ("ServiceMonitor", "PodMonitor"):
        anywhere = spec.get("namespaceSelector").exists
        others = stack.of("Service") if item.kind == "ServiceMonitor" else stack.workloads()
        return any(
            (anywhere or other.namespace == item.namespace)
            and any(matches(spec.get("selector"), own) for own in _own(other))
            for other in others
        )
    selector = spec.get("podSelector" if item.kind == "NetworkPolicy" else "selector")
    return any(
        matches(selector, dict(pod.labels))
        for workload in stack.workloads()
        if workload.namespace == item.namespace
        for pod in workload.pods
    )


def _own(item: Object) -> list[dict[str, str]]:
    """Labels of a Service, or of the pods of a workload."""
    return [dict(pod.labels) for pod in item.pods] or [dict(item.labels)]


def _dangling(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    for item in stack.of(*_KINDS):
        try:
            if item.kind == "Service":
                yield from _of_service(item, stack)
            elif item.kind in _SCALERS:
                target = item.properties.get("spec", "scaleTargetRef")
                kind, name = target.get("kind").text() or "Deployment", target.get("name").text()
                if not any(o.name == name and o.namespace == item.namespace for o in stack.of(kind)):
                    yield item, f"{item.kind}/{item.name} scales {kind} '{name}', which is not there. Name one that is."
            elif not _selects_some(item, stack):
                yield item, f"{item.kind}/{item.name} selects nothing. Write the labels of the pods that it is for."
        except Doubt as doubt:
            yield item, doubt


def _of_service(item: Object, stack: Stack) -> Iterator[tuple[Object, Said]]:
    selector = texts(item.properties.get("spec", "selector"))
    if not selector:
        return  # its endpoints come from elsewhere
    pods = [
        pod
        for workload in stack.workloads()
        if workload.namespace == item.namespace
        for pod in workload.pods
        if selector.items() <= pod.labels.items()
    ]
    if not pods:
        yield item, f"Service/{item.name} selects nothing. Write the labels of the pods that it is for."
        return
    names = {name for pod in pods for name in _port_names(pod)}
    for port in item.properties.get("spec", "ports").items():
        target = port.get("targetPort")
        named = isinstance(target.raw, str) and not target.is_unknown and not target.raw.isdecimal()
        if named and target.raw not in names:
            yield (
                item,
                f"Service/{item.name}: targetPort '{target.raw}' is no port of its pods, so every connection is "
                "refused. Name a port of a container.",
            )


def _port_names(pod: Pod) -> set[str]:
    ports = (port for container in pod.containers for port in container.value.get("ports").items())
    return {name for port in ports if (name := port.get("name").text()) is not None}


_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: chat}
spec:
  selector: {app: chat}
  ports: [{port: 8000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
"""

DANGLING_SELECTOR = Rule(
    name="dangling-selector",
    title="What points at something finds it.",
    description=(
        "A Service whose labels no pod has refuses every connection; a budget, an autoscaler or a NetworkPolicy that "
        "finds nothing does nothing, without a word."
    ),
    remediation="Write the labels (or the name, or the port) of what is meant.",
    severity="error",
    references=("kube-linter dangling-service, dangling-hpa, ...", "kube-score *-targets-*", "kubescape C-0298"),
    of_stack=_dangling,
    kinds=frozenset(_KINDS),
    bad=_SERVICE + '    {metadata: {labels: {app: chats}}, spec: {containers: [{name: vllm, image: "x:v1"}]}}\n',
    good=_SERVICE + '    {metadata: {labels: {app: chat}}, spec: {containers: [{name: vllm, image: "x:v1"}]}}\n',
)

RULES = (DANGLING_SELECTOR,)
