"""Which nodes with GPUs a pod may be put on: by what it chooses, and by what it tolerates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fractions import Fraction

from llm_policies.objects import Stack
from llm_policies.pods import GPU_RESOURCES, Pod
from llm_policies.pools import Pool, Taint
from llm_policies.rule import Context
from llm_policies.values import Doubt, Malformed, Value

_HOSTNAME = "kubernetes.io/hostname"
_OF_EVERY_NODE = {f"{prefix}kubernetes.io/{key}" for prefix in ("", "beta.") for key in ("os", "arch")}
"""Labels that choose no cards."""


def pools_of(stack: Stack, context: Context) -> Mapping[str, Pool] | None:
    """The GPU nodes: those that are declared, else the Nodes among the objects; None where nobody tells of any."""
    if context.pools is not None:
        return context.pools
    found = {}
    for node in stack.of("Node"):
        try:
            pool = _pool(node.properties)
        except Doubt:
            continue  # a cluster's own report, and no rule's subject
        if pool.gpus:
            found[node.name] = pool
    return found or None


def _pool(node: Value) -> Pool:
    labels = {key: value.text() or "" for key, value in node.get("metadata", "labels").pairs()}
    advertised = sum(
        (value.quantity() or Fraction(0))
        for key, value in node.get("status", "allocatable").pairs()
        if key in GPU_RESOURCES
    )
    taints = [
        Taint(key=t.get("key").text() or "", value=t.get("value").text() or "", effect=t.get("effect").text() or "")
        for t in node.get("spec", "taints").items()
    ]
    # Labels of NVIDIA's feature discovery: slices of a card, and its memory in MiB.
    slices, memory = (
        int(labels.get(f"nvidia.com/gpu.{key}", "0"))
        if (labels.get(f"nvidia.com/gpu.{key}", "").isdecimal() and len(labels[f"nvidia.com/gpu.{key}"]) < 10)
        else 0
        for key in ("replicas", "memory")
    )
    slices = max(1, slices)
    return Pool(
        gpus=int(advertised) // slices,
        memory_mib=memory or None,
        time_slices=slices,
        labels=labels,
        taints=tuple(taints),
    )


def chosen(pod: Pod, pools: Mapping[str, Pool]) -> dict[str, Pool]:
    """The pools that a pod's node selector and required affinity allow, whatever their taints are.

    A label that no pool declares decides nothing: nodes have more labels than anybody declares.
    """
    declared = {key for pool in pools.values() for key in pool.labels}
    pairs = [(key, value.text()) for key, value in pod.spec.get("nodeSelector").pairs()]
    if (node := pod.spec.get("nodeName").text()) is not None:
        pairs.append((_HOSTNAME, node))
    terms = _terms(pod)
    return {
        name: pool
        for name, pool in pools.items()
        if all(key not in declared or pool.labels.get(key) == value for key, value in pairs)
        and (terms is None or any(_matches(term, pool, declared) for term in terms))
    }


def chooses(pod: Pod) -> bool:
    """Whether a pod says anything of the nodes that it may be on, besides their system."""
    if pod.spec.get("nodeName").text() is not None or _terms(pod) is not None:
        return True
    return any(key not in _OF_EVERY_NODE for key, _ in pod.spec.get("nodeSelector").pairs())


def _terms(pod: Pod) -> list[Value] | None:
    """The terms of a pod's required affinity, of which one must hold; None without any affinity."""
    required = pod.spec.get("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    return required.get("nodeSelectorTerms").items() if required.exists else None


def _matches(term: Value, pool: Pool, declared: Collection[str]) -> bool:
    expressions = [(e, e.get("key").text() or "") for e in term.get("matchExpressions").items()]
    # The only field that there is: the node's name.
    fields = [(e, _HOSTNAME) for e in term.get("matchFields").items()]
    # A term without anything matches no node.
    return bool(expressions or fields) and all(
        _holds(expression, key, pool) for expression, key in (*expressions, *fields) if key in declared
    )


def _holds(expression: Value, key: str, pool: Pool) -> bool:
    label = pool.labels.get(key)
    operator = expression.get("operator")
    values = [value.text() for value in expression.get("values").items()]
    match operator.text():
        case "In":
            return label in values
        case "NotIn":
            return label not in values
        case "Exists":
            return label is not None
        case "DoesNotExist":
            return label is None
        case "Gt" | "Lt":
            return True  # of numbers that a pool's labels hardly are
    raise Malformed(operator.path, operator.raw, "In, NotIn, Exists, DoesNotExist, Gt or Lt")


def blocking(pod: Pod, pool: Pool) -> list[Taint]:
    """The taints of a pool that keep a pod away."""
    if pod.spec.get("nodeName").text() is not None:
        return []  # the scheduler is not asked
    tolerations = pod.spec.get("tolerations").items()
    return [
        taint
        for taint in pool.taints
        if taint.effect in ("NoSchedule", "NoExecute") and not any(_tolerates(t, taint) for t in tolerations)
    ]


def _tolerates(toleration: Value, taint: Taint) -> bool:
    key, effect = toleration.get("key").text() or "", toleration.get("effect").text() or ""
    operator = toleration.get("operator").text() or "Equal"
    if effect not in ("", taint.effect):
        return False
    if key != taint.key:
        return key == "" and operator == "Exists"
    # Other operators compare numbers, which the newest Kubernetes may do.
    return operator != "Equal" or (toleration.get("value").text() or "") == taint.value


def open_to(pod: Pod, pools: Mapping[str, Pool]) -> dict[str, Pool]:
    """The pools that a pod may be put on."""
    return {name: pool for name, pool in chosen(pod, pools).items() if not blocking(pod, pool)}
