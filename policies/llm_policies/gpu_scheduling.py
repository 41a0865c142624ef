"""Rule about how a pod with GPUs comes to the nodes that have them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from llm_policies.examples import POD_HEAD
from llm_policies.gpu_resources import is_gpu
from llm_policies.nodes import blocking, chooses, chosen, gpus_by_resource, tolerations
from llm_policies.objects import Object
from llm_policies.pods import Pod
from llm_policies.pools import Pool, Taint
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import each


def _scheduling(item: Object, context: Context) -> Iterator[Said]:
    def judge(pod: Pod) -> Iterator[Said]:
        if not (asked := gpus_by_resource(pod)):
            return
        tolerations(pod)  # a wrong one is told, whether or not it decides
        if context.pools is None:
            yield from _undeclared(item, pod, asked)
        elif missing := sorted(asked.keys() - {pool.resource for pool in context.pools.values()}):
            # Of others gpu-pool-oversubscribed tells it, which counts a DaemonSet's pods by the nodes that it is on.
            if item.kind == "DaemonSet":
                yield (
                    f"'{item.name}' asks for {', '.join(missing)}, which no pool has, so it stays Pending. Ask for "
                    "what a pool has, or declare its pool with that `resource`."
                )
        elif not (allowed := chosen(pod, context.pools)):
            yield (
                f"'{item.name}' chooses nodes that no pool has, by its nodeSelector or affinity, so it stays Pending. "
                "Choose labels that a pool declares."
            )
        elif taints := _in_the_way(pod, allowed):
            shown = ", ".join(str(taint) for taint in taints)
            names = sorted(name for name, pool in allowed.items() if blocking(pod, pool) == taints)
            yield (
                f"'{item.name}' does not tolerate taint {shown} of pool {', '.join(names)}, and no other takes it, so "
                "it stays Pending. Add the toleration."
            )
        elif item.kind != "DaemonSet":  # that is on all of them
            yield from _mixed(item, pod, asked, allowed)

    yield from each(item.pods, judge)


def _undeclared(item: Object, pod: Pod, asked: Collection[str]) -> Iterator[str]:
    """Strictly: GPU nodes may be tainted, and may differ, so a pod says something of one or the other."""
    usual = sorted({_usual_taint(resource) for resource in asked})
    tolerated = (toleration.get("key").text() or "" for toleration in tolerations(pod))
    if not chooses(pod) and not any(_may_be_of_gpus(key, usual) for key in tolerated):
        often = ", ".join(f"{key}:NoSchedule" for key in usual)
        yield (
            f"'{item.name}' says nothing of the GPU nodes: where they are tainted it stays Pending, and where their "
            f"cards differ it gets any of them. Tolerate the taint (often {often}), choose the nodes by nodeSelector, "
            "or declare the pools."
        )


def _usual_taint(resource: str) -> str:
    """The key of the taint that is usual for the nodes with a resource."""
    vendor = resource.partition("/")[0]
    return f"{vendor}/gpu" if vendor in ("nvidia.com", "amd.com") else resource


def _may_be_of_gpus(key: str, usual: Collection[str]) -> bool:
    """Whether a taint of that key may be of the GPU nodes that are meant."""
    # The first are the cluster's own, which every pod of a cluster's own list tolerates for a while.
    return not key.startswith("node.kubernetes.io/") and (not is_gpu(key) or _usual_taint(key) in usual)


def _in_the_way(pod: Pod, allowed: Mapping[str, Pool]) -> list[Taint]:
    """The taints of the first pool, where each of them keeps the pod away."""
    taints = [blocking(pod, pool) for _, pool in sorted(allowed.items())]
    return taints[0] if all(taints) else []


def _mixed(item: Object, pod: Pod, asked: Mapping[str, int], allowed: Mapping[str, Pool]) -> Iterator[str]:
    """What a pod that chooses nothing may land on."""
    takes = {
        name: pool
        for name, pool in allowed.items()
        if pool.advertised >= asked[pool.resource] and not blocking(pod, pool)
    }
    memories = {pool.memory_mib for pool in takes.values() if pool.memory_mib is not None}
    slices = {pool.time_slices for pool in takes.values()}
    if not chooses(pod) and (len(memories) > 1 or len(slices) > 1):
        shown = "; ".join(f"{name}: {_card(pool)}" for name, pool in sorted(takes.items()))
        yield (
            f"'{item.name}' may land on any of pools that differ ({shown}), and a model that fits one does not fit "
            "the other. Choose one by nodeSelector or affinity."
        )


def _card(pool: Pool) -> str:
    memory = "a card" if pool.memory_mib is None else f"{pool.memory_mib} MiB"
    return f"{memory} shared by {pool.time_slices}" if pool.time_slices > 1 else memory


def _tolerate(item: Object, context: Context) -> Iterator[Edit]:
    """Add the tolerations of the declared pool; where several are chosen, only what opens all of them alike."""
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
        if pod.gpus == 0 or not context.pools or not (allowed := chosen(pod, context.pools)):
            continue
        taints = _in_the_way(pod, allowed)
        if any(blocking(pod, pool) != taints for pool in allowed.values()):
            continue
        there = len(pod.spec.get("tolerations").items())
        for index, taint in enumerate(taints, start=there):
            value = {"operator": "Equal", "value": taint.value} if taint.value else {"operator": "Exists"}
            toleration = {"key": taint.key, **value, "effect": taint.effect}
            yield Edit((*path, "spec", "tolerations", index), toleration)


_ON_A_GPU = (
    POD_HEAD
    + """\
  containers:
  - {name: vllm, image: "vllm/vllm-openai:v0.33.0", resources: {limits: {nvidia.com/gpu: 1}}}
"""
)

GPU_SCHEDULING = Rule(
    name="gpu-scheduling",
    title="A pod with GPUs is let onto the nodes that have its kind.",
    description=(
        "GPU nodes are often tainted, to keep other pods away: one that does not tolerate that stays Pending. Where "
        "cards differ, a pod that chooses none gets any: a model for 80 GB starts on 24 GB, and fails. Without "
        "declared pools a pod must say something of its nodes: a toleration, or a choice. Tolerations of the cluster's "
        "own taints (node.kubernetes.io/...) and of another vendor's GPUs say nothing of them."
    ),
    remediation="Tolerate the pool's taints, and choose its nodes by nodeSelector or affinity.",
    severity="warn",
    references=("Kubernetes: taints and tolerations", "NVIDIA GPU feature discovery (nvidia.com/gpu.product)"),
    of_object=_scheduling,
    remediate=_tolerate,
    bad=_ON_A_GPU,
    good=_ON_A_GPU + "  nodeSelector: {nvidia.com/gpu.product: NVIDIA-L4}\n"
    "  tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]\n",
)

RULES = (GPU_SCHEDULING,)
