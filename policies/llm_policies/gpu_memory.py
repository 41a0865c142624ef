"""Rule about how much of a GPU's memory its engines take: one of its own, and several that share it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from llm_policies.examples import POD
from llm_policies.gpus import is_on_cpu
from llm_policies.nodes import open_to, pools_of
from llm_policies.objects import Object, Stack
from llm_policies.placing import PASSING, replicas
from llm_policies.pods import GPU_RESOURCES, Container
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
    if container.gpus_of(lambda resource: resource == "nvidia.com/gpu.shared"):
        return True
    pools = open_to(container.pod, context.pools or {})
    return any(pool.time_slices > 1 for pool in pools.values())


def _shared(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    pools = pools_of(stack, context) or {}
    if all(pool.time_slices == 1 for pool in pools.values()):
        return
    by = scaled(stack)
    takers: dict[frozenset[str], list[tuple[Object, int, Fraction]]] = {}
    for item in stack.workloads():
        if item.kind in PASSING:
            continue
        try:
            for pod in item.pods:
                names = frozenset(open_to(pod, pools))
                share = sum((_takes(container) for container in pod.main_containers), Fraction(0))
                if share and names and all(pools[name].time_slices > 1 for name in names):
                    takers.setdefault(names, []).append((item, replicas(item, by.get(id(item))), share))
        except Doubt as doubt:
            yield item, doubt
    for names in takers:
        within = [taker for own, found in takers.items() if own <= names for taker in found]
        yield from _too_much(within, [pools[name] for name in names])


def _takes(container: Container) -> Fraction:
    """The share of one card that an engine takes for itself, of each slice that it has; 0 where that is not told."""
    names = _OPTIONS.get(container.engine, ())
    if container.has_flag("--kv-cache-memory-bytes"):
        return Fraction(0)
    value = container.number(*names)
    if value is None:
        value = _DEFAULT if container.engine == "vllm" and container.option(*names) is None else Fraction(0)
    return value * container.gpus_of(GPU_RESOURCES.__contains__)


def _too_much(takers: list[tuple[Object, int, Fraction]], pools: list[Pool]) -> Iterator[tuple[Object, str]]:
    cards = sum(pool.nodes * pool.gpus for pool in pools)
    total = sum((count * share for _, count, share in takers), Fraction(0))
    if total > _MOST * cards:
        shown = " + ".join(
            f"'{item.name}' {f'{count} x ' if count > 1 else ''}{float(share):g}" for item, count, share in takers
        )
        yield (
            takers[-1][0],
            f"--gpu-memory-utilization of pods that share {cards} GPU: {shown} = {float(total):g}: slices have no "
            f"memory of their own, so the last to start finds too little and fails. Keep the sum within "
            f"{float(_MOST * cards):g}.",
        )


GPU_MEMORY_UTILIZATION = Rule(
    name="gpu-memory-utilization",
    title="An engine leaves some of a GPU's memory free, and what others that share it need.",
    description=(
        "An engine takes the part of the memory that it is told, at the start. Peaks of activations come on top: above "
        "0.95 it runs out in use, not at the start. Less than 0.80 is only right where others share the GPU, by time "
        "slices of a declared pool; together they then keep within 0.95, as slices have no memory of their own."
    ),
    remediation="Keep 0.80 to 0.95 (0.88 to 0.92 is safe), or within 0.95 over all pods that share a card.",
    severity="warn",
    references=("vLLM --gpu-memory-utilization", "NVIDIA k8s-device-plugin: time-slicing"),
    of_container=_utilization,
    of_stack=_shared,
    bad=POD + "    args: [org/model, --gpu-memory-utilization=0.98]\n",
    good=POD + "    args: [org/model, --gpu-memory-utilization=0.92]\n",
)

RULES = (GPU_MEMORY_UTILIZATION,)
