"""Grafana: dashboards as code over Prometheus; it keeps nothing of its own."""

from __future__ import annotations

import hashlib
from base64 import b64encode

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import ContainerArgsDict, ProbeArgsDict, VolumeMountArgsDict
from pulumi_kubernetes.networking.v1 import (
    IngressBackendArgsDict,
    IngressTLSArgsDict,
    NetworkPolicyIngressRuleArgsDict,
)

from components._application import TO_DNS, Application, pods_of
from components._labels import PROMETHEUS
from components._made_once import api_key
from components._pod import UNPRIVILEGED, environment, pod_spec
from planning import prometheus
from planning.grafana import DASHBOARDS_FOLDER, PASSWORD_FILE, PORT, GrafanaPlan

APP = "grafana"

_PROVISIONING = "/etc/grafana/provisioning"
_PASSWORD_FOLDER, _, _PASSWORD_KEY = PASSWORD_FILE.rpartition("/")


def grafana(
    component: pulumi.ComponentResource, name: str, plan: GrafanaPlan, *, namespace: str, after: pulumi.Resource
) -> pulumi.Output[str]:
    """Create it, and return the administrator's password, a secret that is known once Grafana answers.

    Args:
        component: parent of everything.
        name: Pulumi name of the component.
        plan: what to create.
        namespace: existing namespace.
        after: Prometheus.
    """
    own = Application(component, name, APP, namespace=namespace)
    config_name, config = own.config_map(
        {"datasources.yaml": plan.datasources, "providers.yaml": plan.providers, "llm-serving.json": plan.dashboard}
    )
    # A key of the same 256 bits, without the prefix by which clients of the models know theirs.
    password = api_key(f"{own.name}-password", parent=component).apply(lambda text: text.strip().removeprefix("sk-"))
    secret = k8s.core.v1.Secret(
        own.name,
        metadata=own.metadata("-admin"),
        data={_PASSWORD_KEY: password.apply(lambda text: b64encode(text.encode()).decode())},
        opts=own.opts(),
    )
    # From the ingress controller alone, and without a host from nowhere; `kubectl port-forward` comes from within.
    ingress: list[NetworkPolicyIngressRuleArgsDict] = [
        {"from_": [pods_of("traefik", namespace="kube-system")], "ports": [{"port": PORT, "protocol": "TCP"}]}
    ]
    policy = own.network_policy(
        ingress=ingress if plan.host else [],
        egress=[{"to": [pods_of(PROMETHEUS)], "ports": [{"port": prometheus.PORT, "protocol": "TCP"}]}, TO_DNS],
    )
    # Read once, when the pod starts. Of 256 random bits a digest tells none.
    digest = pulumi.Output.unsecret(password.apply(lambda text: hashlib.sha256(text.encode()).hexdigest()))
    deployment = own.deployment(
        pod_spec(
            [_container(plan)],
            service_account=own.app,
            volumes=[
                {"name": "config", "config_map": {"name": config_name}},
                {"name": "admin", "secret": {"secret_name": f"{APP}-admin", "default_mode": 0o440}},
                # Users' own dashboards and sessions go with the pod: what is to stay is code.
                {"name": "data", "empty_dir": {}},
            ],
        ),
        depends_on=[own.service_account(), config, secret, policy, after],
        annotations={"llm-serving/password-sha256": digest},
    )
    service = own.service(PORT, "http", deployment)
    if plan.host:
        _way_in(own, plan, plan.host, service)
    return pulumi.Output.all(password, service.id).apply(lambda known: str(known[0]))


def _container(plan: GrafanaPlan) -> ContainerArgsDict:
    healthy: ProbeArgsDict = {"http_get": {"path": "/api/health", "port": "http"}, "timeout_seconds": 5}
    files = {
        "datasources.yaml": f"{_PROVISIONING}/datasources",
        "providers.yaml": f"{_PROVISIONING}/dashboards",
        "llm-serving.json": DASHBOARDS_FOLDER,
    }
    provisioned: list[VolumeMountArgsDict] = [
        {"name": "config", "mount_path": f"{folder}/{file}", "sub_path": file, "read_only": True}
        for file, folder in files.items()
    ]
    return {
        "name": APP,
        "image": plan.image,
        "env": environment(plan.environment),
        "ports": [{"name": "http", "container_port": PORT}],
        "resources": {"requests": {"cpu": "50m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}},
        # Its first start makes its database.
        "startup_probe": {**healthy, "period_seconds": 2, "failure_threshold": 60},
        "readiness_probe": {**healthy, "period_seconds": 5},
        "liveness_probe": {**healthy, "period_seconds": 10, "failure_threshold": 6},
        "security_context": UNPRIVILEGED,
        "volume_mounts": [
            *provisioned,
            {"name": "admin", "mount_path": _PASSWORD_FOLDER, "read_only": True},
            {"name": "data", "mount_path": "/var/lib/grafana"},
            {"name": "tmp", "mount_path": "/tmp"},
        ],
    }


def _way_in(own: Application, plan: GrafanaPlan, host: str, service: pulumi.Resource) -> None:
    """The route of the host; with a certificate plain HTTP is closed."""
    tls: list[IngressTLSArgsDict] = (
        [{"hosts": [host], "secret_name": plan.tls_secret_name}] if plan.tls_secret_name else []
    )
    backend: IngressBackendArgsDict = {"service": {"name": APP, "port": {"number": PORT}}}
    k8s.networking.v1.Ingress(
        own.name,
        metadata={
            **own.metadata(),
            "annotations": {
                "traefik.ingress.kubernetes.io/router.entrypoints": "websecure" if tls else "web",
                **({"traefik.ingress.kubernetes.io/router.tls": "true"} if tls else {}),
            },
        },
        spec={
            "ingress_class_name": "traefik",
            **({"tls": tls} if tls else {}),
            "rules": [{"host": host, "http": {"paths": [{"path": "/", "path_type": "Prefix", "backend": backend}]}}],
        },
        opts=own.opts(service),
    )
