"""The DCGM exporter: metrics of the GPUs, one pod on each node that has some."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.core.v1 import ContainerArgsDict, NodeSelectorRequirementArgsDict, PodSpecArgsDict

from components._application import Application, pods_of
from components._labels import PROMETHEUS
from components._pod import RUNTIME_CLASS, UNPRIVILEGED, environment, tolerations
from planning import dcgm
from planning.dcgm import DcgmPlan
from planning.nodes import GPU_PRESENT_LABEL
from planning.prometheus import SYSTEM_NAMESPACE

_POD_RESOURCES = "/var/lib/kubelet/pod-resources"
_EXCEPTIONS = {
    "llm-policies/hostpath": (
        "until 2027-11-30, owner llm-serving: the kubelet tells by a socket in this folder of the node which pod has "
        "which GPU; it is mounted read-only"
    ),
    "llm-policies/run-as-non-root": (
        "until 2027-11-30, owner llm-serving: that socket belongs to root, and DCGM refuses any other user"
    ),
}
_COUNTERS_FOLDER = "/etc/dcgm-exporter/llm-serving"
_COUNTERS_FILE = "counters.csv"


def dcgm_exporter(
    component: pulumi.ComponentResource, name: str, plan: DcgmPlan, *, monitoring_namespace: str
) -> k8s.apps.v1.DaemonSet:
    """Create it in kube-system, beside the device plugin.

    It needs a folder of the host, which Pod Security allows at the level `privileged` alone: in a namespace of its own
    with Prometheus and Grafana that one folder would open the whole namespace.
    """
    own = Application(component, name, dcgm.APP, namespace=SYSTEM_NAMESPACE)
    account = own.service_account()
    config_name, config = own.config_map({_COUNTERS_FILE: plan.counters})
    policy = own.network_policy(
        ingress=[
            {
                "from_": [pods_of(PROMETHEUS, namespace=monitoring_namespace)],
                "ports": [{"port": dcgm.PORT, "protocol": "TCP"}],
            }
        ]
    )
    return k8s.apps.v1.DaemonSet(
        own.name,
        metadata={**own.metadata(), "annotations": _EXCEPTIONS},
        spec={
            "selector": {"match_labels": own.selector},
            "template": {"metadata": {"labels": own.labels}, "spec": _pod(plan, config_name)},
        },
        opts=own.opts(account, config, policy),
    )


def _pod(plan: DcgmPlan, config_name: str) -> PodSpecArgsDict:
    pod: PodSpecArgsDict = {
        "service_account_name": dcgm.APP,
        "automount_service_account_token": False,
        "enable_service_links": False,
        # Without it there is no driver in the container: ERROR_LIBRARY_NOT_FOUND.
        "runtime_class_name": RUNTIME_CLASS,
        "node_selector": {GPU_PRESENT_LABEL: "true"},
        "tolerations": tolerations(plan.tolerations),
        # As root, but with none of its privileges: the kubelet's socket is root's, and DCGM refuses any other user.
        "security_context": {"run_as_user": 0, "run_as_group": 0, "seccomp_profile": {"type": "RuntimeDefault"}},
        "containers": [_container(plan)],
        "volumes": [
            {"name": "counters", "config_map": {"name": config_name}},
            # The kubelet tells there which pod has which GPU; without it no series says whose it is.
            {"name": "pod-resources", "host_path": {"path": _POD_RESOURCES, "type": "Directory"}},
            {"name": "tmp", "empty_dir": {}},
        ],
    }
    if plan.excluded_nodes:
        others: NodeSelectorRequirementArgsDict = {
            "key": "kubernetes.io/hostname",
            "operator": "NotIn",
            "values": list(plan.excluded_nodes),
        }
        pod["affinity"] = {
            "node_affinity": {
                "required_during_scheduling_ignored_during_execution": {
                    "node_selector_terms": [{"match_expressions": [others]}]
                }
            }
        }
    return pod


def _container(plan: DcgmPlan) -> ContainerArgsDict:
    return {
        "name": dcgm.APP,
        "image": plan.image,
        "args": ["-f", f"{_COUNTERS_FOLDER}/{_COUNTERS_FILE}"],
        "env": [
            *environment(
                {
                    "DCGM_EXPORTER_KUBERNETES": "true",
                    "DCGM_EXPORTER_LISTEN": f":{dcgm.PORT}",
                    "DCGM_EXPORTER_INTERVAL": str(plan.interval_milliseconds),
                    **({"KUBERNETES_VIRTUAL_GPUS": "true"} if plan.shares_gpus else {}),
                }
            ),
            {"name": "NODE_NAME", "value_from": {"field_ref": {"field_path": "spec.nodeName"}}},
        ],
        "ports": [{"name": dcgm.PORT_NAME, "container_port": dcgm.PORT}],
        "resources": {"requests": {"cpu": "50m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "readiness_probe": {"http_get": {"path": "/health", "port": dcgm.PORT_NAME}, "timeout_seconds": 5},
        "security_context": UNPRIVILEGED,
        "volume_mounts": [
            {"name": "counters", "mount_path": _COUNTERS_FOLDER, "read_only": True},
            {"name": "pod-resources", "mount_path": _POD_RESOURCES, "read_only": True},
            {"name": "tmp", "mount_path": "/tmp"},
        ],
    }
