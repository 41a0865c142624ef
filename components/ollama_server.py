"""OllamaServer: several models behind one Service, served by Ollama."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import ProbeArgsDict
from pulumi_kubernetes.meta.v1 import ObjectMetaArgsDict

from components._labels import labels, metadata, selector_labels
from components._pod import (
    TOLERATIONS,
    UNPRIVILEGED,
    allow_from_edge,
    environment,
    gpu_pod_spec,
    model_volume,
    node_affinity,
    pod_spec,
    rollout_seconds,
    server_container,
    strategy,
    wait,
)
from planning.ollama import PORT, OllamaPlan
from planning.startup import PROBE_PERIOD_SECONDS

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
    account without rights and a NetworkPolicy. Deliberately does not check keys, as Ollama cannot: the edge does.
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
        storage_class: str | None = None,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create the server; arguments as for VllmServer."""
        super().__init__("llm:index:OllamaServer", name, None, opts)
        self._plan = plan
        self._namespace = namespace
        child = pulumi.ResourceOptions(parent=self)
        selector = selector_labels(_APP, plan.name)
        meta = metadata(_APP, plan.name, namespace=namespace)

        account = k8s.core.v1.ServiceAccount(name, metadata=meta, automount_service_account_token=False, opts=child)
        models = model_volume(
            f"{name}-models",
            metadata(_APP, plan.name, namespace=namespace, name=f"{plan.name}-models"),
            size_bytes=plan.storage_bytes,
            storage_class=storage_class,
            opts=child,
        )
        policy = allow_from_edge(name, namespace=namespace, selector=selector, port=PORT, opts=child)
        pulled = self._pull_job(name, depends_on=[account, models])
        deployment = self._deployment(name, meta, selector, depends_on=[policy, pulled])
        service = k8s.core.v1.Service(
            name,
            metadata=meta,
            spec={"selector": selector, "ports": [{"name": "http", "port": PORT, "target_port": "http"}]},
            opts=pulumi.ResourceOptions(parent=self, depends_on=[deployment]),
        )
        self.service_name = service.id.apply(lambda _: plan.name)
        self.url = pulumi.Output.concat("http://", self.service_name, ".", namespace, f".svc.cluster.local:{PORT}")
        self.register_outputs({"url": self.url, "serviceName": self.service_name})

    def _pull_job(self, name: str, *, depends_on: list[pulumi.Resource]) -> k8s.batch.v1.Job:
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
                        **pod_spec(
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
                                        {"name": "models", "mount_path": "/models"},
                                        {"name": "modelfiles", "mount_path": "/modelfiles", "read_only": True},
                                        {"name": "tmp", "mount_path": "/tmp"},
                                    ],
                                }
                            ],
                            service_account=plan.name,
                            volumes=[
                                {"name": "models", "persistent_volume_claim": {"claim_name": f"{plan.name}-models"}},
                                {"name": "modelfiles", "config_map": {"name": instance}},
                            ],
                        ),
                        # The volume is bound to the node of its first user: that must be one with the GPU.
                        "affinity": {"node_affinity": node_affinity(plan)},
                        "tolerations": TOLERATIONS,
                        "restart_policy": "OnFailure",
                    },
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*depends_on, modelfiles],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{plan.download_budget_seconds + 60}s"),
            ),
        )

    def _deployment(
        self,
        name: str,
        meta: ObjectMetaArgsDict,
        selector: dict[str, str],
        *,
        depends_on: list[pulumi.Resource],
    ) -> k8s.apps.v1.Deployment:
        plan = self._plan
        container = server_container(plan, name=_APP, port=PORT, mounts=[{"name": "models", "mount_path": "/models"}])
        alive: ProbeArgsDict = {"http_get": {"path": "/", "port": "http"}, "timeout_seconds": 5}
        return k8s.apps.v1.Deployment(
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
                            "startup_probe": {
                                "exec_": {
                                    "command": ["/bin/sh", "-c", _EVERY_MODEL_IS_THERE, "ready", *plan.served_names]
                                },
                                "timeout_seconds": 5,
                                "period_seconds": PROBE_PERIOD_SECONDS,
                                "failure_threshold": plan.startup.probe_failures,
                            },
                            "readiness_probe": {**alive, "period_seconds": 5},
                            "liveness_probe": {**alive, "period_seconds": 10, "failure_threshold": 3},
                        },
                        service_account=plan.name,
                        volumes=[{"name": "models", "persistent_volume_claim": {"claim_name": f"{plan.name}-models"}}],
                    ),
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=depends_on, custom_timeouts=wait(plan)),
        )
