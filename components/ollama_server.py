"""OllamaServer: several models behind one Service, served by Ollama."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import ContainerArgsDict, ProbeArgsDict, VolumeArgsDict, VolumeMountArgsDict

from components._labels import labels, metadata
from components._pod import UNPRIVILEGED, environment, on_gpu_node, pod_spec, server_container
from components._server import ModelServer, ModelVolume
from planning.ollama import FILES_PATH, PORT, OllamaPlan
from planning.startup import PROBE_PERIOD_SECONDS
from planning.volumes import VolumeClass

__all__ = ["OllamaServer"]

_APP = "ollama"
_PULL_APP = "ollama-pull"

# Fetches what is missing, makes the custom models, and removes those that it made before and that nobody wants now. It
# has a server of its own on the same volume, so that the one that serves goes on meanwhile. What is there is not
# fetched again: an offline node with its models on disk is fine.
_PULL = """\
set -eu
ollama serve &
server=$!
trap 'kill "$server"' EXIT
until ollama list >/dev/null 2>&1; do kill -0 "$server"; sleep 1; done
made=/models/made-by-modelfile
touch "$made"
remove() {
  ollama show "$1" >/dev/null 2>&1 || return 0
  echo "removing $1"
  ollama rm "$1" </dev/null
}
# What was made here under a name that is now pulled is not what is wanted.
while read -r model; do
  case " $PULL " in *" $model "*) remove "$model" ;; esac
done <"$made"
for model in $PULL; do
  if ollama show "$model" >/dev/null 2>&1; then
    echo "$model is on disk"
  else
    echo "pulling $model"
    ollama pull "$model"
  fi
done
for model in $MAKE; do
  echo "$model" >>"$made"
  echo "creating $model"
  ollama create "$model" -f "/modelfiles/-$model"
done
while read -r model; do
  case " $PULL $MAKE " in *" $model "*) ;; *) remove "$model" ;; esac
done <"$made"
for model in $MAKE; do echo "$model"; done >"$made"
ollama list
"""

_FILES_SIZE = "1Gi"
"""A folder has no size, and Kubernetes wants one."""

# Ready means that every model is there, not merely the port.
_EVERY_MODEL_IS_THERE = 'for model in "$@"; do ollama show "$model" >/dev/null || exit 1; done'


class _Files(NamedTuple):
    """What a pod mounts, and what must be there before."""

    mounts: Sequence[VolumeMountArgsDict] = ()
    volumes: Sequence[VolumeArgsDict] = ()
    resources: Sequence[pulumi.Resource] = ()


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
        files = self._files(name)
        instance = f"{plan.name}-pull-{plan.models_key}"
        meta = metadata(_PULL_APP, plan.name, namespace=self._namespace, name=instance)
        modelfiles = k8s.core.v1.ConfigMap(
            f"{name}-modelfiles",
            metadata=meta,
            # Ollama takes FROM for a path before it takes it for a name, and no name begins so.
            data={f"-{made}": text for made, text in plan.modelfiles.items()},
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
                                                "MAKE": " ".join(plan.modelfiles),
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
                                            *files.mounts,
                                        ],
                                    }
                                ],
                                service_account=plan.name,
                                volumes=[
                                    server.volume.source(plan.name),
                                    {"name": "modelfiles", "config_map": {"name": instance}},
                                    *files.volumes,
                                ],
                                image_pull_secrets=plan.scheduling.image_pull_secrets,
                            ),
                        ),
                        "restart_policy": "OnFailure",
                    },
                },
            },
            opts=pulumi.ResourceOptions(
                parent=self,
                depends_on=[*server.base, modelfiles, *files.resources],
                custom_timeouts=pulumi.CustomTimeouts(create=f"{plan.download_budget_seconds + 60}s"),
            ),
        )

    def _files(self, name: str) -> _Files:
        """What the Job has of the files that custom models are made from; nothing where there are none.

        A folder of a node comes as a volume, since pods of this namespace may mount no path of their node.
        """
        if (files := self._plan.files) is None:
            return _Files()
        source: VolumeArgsDict = {
            "name": "files",
            "persistent_volume_claim": {"claim_name": files.claim, "read_only": True},
        }
        mount: VolumeMountArgsDict = {"name": "files", "mount_path": FILES_PATH, "read_only": True}
        if files.node_path is None:
            return _Files([mount], [source])
        volume_name = pulumi.Output.concat(self._namespace, "-", files.claim)
        volume = k8s.core.v1.PersistentVolume(
            f"{name}-files",
            metadata={"name": volume_name, "labels": labels(_PULL_APP, self._plan.name)},
            spec={
                "capacity": {"storage": _FILES_SIZE},
                "access_modes": ["ReadOnlyMany"],
                "persistent_volume_reclaim_policy": "Retain",
                "claim_ref": {"namespace": self._namespace, "name": files.claim},
                "local": {"path": files.node_path},
                "node_affinity": {
                    "required": {
                        "node_selector_terms": [
                            {
                                "match_expressions": [
                                    {"key": "kubernetes.io/hostname", "operator": "In", "values": [files.node]}
                                ]
                            }
                        ]
                    }
                },
            },
            opts=pulumi.ResourceOptions(parent=self),
        )
        claim = k8s.core.v1.PersistentVolumeClaim(
            f"{name}-files",
            metadata=metadata(_PULL_APP, self._plan.name, namespace=self._namespace, name=files.claim),
            spec={
                "access_modes": ["ReadOnlyMany"],
                "storage_class_name": "",  # none makes it: it is that volume and no other
                "volume_name": volume_name,
                "resources": {"requests": {"storage": _FILES_SIZE}},
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[volume]),
        )
        return _Files([mount], [source], [volume, claim])

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
