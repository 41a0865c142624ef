"""Which nodes with GPUs a pod may be put on: by what it asks for, what it chooses, and what it tolerates."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

from llm_policies.gpu_resources import is_gpu
from llm_policies.objects import Object, Stack
from llm_policies.pods import Pod
from llm_policies.pools import Pool, Taint
from llm_policies.rule import Context
from llm_policies.values import Doubt, Unsaid, Value

_NAME = "metadata.name"
"""Of a node: the only field that an affinity chooses by."""

_HOSTNAME = "kubernetes.io/hostname"
_OF_EVERY_NODE = {f"{prefix}kubernetes.io/{key}" for prefix in ("", "beta.") for key in ("os", "arch")}
"""Labels that choose no cards."""


def pools_of(stack: Stack, context: Context) -> Mapping[str, Pool] | None:
    """The GPU nodes: those that are declared, else the Nodes among the objects.

    None where nobody tells of any, or where `doubtful_nodes` may have more.
    """
    if context.pools is not None:
        return context.pools
    found, doubts = _read_nodes(stack)
    return None if doubts else found or None


def doubtful_nodes(stack: Stack, context: Context) -> list[tuple[Object, Doubt]]:
    """The Nodes that would tell of GPUs, and cannot be read."""
    return _read_nodes(stack)[1] if context.pools is None else []


def _read_nodes(stack: Stack) -> tuple[dict[str, Pool], list[tuple[Object, Doubt]]]:
    found: dict[str, Pool] = {}
    doubts: list[tuple[Object, Doubt]] = []
    for node in stack.of("Node"):
        try:
            found |= _advertised_by(node)
        except Unsaid:
            continue  # a patch, which tells of no GPUs
        except Doubt as doubt:
            doubts.append((node, doubt))
    return found, doubts


def _advertised_by(node: Object) -> dict[str, Pool]:
    """What a Node has, each kind of GPU for itself."""
    said = node.properties
    allocatable = said.get("status", "allocatable").pairs()
    counts = {resource: count for resource, value in allocatable if is_gpu(resource) and (count := _count(value))}
    if not counts:
        return {}  # whatever else it says
    labels = {key: value.text() or "" for key, value in said.get("metadata", "labels").pairs()}
    taints = tuple(
        Taint(key=t.get("key").text() or "", value=t.get("value").text() or "", effect=t.get("effect").text() or "")
        for t in said.get("spec", "taints").items()
    )
    name = said.get("metadata", "name").text() or node.name
    found = {}
    for resource, count in counts.items():
        # NVIDIA's feature discovery tells the slices of a card, and its memory in MiB.
        card = resource.removesuffix(".shared")
        slices, memory = max(1, _number(labels.get(f"{card}.replicas"))), _number(labels.get(f"{card}.memory"))
        found[name if len(counts) == 1 else f"{name} ({resource})"] = Pool(
            resource=resource,
            gpus=count // slices,
            memory_mib=memory or None,
            time_slices=slices,
            labels=labels,
            taints=taints,
            node=name,
            # A kubelet labels its Node so: one without is written by hand, with some labels of many.
            has_all_labels=_HOSTNAME in labels,
        )
    return found


def _count(value: Value) -> int:
    count = value.quantity(least=0) or 0
    if count % 1:
        raise value.malformed("a number of GPUs")
    return int(count)


def _number(label: str | None) -> int:
    return int(label) if label is not None and label.isdecimal() and len(label) < 10 else 0


def gpus_by_resource(pod: Pod) -> dict[str, int]:
    """GPUs of a pod by the resource that it asks for: those of another vendor, or parts of a GPU, are no GPUs to it."""
    resources: set[str] = set()
    for container in pod.containers:
        for key in ("requests", "limits"):
            with suppress(Unsaid):  # a patch may say one of them alone
                resources |= {resource for resource, _ in container.value.get("resources", key).pairs()}
    counts = {resource: pod.gpus_of(resource.__eq__) for resource in sorted(filter(is_gpu, resources))}
    return {resource: count for resource, count in counts.items() if count}


def chosen(pod: Pod, pools: Mapping[str, Pool]) -> dict[str, Pool]:
    """The pools that have what a pod asks for, and that its node selector and required affinity allow.

    Whatever their taints are. A label that no declared pool has decides nothing: nodes have more labels than anybody
    declares.
    """
    asked = gpus_by_resource(pod)
    pairs = [(key, value.text()) for key, value in pod.spec.get("nodeSelector").pairs()]
    if (node := pod.spec.get("nodeName").text()) is not None:
        pairs.append((_NAME, node))
    terms = _terms(pod)
    labels = {name: _labels(pool) for name, pool in pools.items()}
    declared = frozenset(key for own in labels.values() for key in own)
    found = {}
    for name, pool in pools.items():
        told = _Told(labels[name], None if pool.has_all_labels else declared)
        if (
            (not asked or pool.resource in asked)
            and all(told.labels.get(key) == value for key, value in pairs if told.decides(key))
            and (terms is None or any(_matches(term, told) for term in terms))
        ):
            found[name] = pool
    return found


def _labels(pool: Pool) -> Mapping[str, str]:
    """Of its nodes, with the name of a single one as if it were another; declared, that is told by its hostname."""
    name = pool.labels.get(_HOSTNAME) if pool.node is None else pool.node
    return pool.labels if name is None else {**pool.labels, _NAME: name}


class _Told(NamedTuple):
    """What is known of the labels of a pool's nodes."""

    labels: Mapping[str, str]
    keys: frozenset[str] | None
    """Those that decide; None for all."""

    def decides(self, key: str) -> bool:
        """Whether a pod that asks for a label of that key can be told from its pool."""
        return self.keys is None or key in self.keys


