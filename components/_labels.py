"""Labels of everything that the components create."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.meta.v1 import ObjectMetaArgsDict

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"

# Names of applications that others know: engines let these in.
GATEWAY = "llm-gateway"
PROMETHEUS = "prometheus"


def selector_labels(app: str, instance: str) -> dict[str, str]:
    """Labels that a workload selects on. Immutable in Kubernetes: never add a key here."""
    return {NAME: app, INSTANCE: instance}


def labels(app: str, instance: str) -> dict[str, str]:
    """Labels of an object that belongs to `instance` of `app`."""
    return selector_labels(app, instance) | {
        "app.kubernetes.io/managed-by": "pulumi",
        "app.kubernetes.io/part-of": "llm-serving",
    }


def metadata(
    app: str, instance: str, *, namespace: pulumi.Input[str] | None, name: str | None = None
) -> ObjectMetaArgsDict:
    """Name, namespace and labels of an object of `instance`; named after it unless `name` says otherwise."""
    named: ObjectMetaArgsDict = {"name": name or instance, "labels": labels(app, instance)}
    return named if namespace is None else {**named, "namespace": namespace}
