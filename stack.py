"""The composition root: the only place where the plan meets components."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.gpu_host import GpuHost
from components.gpu_node import AdvertisedGpus, GpuNode
from components.gpu_runtime import GpuRuntime
from components.llm_ingress import LlmIngress
from components.ollama_server import OllamaServer
from components.vllm_server import VllmServer
from planning.gpu_runtime import plan_gpu_runtime
from planning.plan import Plan
from planning.vllm import VllmPlan


def deploy(plan: Plan) -> dict[str, Any]:
    """Create everything that `plan` says, and return the stack's outputs.

    The cluster is the one that a host of the plan holds, else the one that KUBECONFIG (or ~/.kube/config) names. Its
    identity is the stack's own, so that another way to the same cluster does not replace everything.
    """
    hosts = _hosts(plan)
    cluster = k8s.Provider(
        "cluster",
        kubeconfig=next((host.kubeconfig for host in hosts.values() if host.kubeconfig is not None), None),
        cluster_identifier=f"{pulumi.get_project()}-{pulumi.get_stack()}",
        enable_server_side_apply=True,
    )
    opts = pulumi.ResourceOptions(provider=cluster)
    nodes = [
        GpuNode(name, node, opts=pulumi.ResourceOptions(provider=cluster, depends_on=hosts.get(name)))
        for name, node in plan.nodes.items()
    ]
    runtime = GpuRuntime(
        "gpu-runtime", plan_gpu_runtime(plan.nodes), opts=pulumi.ResourceOptions(provider=cluster, depends_on=nodes)
    )
    after_runtime = pulumi.ResourceOptions(provider=cluster, depends_on=[runtime])
    gpus = [AdvertisedGpus(name, node, opts=after_runtime).verified for name, node in plan.nodes.items()]
    namespace = k8s.core.v1.Namespace(
        "namespace",
        metadata={
            "name": plan.namespace,
            "labels": {
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/warn": "restricted",
            },
        },
        opts=opts,
    )
    within = pulumi.ResourceOptions(provider=cluster, depends_on=[runtime, *gpus, namespace])
    servers: dict[str, VllmServer | OllamaServer] = {
        name: (
            VllmServer(name, server, namespace=plan.namespace, volumes=plan.volumes, opts=within)
            if isinstance(server, VllmPlan)
            else OllamaServer(name, server, namespace=plan.namespace, volumes=plan.volumes, opts=within)
        )
        for name, server in plan.servers.items()
    }
    outputs: dict[str, Any] = {"servers": {name: server.url for name, server in servers.items()}}
    if plan.ingress:
        edge = LlmIngress(
            "edge",
            plan.ingress,
            namespace=plan.namespace,
            servers=list(servers.values()),
            opts=within,
        )
        outputs["urls"] = edge.urls
        if edge.api_keys is not None:
            outputs["apiKeys"] = edge.api_keys
        if edge.certificate is not None:
            outputs["certificate"] = edge.certificate
    return outputs


def _hosts(plan: Plan) -> dict[str, GpuHost]:
    """The hosts that are prepared, by node; the one that holds the cluster first, since the others join it."""
    hosts: dict[str, GpuHost] = {}
    for name, node in sorted(plan.nodes.items(), key=lambda item: item[1].host is not None and item[1].host.joins):
        if node.host is not None:
            first = list(hosts.values()) if node.host.joins else None
            hosts[name] = GpuHost(name, node.host, opts=pulumi.ResourceOptions(depends_on=first))
    return hosts
