"""Which objects are ways in from outside, and what they lead through: by kind and API group."""

from __future__ import annotations

from llm_policies.objects import Object, Stack
from llm_policies.values import Doubt, Undecided

_GROUPS = {
    "Ingress": ("networking.k8s.io", "extensions"),
    **dict.fromkeys(
        ("IngressRoute", "IngressRouteTCP", "Middleware", "ServersTransport", "TraefikService"),
        ("traefik.io", "traefik.containo.us"),
    ),
    **dict.fromkeys(("HTTPRoute", "TCPRoute", "TLSRoute", "Gateway", "ListenerSet"), ("gateway.networking.k8s.io",)),
    "XListenerSet": ("gateway.networking.x-k8s.io",),
    "Service": ("",),
    "NetworkPolicy": ("networking.k8s.io",),
}
"""API groups of kinds whose names others have too: Knative has an Ingress and a Service, Istio a Gateway."""

EDGES = ("Ingress", "IngressRoute", "HTTPRoute")
"""What leads by host and path."""

WAYS_IN = (*EDGES, "IngressRouteTCP", "TCPRoute", "TLSRoute")
"""What leads to a Service at all."""


def is_a(item: Object, kind: str) -> bool:
    """Whether an object is of `kind`, in the API group that is meant."""
    return item.kind == kind and (item.group in _GROUPS[kind] or not item.api_version)


def edges(stack: Stack, *kinds: str) -> list[Object]:
    """Objects of `kinds`, in the API group that is meant."""
    return [item for item in stack.of(*kinds) if is_a(item, item.kind)]


def namespace_of(item: Object) -> str | None:
    """Its namespace; None where it is known after the deployment only."""
    return None if _is_unknown(item, "namespace") else item.namespace


def name_of(item: Object) -> str | None:
    """Its name; None where it is known after the deployment only."""
    return None if _is_unknown(item, "name") else item.name


def _is_unknown(item: Object, key: str) -> bool:
    try:
        return item.properties.get("metadata", key).is_unknown
    except Undecided:
        return True
    except Doubt:
        return False
