"""The composition root: the only place where the plan meets components."""

from __future__ import annotations

from typing import Any

import pulumi
import pulumi_kubernetes as k8s

from components.gpu_node import GpuNode
from components.gpu_runtime import GpuRuntime
from components.llm_ingress import LlmIngress
from components.ollama_server import OllamaServer
from components.vllm_server import VllmServer
from planning.gpu_runtime import plan_gpu_runtime
from planning.plan import Plan
from planning.vllm import VllmPlan


def deploy(plan: Plan) -> dict[str, Any]:
    """Create everything that `plan` says, and return the stack's outputs.

    The cluster is the one that KUBECONFIG (or ~/.kube/config) names. Its identity is the stack's own, so that another
    way to the same cluster does not replace everything.
    """
    cluster = k8s.Provider(
        "cluster", cluster_identifier=f"{pulumi.get_project()}-{pulumi.get_stack()}", enable_server_side_apply=True
    )
    opts = pulumi.ResourceOptions(provider=cluster)
    nodes = [GpuNode(name, node, opts=opts) for name, node in plan.nodes.items()]
    runtime = GpuRuntime(
        "gpu-runtime", plan_gpu_runtime(plan.nodes), opts=pulumi.ResourceOptions(provider=cluster, depends_on=nodes)
    )
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
    within = pulumi.ResourceOptions(provider=cluster, depends_on=[runtime, namespace])
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
