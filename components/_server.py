"""What the servers of all engines are made of around their pod: account, volume, way in, workload, Service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.apps.v1 import DeploymentSpecArgsDict, DeploymentStrategyArgsDict
from pulumi_kubernetes.core.v1 import (
    ContainerArgsDict,
    EnvVarArgsDict,
    LifecycleArgsDict,
    PersistentVolumeClaimSpecArgsDict,
    ProbeArgsDict,
    VolumeArgsDict,
    VolumeMountArgsDict,
)
from pulumi_kubernetes.networking.v1 import NetworkPolicyPeerArgsDict

from components._labels import GATEWAY, NAME, PROMETHEUS, labels, metadata, selector_labels
from components._pod import environment, gpu_pod_spec, literal, mebibytes, server_container
from planning.plan import ServerPlan
from planning.rollout import Rollout
from planning.servers import replacement_seconds
from planning.startup import PROBE_PERIOD_SECONDS
from planning.volumes import VolumeClass

NAMESPACE_NAME = "kubernetes.io/metadata.name"


class ModelVolume(NamedTuple):
    """The volume that keeps what was downloaded once."""

    name: str
    mount_path: str
    size_bytes: int
    follows_model: bool
    """Whether nobody has written the size: then a volume that is there keeps its own, since few classes let one grow
    and none lets one shrink."""

    @property
    def mount(self) -> VolumeMountArgsDict:
        """Where the serving container has it."""
        return {"name": self.name, "mount_path": self.mount_path}

    def source(self, server: str) -> VolumeArgsDict:
        """The pod's volume, of the claim that `server` has."""
        return {"name": self.name, "persistent_volume_claim": {"claim_name": f"{server}-{self.name}"}}


SHM_MOUNT: VolumeMountArgsDict = {"name": "shm", "mount_path": "/dev/shm"}
"""Where the workers of one engine find the memory that they share."""


def shm_volume(size_bytes: int) -> VolumeArgsDict:
    """Memory of that size for `SHM_MOUNT`."""
    return {"name": "shm", "empty_dir": {"medium": "Memory", "size_limit": mebibytes(size_bytes)}}


