"""Rules about all GPUs of a site: what is asked for together, and what autoscalers may come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from llm_policies.gpu_resources import GPU_RESOURCES
from llm_policies.nodes import doubtful_nodes, pools_of
from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.placing import PASSING, Demand, Demands, capacity, demands, fit, largest, of_one_kind, replicas
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


def _shown(wanted: Demands) -> str:
    """How many GPUs of one kind; what few sites have by the name of its resource."""
    resource = next(iter(wanted)).resource
    return f"{_gpus(wanted)} {'GPUs' if resource == GPU_RESOURCES[0] else resource}"


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
    yield from doubtful_nodes(stack, context)
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
            fitting += ((item, own) for own in of_one_kind(wanted))
    for item, wanted in fitting:
        if item.kind in PASSING:
            continue
        if fit(placed + wanted, pools):
            placed += wanted
        else:
            pending.setdefault(frozenset().union(*(demand.pools for demand in wanted)), []).append(item)
    for names, items in pending.items():
        total = _within(sum((wanted for item, wanted in fitting if item.kind not in PASSING), Demands()), names)
        enough = "" if _gpus(total) > capacity(names, pools) else ", but no node has enough of them left in one piece"
        yield (
            items[0],
            f"stack wants {_shown(total)}, {_have(names, pools)}{enough}: {_named([item.name for item in items])} will "
            "stay Pending. Run fewer replicas, ask for fewer GPUs, or add a node.",
        )
    for item, wanted in fitting:
        if item.kind in PASSING and not fit(placed + wanted, pools):
            yield (
                item,
                f"'{item.name}' wants {_shown(wanted)}, and the servers of the stack leave it none: it will stay "
                "Pending as long as they run. Run fewer replicas, or add a node.",
            )


def _alone(item: Object, wanted: Demands, pools: Mapping[str, Pool]) -> Iterator[str]:
    """What is wrong whatever else there is: a pod that an empty site has no place for."""
    having = {pool.resource for pool in pools.values()}
    for demand in +wanted:
        most, shown = largest(demand.pools, pools), _shown(Counter({demand: 1}))
        if demand.resource not in having:
            yield (
                f"stack wants {shown} for each pod of '{item.name}', and no pool has any: it will stay Pending. Ask "
                "for what a pool has, or add a node that has them: a pool is declared with its `resource`."
            )
        elif not demand.pools:
            yield (
                f"stack wants {shown} for each pod of '{item.name}', and no pool takes them, by their labels and "
                "taints: it will stay Pending. Choose and tolerate a pool's nodes."
            )
        elif most < demand.gpus:
            yield (
                f"stack wants {shown} for one pod of '{item.name}', and the largest node that takes it has {most}: it "
                "will stay Pending. The GPUs of a pod are of one node: ask for fewer, or divide the model over several "
                "pods."
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
        "declared pools, or from Nodes among the objects; without either nothing is counted. Each resource is counted "
        "for itself: GPUs of each vendor, and parts of a GPU (MIG) by their profile. Jobs are counted one by one "
        "beside the servers, since they may wait for one another."
    ),
    remediation="Run fewer replicas, ask for fewer GPUs, or add a node.",
    severity="error",
    references=("Kubernetes: extended resources",),
    of_stack=_oversubscribed,
    kinds=POD_BEARING | {"Node"},
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
    for one in of_one_kind(demands(target, 1, pools)):
        fits = _fitting(one, least, most, others, pools)
        if fits is None:
            continue
        names = frozenset[str]().union(*(demand.pools for demand in one))
        taken = _gpus(_within(others, names))
        besides = f", of which others take {taken}" if taken else ""
        repair = f"Set the most to {fits}" if fits > least else "Run it without the autoscaler"
        kind = "HPA" if scaler.kind != "ScaledObject" else "ScaledObject"
        yield (
            f"{kind} '{scaler.name}' may ask {most}x{_gpus(one)}={_shown(_times(one, most))}, {_have(names, pools)}"
            f"{besides}: the pods beyond stay Pending just when there is load. {repair}, or add a node."
        )


def _fitting(one: Demands, least: int, most: int, others: Demands, pools: Mapping[str, Pool]) -> int | None:
    """The most replicas that fit beside the others; None where all do, or not even the least.

    Too many from the first is told of the workload.
    """
    if fit(others + _times(one, most), pools) or not fit(others + _times(one, least), pools):
        return None
    # The most that fits lies between the two.
    fits, too_many = least, most
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if fit(others + _times(one, middle), pools):
            fits = middle
        else:
            too_many = middle
    return fits


def _times(one: Demands, replicas: int) -> Demands:
    return Counter({demand: count * replicas for demand, count in one.items()})


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
