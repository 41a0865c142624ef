"""prometheus-adapter: Prometheus' samples as metrics that autoscalers can ask the API server for."""

from __future__ import annotations

from base64 import b64encode

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import ContainerArgsDict, ProbeArgsDict
from pulumi_kubernetes.rbac.v1 import SubjectArgsDict

from components._application import TO_API_SERVER, TO_DNS, Application, pods_of
from components._labels import PROMETHEUS, metadata
from components._made_once import certificate
from components._pod import UNPRIVILEGED, pod_spec
from planning import prometheus
from planning.metrics_adapter import AdapterPlan
from planning.monitoring import MonitoringPlan

APP = "prometheus-adapter"

_PORT = 6443
_GROUP, _VERSION = "custom.metrics.k8s.io", "v1beta1"
_CONFIG_FOLDER = "/etc/adapter"
_CERTIFICATE_FOLDER = "/etc/adapter-certificate"


def metrics_adapter(
    component: pulumi.ComponentResource,
    name: str,
    plan: MonitoringPlan,
    adapter: AdapterPlan,
    *,
    after: pulumi.Resource,
) -> k8s.apiregistration.v1.APIService:
    """Create it, and return the API that it serves, which is there once it answers.

    Args:
        component: parent of everything.
        name: Pulumi name of the component.
        plan: of the whole monitoring.
        adapter: of this part.
        after: Prometheus.
    """
    own = Application(component, name, APP, namespace=plan.namespace)
    account = own.service_account()
    config_name, config = own.config_map({"config.yaml": adapter.config})
    key, shown = certificate(f"{own.name}-certificate", f"{APP}.{plan.namespace}.svc", parent=component)
    secret = k8s.core.v1.Secret(
        own.name,
        metadata=own.metadata("-certificate"),
        type="kubernetes.io/tls",
        data={"tls.key": key.apply(_base64), "tls.crt": shown.apply(_base64)},
        opts=own.opts(),
    )
    base = [
        account,
        config,
        secret,
        # It looks up the pods that an autoscaler's selector means.
        own.read_pods(account, plan.models_namespace, ("get", "list")),
        *_trust(own, account),
        own.network_policy(
            # From anywhere: where the API server is no label tells. It answers only whom the API server vouches for.
            ingress=[{"ports": [{"port": _PORT, "protocol": "TCP"}]}],
            egress=[
                TO_API_SERVER,
                TO_DNS,
                {"to": [pods_of(PROMETHEUS)], "ports": [{"port": prometheus.PORT, "protocol": "TCP"}]},
            ],
        ),
        after,
    ]
    deployment = own.deployment(
        {
            **pod_spec(
                [_container(plan, adapter)],
                service_account=APP,
                volumes=[
                    {"name": "config", "config_map": {"name": config_name}},
                    {"name": "certificate", "secret": {"secret_name": f"{APP}-certificate", "default_mode": 0o440}},
                ],
            ),
            # It asks the API server whether a caller may read metrics, and which pods there are.
            "automount_service_account_token": True,
        },
        depends_on=base,
    )
    service = own.service(443, "https", deployment)
    return k8s.apiregistration.v1.APIService(
        own.name,
        metadata={
            **metadata(APP, APP, namespace=None, name=f"{_VERSION}.{_GROUP}"),
            "annotations": {"pulumi.com/waitFor": "condition=Available"},
        },
        spec={
            "group": _GROUP,
            "version": _VERSION,
            "group_priority_minimum": 100,
            "version_priority": 100,
            "service": {"name": APP, "namespace": plan.namespace, "port": 443},
            "ca_bundle": shown.apply(_base64),
        },
        opts=own.opts(service),
    )


def _trust(own: Application, account: pulumi.Resource) -> tuple[pulumi.Resource, pulumi.Resource]:
    """Let it ask whether callers are who they say and may do what they ask (as every extension API server does)."""
    subjects: list[SubjectArgsDict] = [{"kind": "ServiceAccount", "name": APP, "namespace": own.namespace}]
    group = "rbac.authorization.k8s.io"
    return (
        k8s.rbac.v1.ClusterRoleBinding(
            own.name,
            metadata=metadata(APP, APP, namespace=None, name=f"{APP}:system:auth-delegator"),
            role_ref={"api_group": group, "kind": "ClusterRole", "name": "system:auth-delegator"},
            subjects=subjects,
            opts=own.opts(account),
        ),
        k8s.rbac.v1.RoleBinding(
            f"{own.name}-auth-reader",
            metadata=metadata(APP, APP, namespace="kube-system", name=f"{APP}-auth-reader"),
            role_ref={"api_group": group, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
            subjects=subjects,
            opts=own.opts(account),
        ),
    )


def _container(plan: MonitoringPlan, adapter: AdapterPlan) -> ContainerArgsDict:
    ready: ProbeArgsDict = {"http_get": {"path": "/readyz", "port": "https", "scheme": "HTTPS"}, "timeout_seconds": 5}
    return {
        "name": "adapter",
        "image": adapter.image,
        "args": [
            f"--config={_CONFIG_FOLDER}/config.yaml",
            f"--prometheus-url=http://{PROMETHEUS}.{plan.namespace}.svc:{prometheus.PORT}/",
            f"--metrics-relist-interval={adapter.relist_seconds}s",
            f"--secure-port={_PORT}",
            f"--tls-cert-file={_CERTIFICATE_FOLDER}/tls.crt",
            f"--tls-private-key-file={_CERTIFICATE_FOLDER}/tls.key",
        ],
        "ports": [{"name": "https", "container_port": _PORT}],
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "startup_probe": {**ready, "period_seconds": 2, "failure_threshold": 60},
        "readiness_probe": {**ready, "period_seconds": 5},
        "liveness_probe": {
            **ready,
            "http_get": {"path": "/livez", "port": "https", "scheme": "HTTPS"},
            "period_seconds": 10,
            "failure_threshold": 6,
        },
        "security_context": UNPRIVILEGED,
        "volume_mounts": [
            {"name": "config", "mount_path": _CONFIG_FOLDER, "read_only": True},
            {"name": "certificate", "mount_path": _CERTIFICATE_FOLDER, "read_only": True},
            {"name": "tmp", "mount_path": "/tmp"},
        ],
    }


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
