"""The pod that every engine runs in: unprivileged, on a GPU node, with its volumes and its way to end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pulumi
from pulumi_kubernetes.core.v1 import (
    ContainerArgsDict,
    EnvVarArgsDict,
    NodeAffinityArgsDict,
    PodSpecArgsDict,
    SecurityContextArgsDict,
    TolerationArgsDict,
    VolumeArgsDict,
    VolumeMountArgsDict,
)

from planning.gpu_runtime import GPU_RESOURCE
from planning.memory import MIB
from planning.nodes import GPU_MODEL_LABEL, TIME_SLICES_LABEL
from planning.plan import ServerPlan
from planning.pods import Toleration

RUNTIME_CLASS = "llm-nvidia"
"""A class of our own for the handler `nvidia`: k3s ships one named `nvidia` itself, so creating that would conflict."""

USER_ID = 2000
"""The user that vLLM's image is made for; Ollama's has none and takes any."""

UNPRIVILEGED: SecurityContextArgsDict = {
    "allow_privilege_escalation": False,
    "capabilities": {"drop": ["ALL"]},
    "read_only_root_filesystem": True,
}

TOLERATIONS: list[TolerationArgsDict] = [{"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}]
"""GPU nodes are often tainted so, to keep other pods away."""


def mebibytes(size_bytes: int) -> str:
    """`size_bytes` as a Kubernetes quantity, rounded up to whole Mi."""
    return f"{-(-size_bytes // MIB)}Mi"


def literal(text: str) -> str:
    """`text` as an argument or a variable of a container, where Kubernetes replaces `$(NAME)` and shortens `$$`."""
    return re.sub(r"\$(?=[$(])", "$$", text)


def environment(variables: Mapping[str, str]) -> list[EnvVarArgsDict]:
    """Container environment in a stable order."""
    return [{"name": name, "value": literal(value)} for name, value in sorted(variables.items())]


def pod_spec(
    containers: Sequence[ContainerArgsDict],
    *,
    service_account: pulumi.Input[str],
    volumes: Sequence[VolumeArgsDict],
    image_pull_secrets: Sequence[str] = (),
) -> PodSpecArgsDict:
    """A pod that meets Pod Security's level `restricted`; GPUs come by `gpu_pod_spec`."""
    spec: PodSpecArgsDict = {
        "service_account_name": service_account,
        "automount_service_account_token": False,
        # A Service named vllm would otherwise inject VLLM_PORT=tcp://..., which vLLM refuses at start.
        "enable_service_links": False,
        "security_context": {
            "run_as_non_root": True,
            "run_as_user": USER_ID,
            "run_as_group": 0,
            "fs_group": 0,
            # Changing the owner of a large model cache file by file would delay each start by minutes.
            "fs_group_change_policy": "OnRootMismatch",
            "seccomp_profile": {"type": "RuntimeDefault"},
        },
        "containers": list(containers),
        "volumes": [*volumes, {"name": "tmp", "empty_dir": {}}],
    }
    if image_pull_secrets:
        spec["image_pull_secrets"] = [{"name": name} for name in image_pull_secrets]
    return spec


def gpu_pod_spec(
    plan: ServerPlan,
    container: ContainerArgsDict,
    *,
    service_account: pulumi.Input[str],
    volumes: Sequence[VolumeArgsDict],
) -> PodSpecArgsDict:
    """The pod of a server: `container` with its GPUs, where the plan puts it."""
    pod = pod_spec(
        [container],
        service_account=service_account,
        volumes=volumes,
        image_pull_secrets=plan.scheduling.image_pull_secrets,
    )
    return {
        **on_gpu_node(plan, pod),
        "runtime_class_name": RUNTIME_CLASS,
        "termination_grace_period_seconds": plan.shutdown.grace_period_seconds,
    }


def on_gpu_node(plan: ServerPlan, pod: PodSpecArgsDict) -> PodSpecArgsDict:
    """`pod`, brought to a node of the server, and to no other."""
    where = plan.scheduling
    spec: PodSpecArgsDict = {
        **pod,
        "affinity": {"node_affinity": node_affinity(plan)},
        "tolerations": tolerations(where.tolerations),
    }
    if where.node_selector:
        spec["node_selector"] = where.node_selector
    if where.priority_class is not None:
        spec["priority_class_name"] = where.priority_class
    return spec


def tolerations(others: Sequence[Toleration]) -> list[TolerationArgsDict]:
    """The taint of GPU nodes, and those of others that are named: just these, by value."""
    named: list[TolerationArgsDict] = [
        {"key": taint.key, "operator": "Equal", "value": taint.value, "effect": taint.effect} for taint in others
    ]
    return [*TOLERATIONS, *named]


def node_affinity(plan: ServerPlan) -> NodeAffinityArgsDict:
    """The GPU or slice that the plan counted with is required; the node only preferred, as one may be lost."""
    kind = {GPU_MODEL_LABEL: plan.gpu_model, TIME_SLICES_LABEL: str(plan.time_slices)}
    return {
        "required_during_scheduling_ignored_during_execution": {
            "node_selector_terms": [
                {
                    "match_expressions": [
                        {"key": key, "operator": "In", "values": [value]} for key, value in kind.items()
                    ]
                }
            ]
        },
        "preferred_during_scheduling_ignored_during_execution": [
            {
                "weight": 100,
                "preference": {
                    "match_expressions": [
                        {"key": "kubernetes.io/hostname", "operator": "In", "values": sorted(set(plan.nodes))}
                    ]
                },
            }
        ],
    }


def server_container(
    plan: ServerPlan,
    *,
    name: str,
    port: int,
    mounts: Sequence[VolumeMountArgsDict],
) -> ContainerArgsDict:
    """What the serving containers of all engines share; the caller adds arguments and probes."""
    return {
        "name": name,
        "image": plan.image,
        "env": environment(plan.environment),
        "ports": [{"name": "http", "container_port": port}],
        "resources": {
            # No CPU limit: throttling would slow every request, and the request already shares the CPU out.
            "requests": {
                "cpu": f"{plan.scheduling.cpu_millicores}m",
                "memory": mebibytes(plan.host_memory.request_bytes),
                GPU_RESOURCE: str(plan.gpus),
            },
            "limits": {"memory": mebibytes(plan.host_memory.limit_bytes), GPU_RESOURCE: str(plan.gpus)},
        },
        "lifecycle": {"pre_stop": {"sleep": {"seconds": plan.shutdown.pre_stop_seconds}}},
        "security_context": UNPRIVILEGED,
        # The real path: the file systems of engines are read-only, and /tmp is a volume of the pod.
        "volume_mounts": [*mounts, {"name": "tmp", "mount_path": "/tmp"}],
    }
