"""What is done to the lab through its API server, by kubectl: packaged parts applied, the node labelled, readiness."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from lab import manifests
from lab.network import Network
from lab.spec import LabSpec
from toolchain.steps import StepFailed

Kubectl = Callable[..., str]
"""`kubectl(*arguments, stdin=None)`: gives standard output, raises StepFailed."""

_APPLY = ("apply", "--server-side", "--force-conflicts", "--field-manager=lab", "--filename=-")


def is_ready(kubectl: Kubectl) -> bool:
    """Whether the API server says that it is ready."""
    try:
        return kubectl("get", "--raw=/readyz") == "ok"
    except StepFailed:
        return False


def has_nodes(kubectl: Kubectl, spec: LabSpec) -> bool:
    """Whether every kubelet has registered its node."""
    return set(spec.nodes) <= set(_nodes(kubectl))


def apply(kubectl: Kubectl, rendered: str) -> None:
    """Apply manifests as the lab's field manager: what it no longer says is taken back."""
    kubectl(*_APPLY, stdin=rendered)


def set_up_nodes(kubectl: Kubectl, spec: LabSpec, network: Network) -> None:
    """Give the nodes labels and addresses for their pods, and delete those that the lab had before.

    Nothing else would delete them, and their pods would stay in Terminating: no kubelet is left to end them.
    """
    nodes = [_node(spec, network, name) for name in spec.nodes]
    apply(kubectl, json.dumps({"apiVersion": "v1", "kind": "List", "items": nodes}))
    for other in _nodes(kubectl):
        if other not in spec.nodes:
            kubectl("delete", "node", other)  # first: as long as it is there, DaemonSets make new pods on it
            where = f"--field-selector=spec.nodeName={other}"
            kubectl("delete", "pods", "--all-namespaces", where, "--force", "--grace-period=0", "--wait=false")


def publish_edge(kubectl: Kubectl, address: str) -> None:
    """Say in the status of Traefik's Service where it is reached, as k3s' ServiceLB does."""
    status = {"status": {"loadBalancer": {"ingress": [{"ip": address}]}}}
    options = ("--namespace=kube-system", "--subresource=status", "--type=merge", f"--patch={json.dumps(status)}")
    kubectl("patch", "service", "traefik", *options)


def not_ready(kubectl: Kubectl, spec: LabSpec, since: float) -> list[str]:
    """Names of what is not ready of the node and the packaged parts.

    Args:
        kubectl: runs kubectl.
        spec: the lab's spec.
        since: when the node started (seconds since 1970): what the API server says of an earlier time is history.
    """
    kinds = "nodes,deployments.apps,pods"
    listed = json.loads(kubectl("get", kinds, "--namespace=kube-system", "--output=json"))
    ready = {_name(item) for item in listed["items"] if item_ready(item, since)}
    wanted = [*(f"node/{name}" for name in spec.nodes), *(f"deployment/{name}" for name in manifests.DEPLOYMENTS)]
    packaged = tuple(f"pod/{name}-" for name in manifests.DEPLOYMENTS)
    wanted += [_name(item) for item in listed["items"] if _name(item).startswith(packaged)]
    return [name for name in wanted if name not in ready]


def item_ready(item: dict[str, Any], since: float) -> bool:
    """Whether a Node is Ready, a Deployment has all its replicas in the newest version, or a Pod's containers run.

    A node's word and a container's start count only from `since` on.
    """
    status = item.get("status", {})
    if item["kind"] == "Deployment":
        current = status.get("observedGeneration") == item["metadata"]["generation"]
        updated, ready = status.get("updatedReplicas", 0), status.get("readyReplicas", 0)
        return bool(current and updated == ready == item["spec"]["replicas"])
    if item["kind"] == "Pod":
        states = [container["state"].get("running") for container in status.get("containerStatuses", ())]
        return bool(states) and all(state and _time(state["startedAt"]) >= int(since) for state in states)
    return any(
        found["type"] == "Ready" and found["status"] == "True" and _time(found["lastHeartbeatTime"]) >= int(since)
        for found in status.get("conditions", ())
    )


def _name(item: dict[str, Any]) -> str:
    return f"{item['kind'].lower()}/{item['metadata']['name']}"


def _time(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def _nodes(kubectl: Kubectl) -> list[str]:
    return [name.removeprefix("node/") for name in kubectl("get", "nodes", "--output=name").split()]


def _node(spec: LabSpec, network: Network, name: str) -> dict[str, Any]:
    labels = {"node.kubernetes.io/instance-type": "k3s", **spec.nodes[name].labels}
    if name == spec.first:
        labels["node-role.kubernetes.io/control-plane"] = "true"
    pods = network.pod_cidr(spec.workers.get(name, 0))
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"podCIDR": pods, "podCIDRs": [pods]},
    }
