"""Rules about disruption budgets: what may be evicted when a node is drained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import ceil

from llm_policies.objects import Object, Stack
from llm_policies.placing import templates
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.scalers import least_and_most, owners, scaled, unsure, written_replicas
from llm_policies.selection import meant_by, selected
from llm_policies.values import Doubt, Undecided, Value, each

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
    return value.share(100) == 0


def _is_all(value: Value) -> bool:
    """Whether it is 100% or more: a share of nothing is nothing, a number of pods is not."""
    part = value.share(1)
    return part is not None and part >= 1 and value.share(0) == 0


def _blocks(item: Object, _: Context) -> Iterator[Said]:
    spec = item.properties.get("spec")
    unavailable, available = spec.get("maxUnavailable"), spec.get("minAvailable")
    checks = (
        lambda: _is_nothing(unavailable),
        lambda: _is_all(available),
        # Where neither is said, Kubernetes expects no pods, and lets none go.
        lambda: not (unavailable.exists or available.exists),
    )

    def judge(blocks: Callable[[], bool]) -> Iterator[Said]:
        if blocks():
            yield (
                f"PDB '{item.name}' allows 0 evictions: kubectl drain of the GPU node never ends. "
                "Use maxUnavailable: 1."
            )

    yield from each(checks, judge)  # a patch may say only one


def _allow_one(item: Object, _: Context) -> Iterator[Edit]:
    if _is_nothing(item.properties.get("spec", "maxUnavailable")):
        yield Edit(("spec", "maxUnavailable"), 1)


PDB_BLOCKS_DRAIN = Rule(
    name="pdb-blocks-drain",
    title="A node can be drained.",
    description=(
        "A budget that lets no pod go keeps `kubectl drain` waiting for ever, and with it every upgrade of the node. "
        "So does one that says neither number. What depends on the number of pods is judged by pdb-blocks-last-pod, "
        "over the whole stack."
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


_REPLICATED = ("Deployment", "StatefulSet", "ReplicaSet", "ReplicationController", "LeaderWorkerSet")


def _fewest_replicas(workload: Object, scaler: Object | None) -> int | None:
    """Replicas that it has at least; None for kinds whose number nobody writes, or whose pods end by themselves."""
    if scaler is not None:
        # One that is scaled to nothing has one pod before it has none.
        return max(1, least_and_most(scaler)[0])
    if workload.kind == "Pod":
        return 1
    if workload.kind not in _REPLICATED:
        return None
    replicas = workload.properties.get("spec", "replicas").integer()
    return 1 if replicas is None else replicas


def _selected_pods(item: Object, stack: Stack, by: Mapping[int, Object], late: Sequence[Undecided]) -> int | None:
    """How many pods of the stack a budget is for, at least; None where that cannot be counted.

    Args:
        item: the budget.
        by: autoscalers by their workload's `id()`.
        late: why it cannot be told of others which workload is theirs: it may be one that does not say its replicas.

    Raises:
        Doubt: it is not known yet.
    """
    selector = item.properties.get("spec", "selector")
    if not selector.exists:
        return None  # of no pods
    namespace = item.properties.get("metadata", "namespace")
    where = None if namespace.is_unknown else item.namespace
    found, doubts = selected(stack, where, meant_by(selector))
    if doubts:
        raise doubts[0]
    if found and where is None:
        raise Undecided(namespace.path)
    total = 0
    for workload, pod in found:
        if not owners(workload):
            scaler = by.get(id(workload))
            replicas = _fewest_replicas(workload, scaler)
            if replicas is None:
                return None
            if late and scaler is None and written_replicas(workload).raw is None:
                raise late[0]
            total += replicas * dict(templates(workload))[pod]
    return total


def _last_pod(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    budgets = stack.of(_PDB)
    by, late = (scaled(stack), unsure(stack)) if budgets else ({}, [])
    for item in budgets:
        try:
            wanted = item.properties.get("spec", "minAvailable")
            if not wanted.exists or _is_all(wanted):
                continue  # told by pdb-blocks-drain
            pods = _selected_pods(item, stack, by, late)
            if not pods or (share := wanted.share(pods)) is None:
                continue
            if (least := ceil(share)) >= pods:
                whose = "1 pod" if pods == 1 else f"the {pods} pods that it is for"
                yield (
                    item,
                    f"PDB '{item.name}' wants {least} of {whose}, so it allows 0 evictions: kubectl drain of the GPU "
                    "node never ends. Use maxUnavailable: 1.",
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
        "A minAvailable of 1 for a server with one pod lets none go. An autoscaler may bring a server down to "
        "its fewest pods, so these count; of a LeaderWorkerSet each replica has as many as its size. Pods of all "
        "workloads that a budget selects count together; one that selects a DaemonSet or a Job is not judged."
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
