"""Rule about how much of a GPU's memory its engines take: one of its own, and several that share it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil
from typing import NamedTuple

from llm_policies.containers import Container
from llm_policies.examples import POD
from llm_policies.gpus import is_on_cpu
from llm_policies.nodes import chooses, open_to, pools_of
from llm_policies.objects import Object, Stack
from llm_policies.placing import PASSING, Demand, Group, fit, groups, replicas
from llm_policies.pods import Pod
from llm_policies.pools import Pool
from llm_policies.rule import Context, Rule, Said
from llm_policies.scalers import scaled
from llm_policies.values import Doubt

_LEAST, _MOST = Fraction("0.80"), Fraction("0.95")
_OPTIONS: dict[str | None, tuple[str, ...]] = {
    "vllm": ("--gpu-memory-utilization", "--device-memory-utilization"),
    "sglang": ("--mem-fraction-static",),
    "tgi": ("--cuda-memory-fraction",),
}
_DEFAULT = Fraction("0.90")
"""vLLM's own before it was 0.92: what it takes at least."""

_UNITS = 10_000
"""Of a card's memory, to count it by."""

_SHARED = "nvidia.com/gpu.shared"
"""A slice of a card, by a name of its own, as NVIDIA's device plugin advertises it where it is told to."""

_FEWEST = 2
"""Pods to a card that is shared, by however many."""

_ASSUMED = {"": Pool(resource=_SHARED, time_slices=_FEWEST)}
"""Where nobody has told of any."""

_WHY = "slices have no memory of their own, so the last to start finds too little and fails."


def _utilization(container: Container, context: Context) -> Iterator[Said]:
    names = _OPTIONS.get(container.engine, ())
    written = container.option(*names)
    if written is None or is_on_cpu(container) or container.has_flag("--kv-cache-memory-bytes"):
        return  # bytes go before a share
    value = container.number(*names)
    if value is None and "$" in written:
        return  # from elsewhere
    if value is None or not 0 < value <= 1:
        shown = "that is no number" if value is None else f"{float(value):g}"
        yield (
            f"{container.name}: {names[0]} {shown} is no part of a GPU, so the engine refuses to start. Keep 0.80-0.95."
        )
    elif container.engine == "vllm" and value > _MOST:
        yield (
            f"{container.name}: {names[0]} {float(value):g} leaves too little for peaks, so it runs out of memory in "
            "use. Keep 0.80-0.95."
        )
    elif container.engine == "vllm" and value < _LEAST and container.gpus and not _may_share(container, context):
        yield (
            f"{container.name}: {names[0]} {float(value):g} leaves memory of its GPU idle that no other pod may use. "
            "Keep 0.80-0.95; where pods share a card, declare its pool with timeSlices."
        )


def _may_share(container: Container, context: Context) -> bool:
    """Whether other pods may have the same card."""
    if container.gpus_of(_SHARED.__eq__):
        return True
    pools = open_to(container.pod, context.pools or {})
    return any(pool.time_slices > 1 for pool in pools.values())


class _Taker(NamedTuple):
    """Pods that take the same of each card that they have a slice of."""

    item: Object
    pods: int
    shares: Counter[Fraction]
    """Of one pod: how many slices are taken for how much of their card."""

    @property
    def share(self) -> Fraction:
        """Of all cards together that one pod has a slice of."""
        return sum((share * count for share, count in self.shares.items()), Fraction(0))

    def __str__(self) -> str:
        """For messages."""
        return f"'{self.item.name}' {f'{self.pods} x ' if self.pods > 1 else ''}{float(self.share):g}"


