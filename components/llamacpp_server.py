"""LlamaCppServer: one GGUF model behind one Service, served by llama.cpp's own server."""

from __future__ import annotations

import pulumi
from pulumi_kubernetes.core.v1 import VolumeArgsDict, VolumeMountArgsDict

from components._server import ModelServer, ModelVolume
from planning.llamacpp import CLAIM_FOLDER, PORT, LlamaCppPlan
from planning.pods import Shutdown
from planning.volumes import VolumeClass

__all__ = ["LlamaCppServer"]

_APP = "llamacpp"


class LlamaCppServer(pulumi.ComponentResource):
    """An OpenAI-compatible endpoint inside the cluster.

    Creates a Deployment, a Service, a volume for downloads, a service account without rights, a disruption budget and a
    NetworkPolicy; a Secret with Hugging Face's token where there is one. Deliberately does not create the claim of a
    model that is a file already, nor check keys: the edge does.
    """

    url: pulumi.Output[str]
    """Base URL inside the cluster, e.g. `http://small.llm.svc.cluster.local:8080/v1`; known once the model answers."""

    service_name: pulumi.Output[str]
    """Name of the Service; known once the model answers."""

    def __init__(
        self,
        name: str,
        plan: LlamaCppPlan,
        *,
        namespace: pulumi.Input[str],
        volumes: VolumeClass,
        monitoring_namespace: str | None = None,
        hugging_face_token: pulumi.Input[str] | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the server; arguments as for VllmServer."""
        super().__init__("llm:index:LlamaCppServer", name, None, opts)
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
        mounts: list[VolumeMountArgsDict] = []
        sources: list[VolumeArgsDict] = []
        if plan.claim is not None:
            mounts.append({"name": "models", "mount_path": CLAIM_FOLDER, "read_only": True})
            sources.append({"name": "models", "persistent_volume_claim": {"claim_name": plan.claim, "read_only": True}})
        self.service_name = server.serve_http(
            plan.arguments,
            mounts=mounts,
            volumes=sources,
            lifecycle={"pre_stop": {"exec_": {"command": ["/bin/sh", "-c", _drain(plan.shutdown)]}}},
            hugging_face_token=hugging_face_token,
        )
        self.url = pulumi.Output.concat("http://", self.service_name, ".", namespace, f".svc.cluster.local:{PORT}/v1")
        self.register_outputs({"url": self.url, "serviceName": self.service_name})


def _drain(shutdown: Shutdown) -> str:
    """A shell command that ends when no request is under way any more, or after `shutdown.drain_seconds`.

    SIGTERM stops llama-server between two tokens: streams get no further one, and are cut when the process ends. So it
    is only sent once they are done. The image has curl for its own health check.
    """
    return f"""\
sleep {shutdown.pre_stop_seconds}
for _ in $(seq {shutdown.drain_seconds}); do
  curl -fs -m 2 http://127.0.0.1:{PORT}/metrics | grep -Eq '^llamacpp:requests_(processing|deferred) [1-9]' || exit 0
  sleep 1
done
"""
