"""The gateway behind the ingress controller: nginx, as the plan configures it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import PodSpecArgsDict, ProbeArgsDict, VolumeArgsDict, VolumeMountArgsDict

from components._labels import GATEWAY, NAME, labels, metadata, selector_labels
from components._pod import UNPRIVILEGED, pod_spec
from planning.ingress import IngressPlan
from planning.nginx import HEALTH_PORT, KEYS_DIRECTORY, KEYS_FILE, PORT, clients_map

SERVICE_PORT = 80

_CONFIGURATION = "/etc/llm-gateway/nginx.conf"
_START_SECONDS = 60
_REACH_SECONDS = 30

# An engine lets a new pod in only when the network policies on its node have heard of it, which is a moment after the
# pod is Ready: clients would get a 502 meanwhile. An engine that is down keeps the gateway of the others for so long
# and no longer.
_REACH = f"""\
deadline=$(($(date +%s) + {_REACH_SECONDS}))
for url in "$@"; do
  until timeout 2 wget -q -O /dev/null "$url"; do
    if [ "$(date +%s)" -ge "$deadline" ]; then
      echo "$url does not answer"
      break
    fi
    sleep 0.2
  done
done
"""


class Gateway:
    """The objects of the gateway, children of the component that has it."""

    service: k8s.core.v1.Service
    """Where the ingress controller sends requests, on SERVICE_PORT; there once nginx answers."""

    def __init__(
        self,
        component: pulumi.ComponentResource,
        name: str,
        plan: IngressPlan,
        *,
        api_keys: pulumi.Output[dict[str, str]] | None,
        namespace: pulumi.Input[str],
        after: Sequence[pulumi.Resource],
    ) -> None:
        """Create it.

        Args:
            component: parent of everything.
            name: Pulumi name of the component.
            plan: what to create.
            api_keys: key by client, secret; None where nobody needs one.
            namespace: existing namespace.
            after: the model servers: nginx does not start while a name that it is to send to is unknown.
        """
        self._plan = plan
        self._namespace = namespace
        self._selector = selector_labels(GATEWAY, GATEWAY)
        self._metadata = metadata(GATEWAY, GATEWAY, namespace=namespace)
        self._name = f"{name}-gateway"
        child = pulumi.ResourceOptions(parent=component)
        base: list[pulumi.Resource] = [
            k8s.core.v1.ServiceAccount(
                self._name, metadata=self._metadata, automount_service_account_token=False, opts=child
            ),
            # Named after its content: pods that run keep theirs, so that each can start again until it is replaced.
            k8s.core.v1.ConfigMap(
                self._name,
                metadata=metadata(GATEWAY, GATEWAY, namespace=namespace, name=self._config_name),
                data={"nginx.conf": plan.nginx_conf},
                opts=child,
            ),
            self._way_in(child),
        ]
        annotations: dict[str, pulumi.Input[str]] = {}
        if api_keys is not None:
            clients = api_keys.apply(clients_map)
            base.append(
                k8s.core.v1.Secret(
                    f"{self._name}-keys",
                    metadata=metadata(GATEWAY, GATEWAY, namespace=namespace, name=self._keys_name),
                    string_data={KEYS_FILE: clients},
                    opts=child,
                )
            )
            # nginx reads the keys when it starts, so pods start anew with them. Of 256 random bits a digest tells none.
            digest = clients.apply(lambda text: hashlib.sha256(text.encode()).hexdigest())
            annotations["llm-serving/keys-sha256"] = pulumi.Output.unsecret(digest)
        k8s.policy.v1.PodDisruptionBudget(
            self._name,
            metadata=self._metadata,
            # One at a time, also where it is the only one: its node could not be drained otherwise.
            spec={
                "max_unavailable": 1,
                "selector": {"match_labels": self._selector},
                "unhealthy_pod_eviction_policy": "AlwaysAllow",
            },
            opts=child,
        )
        # A rollout is done when the new pods are up; the old ones may still end their streams.
        timeout = f"{2 * plan.replicas * _START_SECONDS + 60}s"
        deployment = k8s.apps.v1.Deployment(
            self._name,
            metadata=self._metadata,
            spec={
                "replicas": plan.replicas,
                "selector": {"match_labels": self._selector},
                "strategy": {"type": "RollingUpdate", "rolling_update": {"max_surge": 1, "max_unavailable": 0}},
                "progress_deadline_seconds": 2 * _START_SECONDS,
                "template": {
                    "metadata": {"labels": labels(GATEWAY, GATEWAY), "annotations": annotations},
                    "spec": self._pod(),
                },
            },
            opts=pulumi.ResourceOptions(
                parent=component,
                depends_on=[*base, *after],
                custom_timeouts=pulumi.CustomTimeouts(create=timeout, update=timeout),
            ),
        )
        self.service = k8s.core.v1.Service(
            self._name,
            metadata=self._metadata,
            spec={
                "selector": self._selector,
                "ports": [{"name": "http", "port": SERVICE_PORT, "target_port": "http"}],
            },
            opts=pulumi.ResourceOptions(parent=component, depends_on=[deployment]),
        )

    @property
    def _config_name(self) -> str:
        return f"{GATEWAY}-{self._plan.config_key}"

    @property
    def _keys_name(self) -> str:
        return f"{GATEWAY}-keys"

    def _pod(self) -> PodSpecArgsDict:
        plan = self._plan
        volumes: list[VolumeArgsDict] = [{"name": "configuration", "config_map": {"name": self._config_name}}]
        mounts: list[VolumeMountArgsDict] = [
            {"name": "configuration", "mount_path": _CONFIGURATION, "sub_path": "nginx.conf", "read_only": True},
            {"name": "tmp", "mount_path": "/tmp"},
        ]
        if plan.api_keys:
            volumes.append({"name": "keys", "secret": {"secret_name": self._keys_name, "default_mode": 0o440}})
            mounts.append({"name": "keys", "mount_path": KEYS_DIRECTORY, "read_only": True})
        healthy: ProbeArgsDict = {"http_get": {"path": "/healthz", "port": "health"}, "timeout_seconds": 5}
        return {
            **pod_spec(
                [
                    {
                        "name": "nginx",
                        "image": plan.image,
                        # Not the image's own start, which writes to /etc/nginx.
                        "command": ["nginx", "-e", "stderr", "-c", _CONFIGURATION],
                        "ports": [
                            {"name": "http", "container_port": PORT},
                            {"name": "health", "container_port": HEALTH_PORT},
                        ],
                        # Bodies on their way lie in memory, and beyond 256 KiB in /tmp.
                        "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
                        "readiness_probe": {**healthy, "period_seconds": 2},
                        "liveness_probe": {**healthy, "period_seconds": 10, "failure_threshold": 3},
                        # Then the image's SIGQUIT, at which nginx ends when its last answer is given.
                        "lifecycle": {"pre_stop": {"sleep": {"seconds": plan.shutdown.pre_stop_seconds}}},
                        "security_context": UNPRIVILEGED,
                        "volume_mounts": mounts,
                    }
                ],
                service_account=GATEWAY,
                volumes=volumes,
                image_pull_secrets=plan.image_pull_secrets,
            ),
            "init_containers": [
                {
                    "name": "reach",
                    "image": plan.image,
                    "command": ["sh", "-c", _REACH, "reach", *plan.health_urls],
                    "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
                    "security_context": UNPRIVILEGED,
                }
            ],
            "termination_grace_period_seconds": plan.shutdown.grace_period_seconds,
            "topology_spread_constraints": [
                {
                    "max_skew": 1,
                    "topology_key": "kubernetes.io/hostname",
                    # One node must be able to hold all: it may be the only one that is left.
                    "when_unsatisfiable": "ScheduleAnyway",
                    "label_selector": {"match_labels": self._selector},
                }
            ],
        }

    def _way_in(self, opts: pulumi.ResourceOptions) -> k8s.networking.v1.NetworkPolicy:
        """Nobody but the ingress controller reaches the gateway: so nothing comes in around its certificate."""
        return k8s.networking.v1.NetworkPolicy(
            self._name,
            metadata=self._metadata,
            spec={
                "pod_selector": {"match_labels": self._selector},
                "policy_types": ["Ingress"],
                "ingress": [
                    {
                        "from_": [
                            {
                                "namespace_selector": {"match_labels": {"kubernetes.io/metadata.name": "kube-system"}},
                                "pod_selector": {"match_labels": {NAME: "traefik"}},
                            }
                        ],
                        "ports": [{"port": PORT, "protocol": "TCP"}],
                    }
                ],
            },
            opts=opts,
        )