def chooses(pod: Pod) -> bool:
    """Whether a pod says anything of the nodes that it may be on, besides their system."""
    if pod.spec.get("nodeName").text() is not None or _terms(pod) is not None:
        return True
    return any(key not in _OF_EVERY_NODE for key, _ in pod.spec.get("nodeSelector").pairs())


def _terms(pod: Pod) -> list[Value] | None:
    """The terms of a pod's required affinity, of which one must hold; None without any affinity."""
    required = pod.spec.get("affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution")
    return required.get("nodeSelectorTerms").items() if required.exists else None


def _matches(term: Value, told: _Told) -> bool:
    expressions = [(e, e.get("key").text() or "") for e in term.get("matchExpressions").items()]
    fields = [(e, _NAME) for e in term.get("matchFields").items()]
    # A term without anything matches no node.
    return bool(expressions or fields) and all(
        _holds(expression, told.labels.get(key)) for expression, key in (*expressions, *fields) if told.decides(key)
    )


def _holds(expression: Value, label: str | None) -> bool:
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
    raise operator.malformed("In, NotIn, Exists, DoesNotExist, Gt or Lt")


def tolerations(pod: Pod) -> list[Value]:
    """What a pod tolerates.

    Raises:
        Malformed: an operator or effect is none of Kubernetes', which refuses the pod for it.
    """
    found = pod.spec.get("tolerations").items()
    for toleration in found:
        for key, known in _ENUMERATIONS.items():
            if (said := toleration.get(key)).text() not in (None, "", *known):
                raise said.malformed(f"{', '.join(known[:-1])} or {known[-1]}")
    return found


_ENUMERATIONS = {
    # Lt and Gt compare numbers, which the newest Kubernetes may do.
    "operator": ("Equal", "Exists", "Lt", "Gt"),
    "effect": ("NoSchedule", "PreferNoSchedule", "NoExecute"),
}
"""Of a toleration, what Kubernetes takes."""


def blocking(pod: Pod, pool: Pool) -> list[Taint]:
    """The taints of a pool that keep a pod away."""
    hard = [taint for taint in pool.taints if taint.effect in ("NoSchedule", "NoExecute")]
    if not hard or pod.spec.get("nodeName").text() is not None:
        return []  # on a node that is named, the scheduler is not asked
    tolerated = tolerations(pod)
    return [taint for taint in hard if not any(_tolerates(t, taint) for t in tolerated)]


def _tolerates(toleration: Value, taint: Taint) -> bool:
    key, effect = toleration.get("key").text() or "", toleration.get("effect").text() or ""
    operator = toleration.get("operator").text() or "Equal"
    if effect not in ("", taint.effect):
        return False
    if key != taint.key:
        return key == "" and operator == "Exists"
    return operator != "Equal" or (toleration.get("value").text() or "") == taint.value


def open_to(pod: Pod, pools: Mapping[str, Pool]) -> dict[str, Pool]:
    """The pools that a pod may be put on."""
    return {name: pool for name, pool in chosen(pod, pools).items() if not blocking(pod, pool)}
