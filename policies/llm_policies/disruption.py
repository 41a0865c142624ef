"""Rules about disruption budgets: what may be evicted when a node is drained."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from llm_policies.objects import Object, Stack, texts
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.scalers import least_and_most, target_of
from llm_policies.values import Doubt, Value

_PDB = "PodDisruptionBudget"

_BUDGET = """\
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: chat}
spec:
  selector: {matchLabels: {app: chat}}
"""


def _is_nothing(value: Value) -> bool:
    """Whether it is 0 or 0%."""
    return value.exists and value.share(100) == 0


def _is_all(value: Value) -> bool:
    """Whether it is 100% or more."""
    raw = value.raw
    return isinstance(raw, str) and raw.endswith("%") and (value.share(1) or 0) >= 1


def _blocks(item: Object, _: Context) -> Iterator[Said]:
    spec = item.properties.get("spec")
    if _is_nothing(spec.get("maxUnavailable")) or _is_all(spec.get("minAvailable")):
        yield (
            f"PDB '{item.name}' allows 0 evictions: kubectl drain of the GPU node never ends. Use maxUnavailable: 1."
        )


def _allow_one(item: Object, _: Context) -> Iterator[Edit]:
    if _is_nothing(item.properties.get("spec", "maxUnavailable")):
        yield Edit(("spec", "maxUnavailable"), 1)


PDB_BLOCKS_DRAIN = Rule(
    name="pdb-blocks-drain",
    title="A node can be drained.",
    description=(
        "A budget that lets no pod go keeps `kubectl drain` waiting for ever, and with it every upgrade of the node. "
        "What depends on the number of pods is judged by pdb-blocks-last-pod, over the whole stack."
    ),
    remediation="Use maxUnavailable: 1.",
    severity="error",
    references=("kube-linter pdb-min-available, pdb-max-unavailable", "polaris pdbDisruptionsIsZero"),
    of_object=_blocks,
    kinds=frozenset({_PDB}),
    remediate=_allow_one,
    bad=_BUDGET + "  maxUnavailable: 0\n",
    good=_BUDGET + "  maxUnavailable: 1\n",
)


def _fewest_pods(workload: Object, stack: Stack) -> int | None:
    """Pods that it has at least; None for kinds that have no number."""
    if workload.kind not in ("Deployment", "StatefulSet", "ReplicaSet"):
        return None
    for scaler in stack.of("HorizontalPodAutoscaler", "ScaledObject"):
        if target_of(scaler, stack) is workload:
            return least_and_most(scaler)[0]
    replicas = workload.properties.get("spec", "replicas").integer()
    return 1 if replicas is None else replicas


def _last_pod(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    for item in stack.of(_PDB):
        try:
            spec = item.properties.get("spec")
            if not spec.get("minAvailable").exists or _is_all(spec.get("minAvailable")):
                continue
            for workload in stack.selected(item.namespace, texts(spec.get("selector", "matchLabels"))):
                pods = _fewest_pods(workload, stack)
                least = spec.get("minAvailable").share(pods or 0)
                if pods and least is not None and ceil(least) >= pods:
                    yield (
                        item,
                        f"PDB '{item.name}' wants {ceil(least)} of the {pods} pods of '{workload.name}', so it allows "
                        "0 evictions: kubectl drain of the GPU node never ends. Use maxUnavailable: 1.",
                    )
        except Doubt as doubt:
            yield item, doubt


_SERVER = """\
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 1
  template:
    metadata: {labels: {app: chat}}
    spec: {containers: [{name: vllm, image: "vllm/vllm-openai:v0.33.0"}]}
"""

PDB_BLOCKS_LAST_POD = Rule(
    name="pdb-blocks-last-pod",
    title="A budget lets one of the pods that there are go.",
    description=(
        "minAvailable: 1 of a server with one pod is as good as none may go. An autoscaler may bring a server down to "
        "its fewest pods, so these count."
    ),
    remediation="Use maxUnavailable: 1, whatever the number of pods.",
    severity="error",
    references=("polaris pdbMinAvailableGreaterThanHPAMinReplicas", "kube-linter pdb-min-available"),
    of_stack=_last_pod,
    kinds=frozenset({_PDB}),
    bad=_BUDGET + "  minAvailable: 1\n" + _SERVER,
    good=_BUDGET + "  maxUnavailable: 1\n" + _SERVER,
)


def _unhealthy(item: Object, _: Context) -> Iterator[Said]:
    if item.properties.get("spec", "unhealthyPodEvictionPolicy").text() != "AlwaysAllow":
        yield (
            f"PDB '{item.name}' keeps pods that are not ready from being evicted, so a server that cannot start holds "
            "up the drain of its node. Set unhealthyPodEvictionPolicy: AlwaysAllow."
        )


PDB_UNHEALTHY_PODS = Rule(
    name="pdb-unhealthy-pods",
    title="A pod that is not ready does not hold up a drain.",
    description="By default a budget counts pods that never became ready as needed: the node waits for them for ever.",
    remediation="Set unhealthyPodEvictionPolicy: AlwaysAllow.",
    severity="warn",
    references=("Kubernetes: unhealthyPodEvictionPolicy",),
    of_object=_unhealthy,
    kinds=frozenset({_PDB}),
    bad=_BUDGET + "  maxUnavailable: 1\n",
    good=_BUDGET + "  maxUnavailable: 1\n  unhealthyPodEvictionPolicy: AlwaysAllow\n",
)

RULES = (PDB_BLOCKS_DRAIN, PDB_BLOCKS_LAST_POD, PDB_UNHEALTHY_PODS)
