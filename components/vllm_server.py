"""VllmServer: one model behind one Service, served by vLLM."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import ProbeArgsDict

from components._labels import labels, metadata, selector_labels
from components._pod import (
    allow_from_edge,
    gpu_pod_spec,
    mebibytes,
    model_volume,
    rollout_seconds,
    server_container,
    strategy,
    wait,
)
from planning.startup import PROBE_PERIOD_SECONDS
from planning.vllm import PORT, VllmPlan

__all__ = ["VllmServer"]

_APP = "vllm"


class VllmServer(pulumi.ComponentResource):
    """An OpenAI-compatible endpoint inside the cluster.

    Creates a Deployment, a Service, a volume for downloads and compiled kernels, a service account without rights and
    a NetworkPolicy. Deliberately does not create the namespace, whose life is longer than any server's, nor a route
    from outside: that is LlmIngress.
    """

    url: pulumi.Output[str]
    """Base URL inside the cluster, e.g. `http://chat.llm.svc.cluster.local:8000/v1`; known once the model answers."""

    service_name: pulumi.Output[str]
    """Name of the Service; known once the model answers."""

    def __init__(
        self,
        name: str,
        plan: VllmPlan,
        *,
        namespace: pulumi.Input[str],
        storage_class: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the server.

        Args:
            name: Pulumi name of the component; objects are named as the plan says.
            plan: what to create.
            namespace: existing namespace.
            storage_class: class of the volume; the cluster's default where None.
            opts: apply to the component; children inherit through `parent`.
        """
        super().__init__("llm:index:VllmServer", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        selector = selector_labels(_APP, plan.name)
        meta = metadata(_APP, plan.name, namespace=namespace)

        account = k8s.core.v1.ServiceAccount(name, metadata=meta, automount_service_account_token=False, opts=child)
        cache = model_volume(
            f"{name}-cache",
            metadata(_APP, plan.name, namespace=namespace, name=f"{plan.name}-cache"),
            size_bytes=plan.cache_bytes,
            storage_class=storage_class,
            opts=child,
        )
        policy = allow_from_edge(name, namespace=namespace, selector=selector, port=PORT, opts=child)
        container = server_container(
            plan,
            name=_APP,
            port=PORT,
            mounts=[{"name": "cache", "mount_path": "/cache"}, {"name": "shm", "mount_path": "/dev/shm"}],
        )
        health: ProbeArgsDict = {"http_get": {"path": "/health", "port": "http"}, "timeout_seconds": 5}
        deployment = k8s.apps.v1.Deployment(
            name,
            metadata=meta,
            spec={
                "replicas": plan.replicas,
                "selector": {"match_labels": selector},
                "strategy": strategy(plan.rollout),
                "progress_deadline_seconds": rollout_seconds(plan),
                "template": {
                    "metadata": {"labels": labels(_APP, plan.name)},
                    "spec": gpu_pod_spec(
                        plan,
                        {
                            **container,
                            "args": list(plan.arguments),
                            "startup_probe": {
                                **health,
                                "period_seconds": PROBE_PERIOD_SECONDS,
                                "failure_threshold": plan.startup.probe_failures,
                            },
                            "readiness_probe": {**health, "period_seconds": 5},
                            # /health turns 503 only when the engine is dead, so a restart is the right answer.
                            "liveness_probe": {**health, "period_seconds": 10, "failure_threshold": 3},
                        },
                        service_account=plan.name,
                        volumes=[
                            {"name": "cache", "persistent_volume_claim": {"claim_name": f"{plan.name}-cache"}},
                            {"name": "shm", "empty_dir": {"medium": "Memory", "size_limit": mebibytes(plan.shm_bytes)}},
                        ],
                    ),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[account, cache, policy], custom_timeouts=wait(plan)),
        )
        service = k8s.core.v1.Service(
            name,
            metadata=meta,
            spec={"selector": selector, "ports": [{"name": "http", "port": PORT, "target_port": "http"}]},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment]),
        )
        # Taken from the Service that waited for the Deployment, so whoever uses it waits for the model.
        self.service_name = service.id.apply(lambda _: plan.name)
        self.url = pulumi.Output.concat("http://", self.service_name, ".", namespace, f".svc.cluster.local:{PORT}/v1")
        self.register_outputs({"url": self.url, "serviceName": self.service_name})
