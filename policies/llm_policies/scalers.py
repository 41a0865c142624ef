"""Autoscalers, Kubernetes' own and KEDA's: what they scale, and how far."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from llm_policies.labels import beside, by_name
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


class Unsure(NamedTuple):
    """A workload of which it cannot be told whether an autoscaler means it."""

    why: Doubt
    of: tuple[Object, ...]
    """Those of the stack that it may be; none where the autoscaler's own words cannot be read."""


_Named = Mapping[str, Mapping[str | None, Sequence[Object]]]
"""Workloads by kind, and by name."""


def scalers(stack: Stack) -> Iterator[tuple[Object, Object | Doubt | None]]:
    """Every autoscaler with its workload; None where that is not in the stack, a doubt where it cannot be told."""
    for scaler, target in claims(stack):
        yield scaler, target.why if isinstance(target, Unsure) else target


def claims(stack: Stack) -> Iterator[tuple[Object, Object | Unsure | None]]:
    """As `scalers`, with those that it may be where it cannot be told.

    Without those that KEDA has made of a ScaledObject: they are its own.
    """
    found = stack.of(*SCALERS)
    kinds: dict[str, list[Object]] = {}
    for item in stack.workloads() if found else ():
        kinds.setdefault(item.kind, []).append(item)
    named = {kind: by_name(items) for kind, items in kinds.items()}
    for scaler in found:
        try:
            if not any(kind == KEDA for kind, _ in owners(scaler)):
                yield scaler, _target(scaler, named)
        except Doubt as doubt:
            yield scaler, Unsure(doubt, ())


def _target(scaler: Object, named: _Named) -> Object | Unsure | None:
    """The workload that one autoscaler scales, if it is in the stack.

    Raises:
        Doubt: its own words cannot be read.
    """
    target = scaler.properties.get("spec", "scaleTargetRef")
    # KEDA's own default is a Deployment; Kubernetes demands the kind.
    kind, name = target.get("kind").text() or "Deployment", target.get("name").text() or ""
    of_kind = named.get(kind, {})
    found, unsure = beside(scaler, (*of_kind.get(name, ()), *of_kind.get(None, ())))
    return Unsure(unsure[0][1], tuple(item for item, _ in unsure)) if unsure else found


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
