"""The namespaces of a stack, and of those who may come in: which they may be."""

from __future__ import annotations

from settings.stack import Settings

_RESERVED = {
    "kube-system": "it is the cluster's own, and destroying the stack would take the cluster's DNS and network away",
    "kube-public": "everybody may read it, without logging in",
    "kube-node-lease": "it is the kubelets' own",
    "default": "Kubernetes keeps it for whoever names none, it cannot be deleted, and the stack would own it",
}
"""Namespaces that a stack may not create and own, with the reason."""


def check_namespaces(settings: Settings, problems: list[str]) -> None:
    """Namespaces that cannot be the stack's, or cannot be its clients', are added to `problems`."""
    named = {"namespace": settings.namespace}
    if settings.monitoring is not None:
        named["monitoring.namespace"] = settings.monitoring.namespace
    for path, namespace in named.items():
        if (reason := _RESERVED.get(namespace)) is not None:
            problems.append(f"{path}: {namespace!r} cannot be the stack's, since {reason}. Name one of its own.")
    problems += [
        f"security.clientNamespaces: {namespace!r} is the stack's own, whose pods reach the engines by the edge alone, "
        "with a key. Leave it out."
        for namespace in settings.security.client_namespaces
        if namespace in named.values()
    ]
