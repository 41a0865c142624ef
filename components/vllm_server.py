"""VllmServer: one model behind one Service, served by vLLM."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import EnvVarArgsDict, ProbeArgsDict

from components._labels import metadata
from components._pod import environment, literal, mebibytes, server_container
from components._server import ModelServer, ModelVolume
from planning.startup import PROBE_PERIOD_SECONDS
from planning.vllm import PORT, VllmPlan
from planning.volumes import VolumeClass

__all__ = ["VllmServer"]

_APP = "vllm"


class VllmServer(pulumi.ComponentResource):
    """An OpenAI-compatible endpoint inside the cluster.

    Creates a Deployment, a Service, a volume for downloads and compiled kernels, a service account without rights, a
    disruption budget and a NetworkPolicy; a Secret with Hugging Face's token where there is one. Deliberately does not
    create the namespace, whose life is longer than any server's, nor a route from outside, which is LlmIngress, nor an
    autoscaler, which needs metrics: MonitoringStack.
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
        volumes: VolumeClass,
        monitoring_namespace: str | None = None,
        hugging_face_token: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the server.

        Args:
            name: Pulumi name of the component; objects are named as the plan says.
            plan: what to create.
            namespace: existing namespace.
            volumes: class of the volume.
            monitoring_namespace: where Prometheus is, which reads the engine's metrics; None where there is none.
            hugging_face_token: for models that are handed out to some only; pass a secret Output. Read when a pod
                starts, so a new one restarts nothing.
            opts: apply to the component; children inherit through `parent`.
        """
        super().__init__("llm:index:VllmServer", name, None, opts)
        server = ModelServer(
            self,
            name,
            plan,
            app=_APP,
            port=PORT,
            volume=ModelVolume("cache", "/cache", plan.cache_bytes, plan.cache_follows_model),
            namespace=namespace,
            volumes=volumes,
            monitoring_namespace=monitoring_namespace,
        )
        container = server_container(
            plan,
            name=_APP,
            port=PORT,
            mounts=[server.volume.mount, {"name": "shm", "mount_path": "/dev/shm"}],
        )
        after: list[pulumi.Resource] = []
        if hugging_face_token is not None:
            token_name = f"{plan.name}-hugging-face"
            after.append(
                k8s.core.v1.Secret(
                    f"{name}-hugging-face",
                    metadata=metadata(_APP, plan.name, namespace=namespace, name=token_name),
                    string_data={"token": hugging_face_token},
                    opts=pulumi.ResourceOptions(parent=self),
                )
            )
            token: EnvVarArgsDict = {
                "name": "HF_TOKEN",
                "value_from": {"secret_key_ref": {"name": token_name, "key": "token"}},
            }
            container = {**container, "env": [*environment(plan.environment), token]}
        health: ProbeArgsDict = {"http_get": {"path": "/health", "port": "http"}, "timeout_seconds": 5}
        self.service_name = server.serve(
            {
                **container,
                # Kubernetes would put a variable's value in place of $(NAME), which a chat template may well hold.
                "args": [literal(argument) for argument in plan.arguments],
                "startup_probe": {
                    **health,
                    "period_seconds": PROBE_PERIOD_SECONDS,
                    "failure_threshold": plan.startup.probe_failures,
                },
                "readiness_probe": {**health, "period_seconds": 5},
                # /health turns 503 only when the engine is dead, so a restart is the right answer.
                "liveness_probe": {**health, "period_seconds": 10, "failure_threshold": 3},
            },
            after=after,
            volumes=[{"name": "shm", "empty_dir": {"medium": "Memory", "size_limit": mebibytes(plan.shm_bytes)}}],
        )
        self.url = pulumi.Output.concat("http://", self.service_name, ".", namespace, f".svc.cluster.local:{PORT}/v1")
        self.register_outputs({"url": self.url, "serviceName": self.service_name})
