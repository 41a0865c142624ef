"""Kinds: those that some rule reads, those of others that are passed over, and those that there are not."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from llm_policies.objects import Object

_WITH_KUBERNETES: dict[str, frozenset[str]] = {
    "": frozenset(
        {
            *("ConfigMap", "Namespace", "Node", "PersistentVolumeClaim", "Pod", "PodTemplate"),
            *("ReplicationController", "Secret", "Service", "ServiceAccount"),
        }
    ),
    "apps": frozenset({"DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"}),
    "autoscaling": frozenset({"HorizontalPodAutoscaler"}),
    "batch": frozenset({"CronJob", "Job"}),
    "networking.k8s.io": frozenset({"Ingress", "IngressClass", "NetworkPolicy"}),
    "policy": frozenset({"PodDisruptionBudget"}),
    # Of old clusters; nobody is told to use it.
    "extensions": frozenset({"DaemonSet", "Deployment", "Ingress", "NetworkPolicy", "ReplicaSet"}),
}

READ: dict[str, frozenset[str]] = {
    **_WITH_KUBERNETES,
    "cilium.io": frozenset({"CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"}),
    "gateway.envoyproxy.io": frozenset({"SecurityPolicy"}),
    "gateway.networking.k8s.io": frozenset({"Gateway", "HTTPRoute", "ListenerSet", "TCPRoute", "TLSRoute"}),
    "gateway.networking.x-k8s.io": frozenset({"XListenerSet"}),
    "keda.sh": frozenset({"ScaledObject"}),
    "kuadrant.io": frozenset({"AuthPolicy"}),
    "leaderworkerset.x-k8s.io": frozenset({"LeaderWorkerSet"}),
    "monitoring.coreos.com": frozenset({"PodMonitor", "ServiceMonitor"}),
    **dict.fromkeys(("inference.networking.k8s.io", "inference.networking.x-k8s.io"), frozenset({"InferencePool"})),
    **dict.fromkeys(
        ("projectcalico.org", "crd.projectcalico.org"), frozenset({"GlobalNetworkPolicy", "NetworkPolicy"})
    ),
    **dict.fromkeys(
        ("traefik.io", "traefik.containo.us"),
        frozenset({"IngressRoute", "IngressRouteTCP", "Middleware", "ServersTransport", "TraefikService"}),
    ),
}
"""By API group. What they mean is known, at least to a rule that is about something else."""

_OF_KUBERNETES = frozenset(
    f"{name}.k8s.io"
    for name in (
        *("admissionregistration", "apiextensions", "apiregistration", "authentication", "authorization"),
        *("certificates", "coordination", "discovery", "events", "flowcontrol.apiserver", "internal.apiserver"),
        *("networking", "node", "rbac.authorization", "resource", "scheduling", "storage", "storagemigration"),
    )
)
"""Groups of its own; the others have no dot."""


_UNREAD_BUT_REAL = ("PersistentVolume",)
"""What comes with Kubernetes, and has nearly the name of what is read."""


def is_passed_over(item: Object) -> bool:
    """Whether it is of others, and no rule reads its kind: a controller makes pods of some."""
    return _is_of_others(item) and _kind(item) not in READ.get(item.group, ())


def passed_over(objects: Iterable[Object]) -> list[str]:
    """The kinds that are passed over, as `Model (kubeai.org)`."""
    return sorted({f"{_kind(item)} ({item.group})" for item in objects if is_passed_over(item)})


def misspelt(item: Object) -> str | None:
    """What to say of a kind that its group does not have, where that is nearly one that rules read."""
    kind = _kind(item)
    if _is_of_others(item) or kind in READ.get(item.group, ()) or kind in _UNREAD_BUT_REAL:
        return None
    by_lower = {name.lower(): name for kinds in _WITH_KUBERNETES.values() for name in kinds}
    near = get_close_matches(kind.lower(), by_lower, n=1, cutoff=0.85)
    if not near:
        return None
    meant = by_lower[near[0]]
    group = next(group for group, kinds in _WITH_KUBERNETES.items() if meant in kinds)
    versions = f"{group}/..." if group else "v1"
    return f"there is no {kind} in {item.api_version}, so kubectl refuses it. Is {meant} of {versions} meant?"


def _is_of_others(item: Object) -> bool:
    return "." in item.group and item.group not in _OF_KUBERNETES


def _kind(item: Object) -> str:
    """As it is written: one of a name that others have, too, has its group behind."""
    return item.kind.removesuffix(f".{item.group}")
