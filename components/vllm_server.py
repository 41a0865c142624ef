"""VllmServer: one model behind one Service, served by vLLM."""

from __future__ import annotations

import pulumi

from components._server import SHM_MOUNT, ModelServer, ModelVolume, shm_volume
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
        self.service_name = server.serve_http(
            plan.arguments,
            mounts=[SHM_MOUNT],
            volumes=[shm_volume(plan.shm_bytes)],
            hugging_face_token=hugging_face_token,
        )
        self.url = pulumi.Output.concat("http://", self.service_name, ".", namespace, f".svc.cluster.local:{PORT}/v1")
        self.register_outputs({"url": self.url, "serviceName": self.service_name})
