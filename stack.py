"""The composition root: the only place where the plan meets components."""

from __future__ import annotations

from typing import Any, TypedDict

import pulumi
import pulumi_kubernetes as k8s

from components.gpu_host import GpuHost
from components.gpu_node import AdvertisedGpus, GpuNode
from components.gpu_runtime import GpuRuntime
from components.llamacpp_server import LlamaCppServer
from components.llm_ingress import LlmIngress
from components.monitoring_stack import MonitoringStack
from components.ollama_server import OllamaServer
from components.tgi_server import TgiServer
from components.vllm_server import VllmServer
from planning.llamacpp import LlamaCppPlan
from planning.ollama import OllamaPlan
from planning.plan import Plan, ServerPlan
from planning.tgi import TgiPlan
from planning.volumes import VolumeClass


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
        "gpu-runtime", plan.gpu_runtime, opts=pulumi.ResourceOptions(provider=cluster, depends_on=nodes)
    )
    after_runtime = pulumi.ResourceOptions(provider=cluster, depends_on=[runtime])
    gpus = [AdvertisedGpus(name, node, opts=after_runtime).verified for name, node in plan.nodes.items()]
    namespace = _namespace("namespace", plan.namespace, plan.pod_security, opts)
    within = pulumi.ResourceOptions(provider=cluster, depends_on=[runtime, *gpus, namespace])
    token = pulumi.Output.secret(plan.hugging_face_token.get_secret_value()) if plan.hugging_face_token else None
    servers = {name: _server(name, server, plan, token, within) for name, server in plan.servers.items()}
    outputs: dict[str, Any] = {"servers": {name: server.url for name, server in servers.items()}}
    if (held := next((host.kubeconfig for host in hosts.values() if host.kubeconfig is not None), None)) is not None:
        outputs["kubeconfig"] = held
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
    if plan.monitoring:
        watched = _namespace("monitoring-namespace", plan.monitoring.namespace, "restricted", opts)
        monitoring = MonitoringStack(
            "monitoring",
            plan.monitoring,
            services={name: server.service_name for name, server in servers.items()},
            volumes=plan.volumes,
            opts=pulumi.ResourceOptions(provider=cluster, depends_on=[runtime, namespace, watched]),
        )
        outputs["prometheusUrl"] = monitoring.prometheus_url
        if monitoring.grafana_password is not None:
            outputs["grafanaPassword"] = monitoring.grafana_password
    return outputs


class _Around(TypedDict):
    """What the servers that read Hugging Face and have metrics are told of the stack."""

    namespace: str
    volumes: VolumeClass
    hugging_face_token: pulumi.Output[str] | None
    monitoring_namespace: str | None
    opts: pulumi.ResourceOptions


def _server(
    name: str, server: ServerPlan, plan: Plan, token: pulumi.Output[str] | None, opts: pulumi.ResourceOptions
) -> VllmServer | OllamaServer | LlamaCppServer | TgiServer:
    """The component that `server` is the plan of."""
    if isinstance(server, OllamaPlan):
        return OllamaServer(name, server, namespace=plan.namespace, volumes=plan.volumes, opts=opts)
    around: _Around = {
        "namespace": plan.namespace,
        "volumes": plan.volumes,
        "hugging_face_token": token,
        "monitoring_namespace": plan.monitoring.namespace if plan.monitoring else None,
        "opts": opts,
    }
    if isinstance(server, LlamaCppPlan):
        return LlamaCppServer(name, server, **around)
    if isinstance(server, TgiPlan):
        return TgiServer(name, server, **around)
    return VllmServer(name, server, **around)


def _hosts(plan: Plan) -> dict[str, GpuHost]:
    """The hosts that are prepared, by node; the one that holds the cluster first, since the others join it."""
    hosts: dict[str, GpuHost] = {}
    for name, node in sorted(plan.nodes.items(), key=lambda item: item[1].host is not None and item[1].host.joins):
        if node.host is not None:
            first = list(hosts.values()) if node.host.joins else None
            hosts[name] = GpuHost(name, node.host, opts=pulumi.ResourceOptions(depends_on=first))
    return hosts


def _namespace(resource: str, name: str, level: str, opts: pulumi.ResourceOptions) -> k8s.core.v1.Namespace:
    """A namespace whose pods may have what `level` of Pod Security allows; its life is longer than what is in it."""
    return k8s.core.v1.Namespace(
        resource,
        metadata={
            "name": name,
            "labels": {
                "pod-security.kubernetes.io/enforce": level,
                "pod-security.kubernetes.io/warn": "restricted",
            },
        },
        opts=opts,
    )