class ModelServer:
    """The objects of one model server, children of its component.

    In two steps, since what fetches models (Ollama's Job) needs the first and the workload needs it done: the
    constructor makes what the pods stand on, `serve` the workload and its Service.
    """

    def __init__(
        self,
        component: pulumi.ComponentResource,
        name: str,
        plan: ServerPlan,
        *,
        app: str,
        port: int,
        volume: ModelVolume,
        namespace: pulumi.Input[str],
        volumes: VolumeClass,
        monitoring_namespace: str | None,
    ) -> None:
        """Create the service account without rights, the volume, the way in and the disruption budget.

        Args:
            component: parent of everything.
            name: Pulumi name of the component; objects are named as the plan says.
            plan: what to create.
            app: the engine, as label.
            port: what the engine listens on.
            volume: where the models are.
            namespace: existing namespace.
            volumes: class of the volume.
            monitoring_namespace: where Prometheus is, which may read metrics; None where there is none.
        """
        self._component = component
        self._name = name
        self._plan = plan
        self._app = app
        self._port = port
        self.volume = volume
        self._namespace = namespace
        self._selector = selector_labels(app, plan.name)
        self._metadata = metadata(app, plan.name, namespace=namespace)
        child = pulumi.ResourceOptions(parent=component)
        self.base: tuple[pulumi.Resource, ...] = (
            k8s.core.v1.ServiceAccount(
                name, metadata=self._metadata, automount_service_account_token=False, opts=child
            ),
            self._claim(volumes),
            self._way_in(monitoring_namespace),
        )
        """What pods must find when they start."""

        k8s.policy.v1.PodDisruptionBudget(
            name,
            metadata=self._metadata,
            # One pod at a time, also where it is the only one: a node with a single replica could not be drained.
            spec={
                "max_unavailable": 1,
                "selector": {"match_labels": self._selector},
                "unhealthy_pod_eviction_policy": "AlwaysAllow",
            },
            opts=child,
        )

    def serve_http(
        self,
        arguments: Sequence[str],
        *,
        mounts: Sequence[VolumeMountArgsDict] = (),
        volumes: Sequence[VolumeArgsDict] = (),
        lifecycle: LifecycleArgsDict | None = None,
        hugging_face_token: pulumi.Input[str] | None,
    ) -> pulumi.Output[str]:
        """Create the Deployment of an engine that answers /health, and its Service.

        Args:
            arguments: of the engine.
            mounts: besides that of the models' volume.
            volumes: of the pod, besides the models'.
            lifecycle: how the container ends; as all do by default.
            hugging_face_token: for models that are handed out to some only; pass a secret Output. Read when a pod
                starts, so a new one restarts nothing.

        Returns:
            As `serve`.
        """
        container = server_container(self._plan, name=self._app, port=self._port, mounts=[self.volume.mount, *mounts])
        after: list[pulumi.Resource] = []
        if hugging_face_token is not None:
            variable, secret = self._hugging_face_token(hugging_face_token)
            after.append(secret)
            container = {**container, "env": [*environment(self._plan.environment), variable]}
        if lifecycle is not None:
            container = {**container, "lifecycle": lifecycle}
        health: ProbeArgsDict = {"http_get": {"path": "/health", "port": "http"}, "timeout_seconds": 5}
        return self.serve(
            {
                **container,
                # Kubernetes would put a variable's value in place of $(NAME), which a chat template may well hold.
                "args": [literal(argument) for argument in arguments],
                "startup_probe": {
                    **health,
                    "period_seconds": PROBE_PERIOD_SECONDS,
                    "failure_threshold": self._plan.startup.probe_failures,
                },
                "readiness_probe": {**health, "period_seconds": 5},
                # It turns 503 only when the engine is dead, so a restart is the right answer.
                "liveness_probe": {**health, "period_seconds": 10, "failure_threshold": 3},
            },
            after=after,
            volumes=volumes,
        )

    def _hugging_face_token(self, token: pulumi.Input[str]) -> tuple[EnvVarArgsDict, k8s.core.v1.Secret]:
        """A Secret with Hugging Face's `token`, and the variable by which a container gets it when it starts."""
        name = f"{self._plan.name}-hugging-face"
        secret = k8s.core.v1.Secret(
            f"{self._name}-hugging-face",
            metadata=metadata(self._app, self._plan.name, namespace=self._namespace, name=name),
            string_data={"token": token},
            opts=pulumi.ResourceOptions(parent=self._component),
        )
        return {"name": "HF_TOKEN", "value_from": {"secret_key_ref": {"name": name, "key": "token"}}}, secret

    def serve(
        self,
        container: ContainerArgsDict,
        *,
        volumes: Sequence[VolumeArgsDict] = (),
        after: Sequence[pulumi.Resource] = (),
    ) -> pulumi.Output[str]:
        """Create the Deployment and its Service.

        Args:
            container: the engine.
            volumes: of the pod, besides the models'.
            after: what must be there before a pod starts.

        Returns:
            The Service's name, known once the models answer: so whoever uses it waits for them.
        """
        plan = self._plan
        spec: DeploymentSpecArgsDict = {
            "selector": {"match_labels": self._selector},
            "strategy": _strategy(plan.rollout),
            "progress_deadline_seconds": replacement_seconds(plan) + plan.rollout.spare_wait_seconds,
            "template": {
                "metadata": {"labels": labels(self._app, plan.name)},
                "spec": gpu_pod_spec(
                    plan,
                    container,
                    service_account=plan.name,
                    volumes=[self.volume.source(plan.name), *volumes],
                ),
            },
        }
        named = self._metadata
        autoscaled = plan.autoscale is not None
        if not autoscaled:
            spec["replicas"] = plan.replicas
            # The number that an autoscaler has left is the file's again once there is none.
            named = {**named, "annotations": {"pulumi.com/patchForce": "true"}}
        # Pods are replaced one after the other, and may have to wait for the GPU that is spare.
        wait = f"{replacement_seconds(plan) * _most_pods(plan) + plan.rollout.spare_wait_seconds + 60}s"
        deployment = k8s.apps.v1.Deployment(
            self._name,
            metadata=named,
            spec=spec,
            opts=pulumi.ResourceOptions(
                parent=self._component,
                depends_on=[*self.base, *after],
                # Left to the autoscaler: written, each deployment would set it back; left out, it would begin with 1.
                ignore_changes=["spec.replicas"] if autoscaled else None,
                custom_timeouts=pulumi.CustomTimeouts(create=wait, update=wait),
            ),
        )
        service = k8s.core.v1.Service(
            self._name,
            metadata=self._metadata,
            spec={"selector": self._selector, "ports": [{"name": "http", "port": self._port, "target_port": "http"}]},
            opts=pulumi.ResourceOptions(parent=self._component, depends_on=[deployment]),
        )
        return service.id.apply(lambda _: plan.name)

    def _claim(self, volumes: VolumeClass) -> k8s.core.v1.PersistentVolumeClaim:
        spec: PersistentVolumeClaimSpecArgsDict = {
            "access_modes": [volumes.access_mode],
            "resources": {"requests": {"storage": mebibytes(self.volume.size_bytes)}},
        }
        if volumes.storage_class is not None:
            spec["storage_class_name"] = volumes.storage_class
        return k8s.core.v1.PersistentVolumeClaim(
            f"{self._name}-{self.volume.name}",
            metadata=metadata(
                self._app, self._plan.name, namespace=self._namespace, name=f"{self._plan.name}-{self.volume.name}"
            ),
            spec=spec,
            opts=pulumi.ResourceOptions(
                parent=self._component,
                ignore_changes=["spec.resources.requests.storage"] if self.volume.follows_model else None,
            ),
        )

    def _way_in(self, monitoring_namespace: str | None) -> k8s.networking.v1.NetworkPolicy:
        """Nobody reaches the pods but the gateway, which checks keys, Prometheus, and whom the stack file names."""
        clients: list[NetworkPolicyPeerArgsDict] = [{"pod_selector": {"match_labels": {NAME: GATEWAY}}}]
        if monitoring_namespace is not None:
            clients.append(
                {
                    "namespace_selector": {"match_labels": {NAMESPACE_NAME: monitoring_namespace}},
                    "pod_selector": {"match_labels": {NAME: PROMETHEUS}},
                }
            )
        clients += [
            {"namespace_selector": {"match_labels": {NAMESPACE_NAME: name}}}
            for name in self._plan.scheduling.client_namespaces
        ]
        return k8s.networking.v1.NetworkPolicy(
            self._name,
            metadata=self._metadata,
            spec={
                "pod_selector": {"match_labels": self._selector},
                "policy_types": ["Ingress"],
                "ingress": [{"from_": clients, "ports": [{"port": self._port, "protocol": "TCP"}]}],
            },
            opts=pulumi.ResourceOptions(parent=self._component),
        )


def _strategy(rollout: Rollout) -> DeploymentStrategyArgsDict:
    if rollout.strategy == "Recreate":
        return {"type": "Recreate"}
    return {
        "type": "RollingUpdate",
        "rolling_update": {"max_surge": rollout.max_surge, "max_unavailable": rollout.max_unavailable},
    }


def _most_pods(plan: ServerPlan) -> int:
    if plan.autoscale is not None:
        return plan.autoscale.max_replicas
    return plan.replicas
