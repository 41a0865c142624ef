"""Autoscalers, Kubernetes' own and KEDA's: what they scale, and how far."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from llm_policies.labels import untold
from llm_policies.objects import Object, Stack
from llm_policies.values import Doubt, Undecided, Value

HPA = "HorizontalPodAutoscaler"
KEDA = "ScaledObject"
SCALERS = frozenset({HPA, KEDA})


def least_and_most(scaler: Object) -> tuple[int, int]:
    """Fewest and most pods of an autoscaler: what is written, else Kubernetes' own defaults, or KEDA's.

    Raises:
        Doubt: a number is unknown, or one that Kubernetes refuses.
    """
    spec = scaler.properties.get("spec")
    if scaler.kind == HPA:
        least, most = spec.get("minReplicas").integer(least=0), spec.get("maxReplicas").integer(least=1)
        least = 1 if least is None else least
        return least, (least if most is None else most)  # Kubernetes refuses one without a most
    idle, least = (spec.get(key).integer(least=0) for key in ("idleReplicaCount", "minReplicaCount"))
    most = spec.get("maxReplicaCount").integer(least=1)
    if idle is not None:
        least = idle  # between idle and the least it has the least
    return (0 if least is None else least), (100 if most is None else most)


def owners(item: Object) -> list[tuple[str, str]]:
    """Kind and name of what has made an object, as a cluster's own list of objects says."""
    found = []
    for owner in item.properties.get("metadata", "ownerReferences").items():
        found.append((owner.get("kind").text() or "", owner.get("name").text() or ""))
    return found


_Named = Mapping[tuple[str, str | None], Sequence[Object]]
"""Workloads by kind and name; those whose name cannot be told by None."""


def scalers(stack: Stack) -> Iterator[tuple[Object, Object | Doubt | None]]:
    """Every autoscaler with its workload; None where that is not in the stack, a doubt where it cannot be told.

    Without those that KEDA has made of a ScaledObject: they are its own.
    """
    found = stack.of(*SCALERS)
    named: dict[tuple[str, str | None], list[Object]] = {}
    for item in stack.workloads() if found else ():
        named.setdefault((item.kind, item.name if untold(item, "name") is None else None), []).append(item)
    for scaler in found:
        try:
            if not any(kind == KEDA for kind, _ in owners(scaler)):
                yield scaler, _target(scaler, named)
        except Doubt as doubt:
            yield scaler, doubt


def _target(scaler: Object, named: _Named) -> Object | None:
    """The workload that one autoscaler scales, if it is in the stack.

    Raises:
        Doubt: it cannot be told yet, or not which of the stack's it is.
    """
    target = scaler.properties.get("spec", "scaleTargetRef")
    # KEDA's own default is a Deployment; Kubernetes demands the kind.
    kind, name = target.get("kind").text() or "Deployment", target.get("name").text() or ""
    doubts = []
    for item in (*named.get((kind, name), ()), *named.get((kind, None), ())):
        place = untold(item, "namespace") or untold(scaler, "namespace")
        if place is None and item.namespace != scaler.namespace:
            continue
        if (doubt := untold(item, "name") or place) is None:
            return item
        doubts.append(doubt)
    if doubts:
        raise doubts[0]
    return None


def scaled(stack: Stack) -> dict[int, Object]:
    """The autoscaler of each workload that has one, by the workload's `id()`."""
    return {id(target): scaler for scaler, target in scalers(stack) if isinstance(target, Object)}


def unsure(stack: Stack) -> list[Undecided]:
    """Why it cannot be told yet of some autoscalers which workload is theirs."""
    return [target for _, target in scalers(stack) if isinstance(target, Undecided)]


def written_replicas(workload: Object) -> Value:
    """The number of pods that a deployment sets; nothing where Pulumi ignores changes of it (`ignore_changes`)."""
    replicas = workload.properties.get("spec", "replicas")
    # Written as `spec.replicas` or `spec["replicas"]`.
    ignored = {re.sub(r"""\[["']?([^"'\]]*)["']?\]""", r".\1", path) for path in workload.ignores_changes}
    return Value(None) if ignored & {"*", "spec", "spec.*", "spec.replicas"} else replicas