def _shared(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    declared = pools_of(stack, context)
    pools = _ASSUMED if declared is None else declared
    if all(pool.time_slices == 1 for pool in pools.values()):
        return
    by = scaled(stack)
    takers: dict[frozenset[str], list[_Taker]] = {}
    for item in stack.workloads():
        if item.kind in PASSING:
            continue
        try:
            for group, shares in _sharing(item, pools):
                taker = _Taker(item, group.pods * replicas(item, by.get(id(item))), shares)
                # Nobody has told where those are that choose: together with their own replicas at least.
                alone = declared is None and chooses(group.pod)
                takers.setdefault(frozenset({item.id}) if alone else group.pools, []).append(taker)
        except Doubt as doubt:
            yield item, doubt
    if declared is None:
        for found in takers.values():
            yield from _two_on_a_card(found)
    else:
        yield from _too_much(takers, pools)


def _sharing(item: Object, pools: Mapping[str, Pool]) -> Iterator[tuple[Group, Counter[Fraction]]]:
    """The pods of one replica that can only be on cards with others, and what they take."""
    if not any(container.engine in _OPTIONS for pod in item.pods for container in pod.engines):
        return  # so that nothing else of it is in doubt
    for group in groups(item, 1, pools):
        shares = _shares(group.pod, group.resource)
        if shares and group.pools and all(pools[name].time_slices > 1 for name in group.pools):
            yield group, shares


def _shares(pod: Pod, resource: str) -> Counter[Fraction]:
    """What engines take of each slice's card for themselves; nothing where that is not told."""
    found: Counter[Fraction] = Counter()
    for container in pod.main_containers:
        if (names := _OPTIONS.get(container.engine)) is None or container.has_flag("--kv-cache-memory-bytes"):
            continue
        value = container.number(*names)
        if value is None:
            value = _DEFAULT if container.engine == "vllm" and container.option(*names) is None else Fraction(0)
        if value > 0:
            found[value] += container.gpus_of(resource.__eq__)
    return +found


def _two_on_a_card(takers: list[_Taker]) -> Iterator[tuple[Object, str]]:
    """Of cards that nobody has told of: the two that take the most may meet."""
    slices = [
        (share, taker.item)
        for taker in takers
        for share, count in taker.shares.items()
        for _ in range(min(_FEWEST, count * taker.pods))
    ]
    largest = sorted(slices, key=lambda slice: slice[0])[-_FEWEST:]
    if len(largest) > 1 and (total := sum(share for share, _ in largest)) > _MOST:
        shown = " + ".join(f"'{item.name}' {float(share):g}" for share, item in largest)
        yield (
            largest[-1][1],
            f"--gpu-memory-utilization of pods that may share a card ({_SHARED}): {shown} = {float(total):g}: "
            f"{_WHY} Keep any two within {float(_MOST):g}, or declare the pool with its cards and timeSlices.",
        )


def _too_much(takers: Mapping[frozenset[str], list[_Taker]], pools: Mapping[str, Pool]) -> Iterator[tuple[Object, str]]:
    told: list[frozenset[str]] = []
    for names in sorted(takers, key=len):
        if any(names.issuperset(within) for within in told):
            continue  # what is too much for some of them is so for all
        there = [(where, taker) for where, found in takers.items() if where <= names for taker in found]
        # As GPUs are placed on nodes, so is memory on cards.
        wanted = Counter[Demand]()
        for where, taker in there:
            for share, count in taker.shares.items():
                wanted[Demand(ceil(share * _UNITS), where)] += count * taker.pods
        cards = {name: Pool(nodes=pools[name].nodes * pools[name].gpus, gpus=int(_MOST * _UNITS)) for name in names}
        if not fit(wanted, cards):
            told.append(names)
            gpus = sum(card.nodes for card in cards.values())
            shown = " + ".join(str(taker) for _, taker in there)
            yield (
                there[-1][1].item,
                f"--gpu-memory-utilization of pods that share {gpus} GPU: {shown} = "
                f"{float(sum(taker.pods * taker.share for _, taker in there)):g}, more than {float(_MOST):g} on one of "
                f"them however they are placed: {_WHY} Keep what is on a card within {float(_MOST):g}.",
            )


GPU_MEMORY_UTILIZATION = Rule(
    name="gpu-memory-utilization",
    title="An engine leaves some of a GPU's memory free, and what others that share it need.",
    description=(
        "An engine takes the part of the memory that it is told, at the start. Peaks of activations come on top: above "
        "0.95 it runs out in use, not at the start. Less than 0.80 is only right where others share the GPU, by time "
        "slices of a declared pool; on each card they then keep within 0.95 together, as slices have no memory of "
        "their own. Of pods that ask for nvidia.com/gpu.shared, of which nobody has declared a pool, any two may meet."
    ),
    remediation="Keep 0.80 to 0.95 (0.88 to 0.92 is safe), or within 0.95 over the pods of each shared card.",
    severity="warn",
    references=("vLLM --gpu-memory-utilization", "NVIDIA k8s-device-plugin: time-slicing"),
    of_container=_utilization,
    of_stack=_shared,
    bad=POD + "    args: [org/model, --gpu-memory-utilization=0.98]\n",
    good=POD + "    args: [org/model, --gpu-memory-utilization=0.92]\n",
)

RULES = (GPU_MEMORY_UTILIZATION,)
