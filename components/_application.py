"""What the programs of monitoring have in common: labels, account, configuration, network, one pod behind a Service."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import PodSpecArgsDict
from pulumi_kubernetes.meta.v1 import ObjectMetaArgsDict
from pulumi_kubernetes.networking.v1 import (
    NetworkPolicyEgressRuleArgsDict,
    NetworkPolicyIngressRuleArgsDict,
    NetworkPolicyPeerArgsDict,
)

from components._labels import NAME, labels, metadata, selector_labels

NAMESPACE_NAME = "kubernetes.io/metadata.name"

# No `to`: where the API server is no label tells, and it is asked by its own address after the Service's is replaced.
TO_API_SERVER: NetworkPolicyEgressRuleArgsDict = {
    "ports": [{"port": port, "protocol": "TCP"} for port in (443, 6443)],
}

# No `to`: a cache of names on the node has an address that is no pod's.
TO_DNS: NetworkPolicyEgressRuleArgsDict = {"ports": [{"port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")]}


def pods_of(app: str, *, namespace: str | None = None) -> NetworkPolicyPeerArgsDict:
    """The pods of `app`, as a network policy names them; of the policy's own namespace unless another is given."""
    peer: NetworkPolicyPeerArgsDict = {"pod_selector": {"match_labels": {NAME: app}}}
    return peer if namespace is None else {**peer, "namespace_selector": {"match_labels": {NAMESPACE_NAME: namespace}}}


class Application:
    """One program, of which there is one in the cluster: its objects are named after it."""

    def __init__(
        self, component: pulumi.ComponentResource, stack: str, app: str, *, namespace: pulumi.Input[str]
    ) -> None:
        """Say which; nothing is created yet.

        Args:
            component: parent of everything.
            stack: Pulumi name of the component.
            app: the program, as label and as name of its objects.
            namespace: existing namespace.
        """
        self.app = app
        self.name = f"{stack}-{app}"
        self.component = component
        self.namespace = namespace
        self.selector = selector_labels(app, app)
        self.labels = labels(app, app)

    def metadata(self, suffix: str = "") -> ObjectMetaArgsDict:
        """Name, namespace and labels of one of its objects."""
        return metadata(self.app, self.app, namespace=self.namespace, name=f"{self.app}{suffix}")

    def opts(self, *depends_on: pulumi.Resource) -> pulumi.ResourceOptions:
        """Options of one of its objects."""
        return pulumi.ResourceOptions(parent=self.component, depends_on=list(depends_on))

    def service_account(self) -> k8s.core.v1.ServiceAccount:
        """Its account; whether a pod gets its token is said at the pod."""
        return k8s.core.v1.ServiceAccount(
            self.name, metadata=self.metadata(), automount_service_account_token=False, opts=self.opts()
        )

    def config_map(self, data: Mapping[str, str]) -> tuple[str, k8s.core.v1.ConfigMap]:
        """A ConfigMap that is named after its content, so that the pods follow a change, and its name."""
        suffix = f"-{hashlib.sha256(json.dumps(dict(data), sort_keys=True).encode()).hexdigest()[:8]}"
        return f"{self.app}{suffix}", k8s.core.v1.ConfigMap(
            self.name, metadata=self.metadata(suffix), data=dict(data), opts=self.opts()
        )

    def network_policy(
        self,
        *,
        ingress: Sequence[NetworkPolicyIngressRuleArgsDict] = (),
        egress: Sequence[NetworkPolicyEgressRuleArgsDict] = (),
    ) -> k8s.networking.v1.NetworkPolicy:
        """What may reach it, and what it may reach; nothing else."""
        return k8s.networking.v1.NetworkPolicy(
            self.name,
            metadata=self.metadata(),
            spec={
                "pod_selector": {"match_labels": self.selector},
                "policy_types": ["Ingress", "Egress"],
                "ingress": list(ingress),
                "egress": list(egress),
            },
            opts=self.opts(),
        )

    def read_pods(self, account: pulumi.Resource, namespace: str, verbs: Sequence[str]) -> pulumi.Resource:
        """Let its account do `verbs` with the pods of `namespace`, and nothing else."""
        name = f"{self.name}-{namespace}"
        meta = metadata(self.app, self.app, namespace=namespace, name=f"{self.app}-pods")
        role = k8s.rbac.v1.Role(
            name,
            metadata=meta,
            rules=[{"api_groups": [""], "resources": ["pods"], "verbs": list(verbs)}],
            opts=self.opts(),
        )
        return k8s.rbac.v1.RoleBinding(
            name,
            metadata=meta,
            role_ref={"api_group": "rbac.authorization.k8s.io", "kind": "Role", "name": f"{self.app}-pods"},
            subjects=[{"kind": "ServiceAccount", "name": self.app, "namespace": self.namespace}],
            opts=self.opts(role, account),
        )

    def deployment(
        self,
        pod: PodSpecArgsDict,
        *,
        depends_on: Sequence[pulumi.Resource],
        annotations: Mapping[str, pulumi.Input[str]] | None = None,
    ) -> k8s.apps.v1.Deployment:
        """One pod; the new one comes when the old one has gone, as it may have its volume or its place."""
        return k8s.apps.v1.Deployment(
            self.name,
            metadata=self.metadata(),
            spec={
                "replicas": 1,
                "strategy": {"type": "Recreate"},
                "selector": {"match_labels": self.selector},
                "template": {"metadata": {"labels": self.labels, "annotations": dict(annotations or {})}, "spec": pod},
            },
            opts=self.opts(*depends_on),
        )

    def service(self, port: int, target_port: str, deployment: pulumi.Resource) -> k8s.core.v1.Service:
        """Its address; there once the pod is ready."""
        return k8s.core.v1.Service(
            self.name,
            metadata=self.metadata(),
            spec={
                "selector": self.selector,
                "ports": [{"name": target_port, "port": port, "target_port": target_port}],
            },
            opts=self.opts(deployment),
        )
