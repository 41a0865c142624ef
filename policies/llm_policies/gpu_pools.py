"""Rules about all GPUs of a site: what is asked for together, and what autoscalers may come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from llm_policies.nodes import pools_of
from llm_policies.objects import Object, Stack
from llm_policies.placing import PASSING, Demand, Demands, capacity, demands, fit, largest, replicas
from llm_policies.pools import Pool
from llm_policies.rule import Context, Rule, Said
from llm_policies.scalers import SCALERS, least_and_most, owners, scaled, scalers
from llm_policies.values import Doubt

_MOST_NAMED = 5


def asked(
    stack: Stack, pools: Mapping[str, Pool]
) -> tuple[dict[int, tuple[Object, Demands]], list[tuple[Object, Doubt]]]:
    """Each workload with the GPUs that it asks for, by its `id()`, and those of which it cannot be told.

    Without what other objects of the stack have made, as in a cluster's own list of objects.
    """
    by = scaled(stack)
    there = {(item.kind, item.namespace, item.name) for item in stack.workloads()}
    found: dict[int, tuple[Object, Demands]] = {}
    doubts: list[tuple[Object, Doubt]] = []
    for item in stack.workloads():
        try:
            if any((kind, item.namespace, name) in there for kind, name in owners(item)):
                continue
            if wanted := demands(item, replicas(item, by.get(id(item))), pools):
                found[id(item)] = item, wanted
        except Doubt as doubt:
            doubts.append((item, doubt))
    return found, doubts


def lasting(found: Mapping[int, tuple[Object, Demands]]) -> Demands:
    """What is asked for all the time: Jobs wait for one another."""
    total: Demands = Counter()
    for item, wanted in found.values():
        if item.kind not in PASSING:
            total += wanted
    return total


def _gpus(wanted: Demands) -> int:
    return sum(demand.gpus * count for demand, count in wanted.items())


def _within(wanted: Demands, names: frozenset[str]) -> Demands:
    return Counter({demand: count for demand, count in wanted.items() if demand.pools <= names})


def _have(names: Iterable[str], pools: Mapping[str, Pool]) -> str:
    names = sorted(names)
    if len(names) == 1:
        return f"pool {names[0]} has {capacity(names, pools)}"
    shown = ", ".join(names[:_MOST_NAMED]) + (" and others" if len(names) > _MOST_NAMED else "")
    return f"pools {shown} have {capacity(names, pools)}"


def _named(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names[:_MOST_NAMED]]
    return ", ".join(quoted) + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")


def _oversubscribed(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    pools = pools_of(stack, context)
    if pools is None:
        return  # nobody has told what there is
    found, doubts = asked(stack, pools)
    yield from doubts
    placed: Demands = Counter()
    pending: dict[frozenset[str], list[Object]] = {}
    fitting: list[tuple[Object, Demands]] = []
    for item, wanted in found.values():
        if (said := next(_alone(item, wanted, pools), None)) is not None:
            yield item, said
        else:
            fitting.append((item, wanted))
    for item, wanted in fitting:
        if item.kind in PASSING:
            continue
        if fit(placed + wanted, pools):
            placed += wanted
        else:
            pending.setdefault(frozenset().union(*(demand.pools for demand in wanted)), []).append(item)
    for names, items in pending.items():
        total = sum((wanted for item, wanted in fitting if item.kind not in PASSING), Demands())
        gpus = _gpus(_within(total, names))
        enough = "" if gpus > capacity(names, pools) else ", but no node has enough of them left in one piece"
        yield (
            items[0],
            f"stack wants {gpus} GPUs, {_have(names, pools)}{enough}: {_named([item.name for item in items])} will "
            "stay Pending. Run fewer replicas, ask for fewer GPUs, or add a node.",
        )
    for item, wanted in fitting:
        if item.kind in PASSING and not fit(placed + wanted, pools):
            yield (
                item,
                f"'{item.name}' wants {_gpus(wanted)} GPUs, and the servers of the stack leave it none: it will stay "
                "Pending as long as they run. Run fewer replicas, or add a node.",
            )


def _alone(item: Object, wanted: Demands, pools: Mapping[str, Pool]) -> Iterator[str]:
    """What is wrong whatever else there is: a pod that an empty site has no place for."""
    for demand in +wanted:
        most = largest(demand.pools, pools)
        if not demand.pools:
            yield (
                f"stack wants {demand.gpus} GPUs for each pod of '{item.name}', and no pool takes them, by their "
                "labels and taints: it will stay Pending. Choose and tolerate a pool's nodes."
            )
        elif most < demand.gpus:
            yield (
                f"stack wants {demand.gpus} GPUs for one pod of '{item.name}', and the largest node that takes it has "
                f"{most}: it will stay Pending. The GPUs of a pod are of one node: ask for fewer, or divide the model "
                "over several pods."
            )


_NODE = """\
apiVersion: v1
kind: Node
metadata: {name: gpu-a}
status: {allocatable: {nvidia.com/gpu: "4"}}
---
"""
_SERVER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    spec:
      containers:
      - {name: vllm, image: "vllm/vllm-openai:v0.33.0", resources: {limits: {nvidia.com/gpu: 2}}}
"""

