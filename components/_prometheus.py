"""Prometheus: one pod with its volume, which finds what it scrapes through the API server."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import PersistentVolumeClaimSpecArgsDict, ProbeArgsDict
from pulumi_kubernetes.networking.v1 import NetworkPolicyEgressRuleArgsDict

from components._application import NAMESPACE_NAME, TO_API_SERVER, Application, pods_of
from components._labels import PROMETHEUS
from components._pod import UNPRIVILEGED, mebibytes, pod_spec
from planning.monitoring import MonitoringPlan
from planning.prometheus import ALERTS_FILE, CONFIG_FOLDER, ENGINE_PORTS, PORT, SYSTEM_NAMESPACE, SYSTEM_PORTS
from planning.volumes import VolumeClass

_DATA = "/prometheus"
_DISCOVERY = ("get", "list", "watch")


def prometheus(
    component: pulumi.ComponentResource, name: str, plan: MonitoringPlan, *, clients: list[str], volumes: VolumeClass
) -> k8s.core.v1.Service:
    """Create it, and return its Service, which is there once it answers.

    Args:
        component: parent of everything.
        name: Pulumi name of the component.
        plan: what to create.
        clients: applications in its namespace that may ask it; it knows no passwords.
        volumes: class of its volume.
    """
    own = Application(component, name, PROMETHEUS, namespace=plan.namespace)
    account = own.service_account()
    config_name, config = own.config_map(
        {"prometheus.yml": plan.prometheus.config, ALERTS_FILE: plan.prometheus.alerts}
    )
    claim: PersistentVolumeClaimSpecArgsDict = {
        # Whatever the class can do besides: Prometheus is one process, and wants a local file system.
        "access_modes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": mebibytes(plan.prometheus.storage_bytes)}},
    }
    if volumes.storage_class is not None:
        claim["storage_class_name"] = volumes.storage_class
    base: list[pulumi.Resource] = [
        account,
        config,
        k8s.core.v1.PersistentVolumeClaim(own.name, metadata=own.metadata("-data"), spec=claim, opts=own.opts()),
        *(own.read_pods(account, namespace, _DISCOVERY) for namespace in (plan.models_namespace, SYSTEM_NAMESPACE)),
        own.network_policy(
            # No rule where there is nobody: one without peers would let everybody in.
            ingress=[{"from_": [pods_of(client)], "ports": [{"port": PORT, "protocol": "TCP"}]} for client in clients],
            egress=[
                TO_API_SERVER,
                *(_to(engine, port, plan.models_namespace) for engine, port in ENGINE_PORTS.items()),
                {
                    "to": [{"namespace_selector": {"match_labels": {NAMESPACE_NAME: SYSTEM_NAMESPACE}}}],
                    "ports": [{"port": port, "protocol": "TCP"} for port in SYSTEM_PORTS],
                },
            ],
        ),
    ]
    ready: ProbeArgsDict = {"http_get": {"path": "/-/ready", "port": "http"}, "timeout_seconds": 5}
    deployment = own.deployment(
        {
            **pod_spec(
                [
                    {
                        "name": PROMETHEUS,
                        "image": plan.prometheus.image,
                        "args": [
                            f"--config.file={CONFIG_FOLDER}/prometheus.yml",
                            f"--storage.tsdb.path={_DATA}",
                            f"--storage.tsdb.retention.time={plan.prometheus.retention}",
                            f"--storage.tsdb.retention.size={plan.prometheus.retention_bytes}B",
                        ],
                        "ports": [{"name": "http", "container_port": PORT}],
                        "resources": {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}},
                        # Up to ten minutes: after a crash it reads its write-ahead log first.
                        "startup_probe": {**ready, "period_seconds": 2, "failure_threshold": 300},
                        "readiness_probe": {**ready, "period_seconds": 5},
                        "liveness_probe": {
                            **ready,
                            "http_get": {"path": "/-/healthy", "port": "http"},
                            "period_seconds": 10,
                            "failure_threshold": 6,
                        },
                        "security_context": UNPRIVILEGED,
                        "volume_mounts": [
                            {"name": "config", "mount_path": CONFIG_FOLDER, "read_only": True},
                            {"name": "data", "mount_path": _DATA},
                            {"name": "tmp", "mount_path": "/tmp"},
                        ],
                    }
                ],
                service_account=own.app,
                volumes=[
                    {"name": "config", "config_map": {"name": config_name}},
                    {"name": "data", "persistent_volume_claim": {"claim_name": f"{own.app}-data"}},
                ],
            ),
            # Discovery asks the API server, in its own name.
            "automount_service_account_token": True,
            # Its end writes what is in memory to the volume.
            "termination_grace_period_seconds": 120,
        },
        depends_on=base,
    )
    return own.service(PORT, "http", deployment)


def _to(app: str, port: int, namespace: str) -> NetworkPolicyEgressRuleArgsDict:
    return {"to": [pods_of(app, namespace=namespace)], "ports": [{"port": port, "protocol": "TCP"}]}
