"""TgiServer: one model behind one Service, served by Text Generation Inference."""

from __future__ import annotations

import pulumi

from components._server import SHM_MOUNT, ModelServer, ModelVolume, shm_volume
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
        self.service_name = server.serve_http(
            plan.arguments,
            mounts=[SHM_MOUNT],
            volumes=[shm_volume(plan.shm_bytes)],
            hugging_face_token=hugging_face_token,
        )
        self.url = pulumi.Output.concat("http://", self.service_name, ".", namespace, f".svc.cluster.local:{PORT}/v1")
        self.register_outputs({"url": self.url, "serviceName": self.service_name})