GPU_POOL_OVERSUBSCRIBED = Rule(
    name="gpu-pool-oversubscribed",
    title="The site has the GPUs that are asked for.",
    description=(
        "A pod whose GPUs no node has free stays Pending, without an error and for ever. GPUs of one pod are of one "
        "node, which its selector, affinity and tolerations allow; time slices count. What there is comes from the "
        "declared pools, or from Nodes among the objects; without either nothing is counted. Jobs are counted one by "
        "one beside the servers, since they may wait for one another."
    ),
    remediation="Run fewer replicas, ask for fewer GPUs, or add a node.",
    severity="error",
    references=("Kubernetes: extended resources",),
    of_stack=_oversubscribed,
    bad=f"{_NODE}{_SERVER}  replicas: 3\n",
    good=f"{_NODE}{_SERVER}  replicas: 2\n",
)


def _exceeds(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    pools = pools_of(stack, context)
    if pools is None:
        return
    found, _ = asked(stack, pools)  # what cannot be told of a workload is told by gpu-pool-oversubscribed
    total = lasting(found)
    for scaler, target in scalers(stack):
        if isinstance(target, Doubt):
            yield scaler, target
        elif target is not None:
            try:
                own = found[id(target)][1] if id(target) in found else Counter[Demand]()
                yield from ((scaler, said) for said in _beyond(scaler, target, total - own, pools))
            except Doubt as doubt:
                yield scaler, doubt


def _beyond(scaler: Object, target: Object, others: Demands, pools: Mapping[str, Pool]) -> Iterator[str]:
    least, most = least_and_most(scaler)
    one = demands(target, 1, pools)
    if fit(others + demands(target, most, pools), pools) or not fit(others + demands(target, least, pools), pools):
        return  # too many from the first is told of the workload
    # The most that fits lies between the two.
    fits, too_many = least, most
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if fit(others + demands(target, middle, pools), pools):
            fits = middle
        else:
            too_many = middle
    names = frozenset[str]().union(*(demand.pools for demand in one))
    taken = _gpus(_within(others, names))
    besides = f", of which others take {taken}" if taken else ""
    repair = f"Set the most to {fits}" if fits > least else "Run it without the autoscaler"
    yield (
        f"{'HPA' if scaler.kind != 'ScaledObject' else 'ScaledObject'} '{scaler.name}' may ask {most}x{_gpus(one)}="
        f"{most * _gpus(one)} GPUs, {_have(names, pools)}{besides}: the pods beyond stay Pending just when there is "
        f"load. {repair}, or add a node."
    )


_HPA = """\
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: chat}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: chat}
"""

HPA_EXCEEDS_POOL = Rule(
    name="hpa-exceeds-pool",
    title="An autoscaler's last pod has a GPU too.",
    description=(
        "An autoscaler adds pods up to its most, under load. Those that find no GPU stay Pending, so the load stays, "
        "and nobody has planned for it. Others are counted with what they always have; other autoscalers with their "
        "least."
    ),
    remediation="Set the most to what fits beside the others, or add a node.",
    severity="error",
    references=("Kubernetes: extended resources",),
    of_stack=_exceeds,
    kinds=SCALERS,
    bad=f"{_NODE}{_SERVER}{_HPA}  maxReplicas: 3\n",
    good=f"{_NODE}{_SERVER}{_HPA}  maxReplicas: 2\n",
)

RULES = (GPU_POOL_OVERSUBSCRIBED, HPA_EXCEEDS_POOL)
