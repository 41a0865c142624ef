"""Kinds that do not come with Kubernetes: those that some rule reads, and those that are passed over."""

from __future__ import annotations

from collections.abc import Iterable

from llm_policies.objects import Object

READ: dict[str, frozenset[str]] = {
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


def passed_over(objects: Iterable[Object]) -> list[str]:
    """The kinds of others that no rule reads, as `Model (kubeai.org)`: a controller makes pods of some."""
    found = set()
    for item in objects:
        kind = item.kind.removesuffix(f".{item.group}")  # which it has where others have a kind of that name
        if "." in item.group and item.group not in _OF_KUBERNETES and kind not in READ.get(item.group, ()):
            found.add(f"{kind} ({item.group})")
    return sorted(found)
