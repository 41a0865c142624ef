"""OllamaServer: several models behind one Service, served by Ollama."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import ContainerArgsDict, ProbeArgsDict

from components._labels import labels, metadata
from components._pod import UNPRIVILEGED, environment, on_gpu_node, pod_spec, server_container
from components._server import ModelServer, ModelVolume
from planning.ollama import PORT, OllamaPlan
from planning.startup import PROBE_PERIOD_SECONDS
from planning.volumes import VolumeClass

__all__ = ["OllamaServer"]

_APP = "ollama"
_PULL_APP = "ollama-pull"

# Fetches what is missing and makes the custom models, with a server of its own on the same volume: the one that
# serves goes on meanwhile. What is there is not fetched again, so an offline node with its models on disk is fine.
_PULL = """\
set -eu
ollama serve &
server=$!
trap 'kill "$server"' EXIT
until ollama list >/dev/null 2>&1; do kill -0 "$server"; sleep 1; done
for model in $PULL; do
  if ollama show "$model" >/dev/null 2>&1; then
    echo "$model is on disk"
  else
    echo "pulling $model"
    ollama pull "$model"
  fi
done
for modelfile in /modelfiles/*; do
  [ -e "$modelfile" ] || continue
  echo "creating ${modelfile##*/}"
  ollama create "${modelfile##*/}" -f "$modelfile"
done
ollama list
"""

# Ready means that every model is there, not merely the port.
_EVERY_MODEL_IS_THERE = 'for model in "$@"; do ollama show "$model" >/dev/null || exit 1; done'


class OllamaServer(pulumi.ComponentResource):
    """Ollama's native and OpenAI-compatible APIs inside the cluster.

    Creates a volume, a Job that has every model on it before the server is touched, a Deployment, a Service, a service
    account without rights, a disruption budget and a NetworkPolicy. Deliberately does not check keys, as Ollama cannot:
    the edge does.
    """

    url: pulumi.Output[str]
    """Base URL inside the cluster, e.g. `http://assistant.llm.svc.cluster.local:11434`; known once models are there."""

    service_name: pulumi.Output[str]
    """Name of the Service; known once the models are there."""

    def __init__(
        self,
        name: str,
        plan: OllamaPlan,
        *,
        namespace: pulumi.Input[str],
        volumes: VolumeClass,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the server; arguments as for VllmServer."""
        super().__init__("llm:index:OllamaServer", name, None, opts)
        self._plan = plan
        self._namespace = namespace
        server = ModelServer(
            self,
            name,
            plan,
            app=_APP,
            port=PORT,
            volume=ModelVolume("models", "/models", plan.storage_bytes, follows_model=False),
            namespace=namespace,
            volumes=volumes,
            monitoring_namespace=None,  # it has no metrics
        )
        pulled = self._pull_job(name, server)
        self.service_name = server.serve(self._container(server.volume), after=[pulled])
        self.url = pulumi.Output.concat("http://", self.service_name, ".", namespace, f".svc.cluster.local:{PORT}")
        self.register_outputs({"url": self.url, "serviceName": self.service_name})

    def _pull_job(self, name: str, server: ModelServer) -> k8s.batch.v1.Job:
        """The Job that has the models on disk; its name follows from them, so a change makes a new one."""
        plan = self._plan
        instance = f"{plan.name}-pull-{plan.models_key}"
        meta = metadata(_PULL_APP, plan.name, namespace=self._namespace, name=instance)
        modelfiles = k8s.core.v1.ConfigMap(
            f"{name}-modelfiles",
            metadata=meta,
            data=plan.modelfiles,
            opts=pulumi.ResourceOptions(parent=self),
        )
        return k8s.batch.v1.Job(
            f"{name}-pull",
            metadata=meta,
            spec={
                "backoff_limit": 4,
                "active_deadline_seconds": plan.download_budget_seconds,
                "template": {
                    "metadata": {"labels": labels(_PULL_APP, plan.name)},
                    "spec": {
                        # The volume is bound to the node of its first user: that must be one with the GPU.
                        **on_gpu_node(
                            plan,
                            pod_spec(
                                [
                                    {
                                        "name": "pull",
                                        "image": plan.image,
                                        "command": ["/bin/sh", "-c", _PULL],
                                        "env": environment(
                                            {
                                                **plan.environment,
                                                # Only this container's own commands talk to its server.
                                                "OLLAMA_HOST": f"127.0.0.1:{PORT}",
                                                "PULL": " ".join(plan.pull),
                                            }
                                        ),
                                        "resources": {
                                            "requests": {"cpu": "100m", "memory": "512Mi"},
                                            "limits": {"memory": "2Gi"},
                                        },
                                        "security_context": UNPRIVILEGED,
                                        "volume_mounts": [
                                            server.volume.mount,
                                            {"name": "modelfiles", "mount_path": "/modelfiles", "read_only": True},
                                            {"name": "tmp", "mount_path": "/tmp"},
                                        ],
                                    }
                                ],
                                service_account=plan.name,
                                volumes=[
                                    server.volume.source(plan.name),
                                    {"name": "modelfiles", "config_map": {"name": instance}},
                                ],
                            ),
                        ),
                        "restart_policy": "OnFailure",
                    },
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*server.base, modelfiles],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{plan.download_budget_seconds + 60}s"),
            ),
        )

    def _container(self, models: ModelVolume) -> ContainerArgsDict:
        plan = self._plan
        container = server_container(plan, name=_APP, port=PORT, mounts=[models.mount])
        alive: ProbeArgsDict = {"http_get": {"path": "/", "port": "http"}, "timeout_seconds": 5}
        return {
            **container,
            "startup_probe": {
                "exec_": {"command": ["/bin/sh", "-c", _EVERY_MODEL_IS_THERE, "ready", *plan.served_names]},
                "timeout_seconds": 5,
                "period_seconds": PROBE_PERIOD_SECONDS,
                "failure_threshold": plan.startup.probe_failures,
            },
            "readiness_probe": {**alive, "period_seconds": 5},
            "liveness_probe": {**alive, "period_seconds": 10, "failure_threshold": 3},
        }
