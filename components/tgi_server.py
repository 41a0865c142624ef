"""TgiServer: one model behind one Service, served by Text Generation Inference."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.core.v1 import ProbeArgsDict

from components._pod import environment, literal, mebibytes, server_container
from components._server import ModelServer, ModelVolume
from planning.startup import PROBE_PERIOD_SECONDS
from planning.tgi import PORT, TgiPlan
from planning.volumes import VolumeClass

__all__ = ["TgiServer"]

_APP = "tgi"


class TgiServer(pulumi.ComponentResource):
    """An OpenAI-compatible endpoint inside the cluster.

    Creates a Deployment, a Service, a volume for downloads and compiled kernels, a service account without rights, a
    disruption budget and a NetworkPolicy; a Secret with Hugging Face's token where there is one. Deliberately does not
    check keys: the edge does.
    """

    url: pulumi.Output[str]
    """Base URL inside the cluster, e.g. `http://chat.llm.svc.cluster.local:8080/v1`; known once the model answers."""

    service_name: pulumi.Output[str]
    """Name of the Service; known once the model answers."""

    def __init__(
        self,
        name: str,
        plan: TgiPlan,
        *,
        namespace: pulumi.Input[str],
        volumes: VolumeClass,
        monitoring_namespace: str | None = None,
        hugging_face_token: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the server; arguments as for VllmServer."""
        super().__init__("llm:index:TgiServer", name, None, opts)
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
            variable, secret = server.hugging_face_token(hugging_face_token)
            after.append(secret)
            container = {**container, "env": [*environment(plan.environment), variable]}
        # Its answer is that of the shards: 503 where one of them is dead, so a restart is the right answer.
        health: ProbeArgsDict = {"http_get": {"path": "/health", "port": "http"}, "timeout_seconds": 5}
        self.service_name = server.serve(
            {
                **container,
                "args": [literal(argument) for argument in plan.arguments],
                "startup_probe": {
                    **health,
                    "period_seconds": PROBE_PERIOD_SECONDS,
                    "failure_threshold": plan.startup.probe_failures,
                },
                "readiness_probe": {**health, "period_seconds": 5},
                "liveness_probe": {**health, "period_seconds": 10, "failure_threshold": 3},
            },
            after=after,
            volumes=[{"name": "shm", "empty_dir": {"medium": "Memory", "size_limit": mebibytes(plan.shm_bytes)}}],
        )
        self.url = pulumi.Output.concat("http://", self.service_name, ".", namespace, f".svc.cluster.local:{PORT}/v1")
        self.register_outputs({"url": self.url, "serviceName": self.service_name})
