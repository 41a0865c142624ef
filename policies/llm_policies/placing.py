"""Whether pods with GPUs fit on a site's nodes together: the GPUs of one pod must be of one node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from llm_policies.gpu_resources import GPU_RESOURCES
from llm_policies.nodes import gpus_by_resource, open_to
from llm_policies.objects import Object
from llm_policies.pods import Pod
from llm_policies.pools import Pool
from llm_policies.scalers import least_and_most

_MOST_PODS = 64
_MOST_STEPS = 5000
"""Of the exact search, which is only begun where a quick one finds no place; 20 ms."""

PASSING = frozenset({"Job", "CronJob"})
"""Kinds whose pods end by themselves, so that they may wait for one another."""


class Demand(NamedTuple):
    """Pods of one size."""

    gpus: int
    """Of one pod."""

    pools: frozenset[str]
    """Names of those that it may be on; all of them have its resource."""

    resource: str = GPU_RESOURCES[0]
    """What it asks for its GPUs as."""


Demands = Counter[Demand]
"""How many pods there are of each."""


class Group(NamedTuple):
    """Pods of a workload that are on the same pools, with their GPUs of one kind."""

    pod: Pod
    resource: str
    gpus: int
    """Of one pod."""

    pools: frozenset[str]
    pods: int
    """How many of them."""


def groups(item: Object, replicas: int, pools: Mapping[str, Pool]) -> Iterator[Group]:
    """The pods with GPUs that `replicas` of a workload come to; of a DaemonSet one on every node.

    One with several kinds of GPUs counts for each.
    """
    for pod, each in templates(item):
        asked = gpus_by_resource(pod)
        names = open_to(pod, pools) if asked else {}
        for resource, gpus in asked.items():
            having = frozenset(name for name, pool in names.items() if pool.resource == resource)
            if item.kind == "DaemonSet":
                yield from (Group(pod, resource, gpus, frozenset({n}), pools[n].nodes) for n in sorted(having))
            else:
                yield Group(pod, resource, gpus, having, each * replicas)


def demands(item: Object, replicas: int, pools: Mapping[str, Pool]) -> Demands:
    """What all of them ask for."""
    found: Demands = Counter()
    for group in groups(item, replicas, pools):
        found[Demand(group.gpus, group.pools, group.resource)] += group.pods
    return found


def templates(item: Object) -> Iterator[tuple[Pod, int]]:
    """Each template, and its pods in one replica."""
    if item.kind != "LeaderWorkerSet":
        yield from ((pod, 1) for pod in item.pods)
        return
    # One pod where nothing is said; without a leader's own template it is made by the workers'.
    size = item.properties.get("spec", "leaderWorkerTemplate", "size").integer()
    leaders, workers = item.pods[:-1], item.pods[-1:]
    yield from ((leader, 1) for leader in leaders)
    yield from ((worker, max(0, (1 if size is None else size) - len(leaders))) for worker in workers)


def of_one_kind(wanted: Demands) -> list[Demands]:
    """What is asked for, each kind of GPU for itself: a node that has none of one has nothing to do with it."""
    kinds = sorted({demand.resource for demand in wanted})
    return [Counter({d: count for d, count in wanted.items() if d.resource == kind}) for kind in kinds]


def replicas(item: Object, scaler: Object | None) -> int:
    """How many of a workload there are at least: what its autoscaler keeps, else what is written, else one."""
    if scaler is not None:
        return max(0, least_and_most(scaler)[0])
    if item.kind in PASSING or item.kind == "DaemonSet":
        return 1
    if item.kind == "Pod":
        return 0 if item.properties.get("status", "phase").raw in ("Succeeded", "Failed") else 1
    written = item.properties.get("spec", "replicas").integer()
    return 1 if written is None else max(0, written)


def capacity(names: Iterable[str], pools: Mapping[str, Pool]) -> int:
    """What the nodes of some pools advertise together."""
    return sum(pools[name].nodes * pools[name].advertised for name in names)


def largest(names: Iterable[str], pools: Mapping[str, Pool]) -> int:
    """What the largest node of some pools advertises; 0 of none."""
    return max((pools[name].advertised for name in names), default=0)


def fit(wanted: Demands, pools: Mapping[str, Pool]) -> bool:
    """Whether all pods find a place together; also where it would take too long to show that they do not."""
    wanted = +wanted
    if _overflow(wanted, pools):
        return False
    free = {name: Counter({pool.advertised: pool.nodes}) for name, pool in pools.items()}
    by_size = sorted(wanted, key=lambda d: (-d.gpus, len(d.pools), sorted(d.pools)))
    by_choice = sorted(wanted, key=lambda d: (len(d.pools), -d.gpus, sorted(d.pools)))
    if any(_placed(order, wanted, free) for order in (by_size, by_choice)):
        return True
    if wanted.total() > _MOST_PODS:
        return True
    one_by_one = [demand for demand in by_size for _ in range(wanted[demand])]
    return _search(one_by_one, 0, free, [_MOST_STEPS])


def _overflow(wanted: Demands, pools: Mapping[str, Pool]) -> bool:
    """Whether numbers alone show that they do not fit."""
    for demand, count in wanted.items():
        if sum(pools[name].nodes * (pools[name].advertised // demand.gpus) for name in demand.pools) < count:
            return True
    for names in {demand.pools for demand in wanted}:
        gpus = sum(demand.gpus * count for demand, count in wanted.items() if demand.pools <= names)
        if gpus > capacity(names, pools):
            return True
    return False


_Free = dict[str, Counter[int]]
"""By pool: how many nodes have how many GPUs free."""


def _placed(order: Iterable[Demand], wanted: Demands, before: _Free) -> bool:
    """Whether all find a place, one demand after the other, each on the fullest nodes of its least wanted pools."""
    free = {name: counter.copy() for name, counter in before.items()}
    rivals = Counter(name for demand in wanted for name in demand.pools)
    for demand in order:
        left = wanted[demand]
        for name in sorted(demand.pools, key=lambda name: (rivals[name], name)):
            for room in sorted(free[name]):
                if (each := room // demand.gpus) == 0 or left == 0:
                    continue
                full = min(free[name][room], left // each)
                _use(free[name], room, full, each * demand.gpus)
                left -= full * each
                if left and free[name][room]:
                    _use(free[name], room, 1, min(left, each) * demand.gpus)
                    left -= min(left, each)
        if left:
            return False
    return True


def _use(free: Counter[int], room: int, nodes: int, gpus: int) -> None:
    if nodes:
        free[room] -= nodes
        free[room - gpus] += nodes


def _search(pods: list[Demand], position: int, free: _Free, steps: list[int]) -> bool:
    """Whether the pods from `position` on find a place in any order; True where the steps are used up."""
    if position == len(pods) or steps[0] <= 0:
        return True
    steps[0] -= 1
    demand = pods[position]
    for name in demand.pools:
        for room in [room for room, nodes in free[name].items() if nodes and room >= demand.gpus]:
            _use(free[name], room, 1, demand.gpus)
            found = _search(pods, position + 1, free, steps)
            _use(free[name], room - demand.gpus, 1, -demand.gpus)
            if found:
                return True
    return False
