"""GpuRuntime: what a cluster needs before a pod can ask for a GPU."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import pulumi
import pulumi_kubernetes as k8s

from components._labels import labels, metadata, selector_labels
from components._pod import RUNTIME_CLASS, UNPRIVILEGED, tolerations
from planning.gpu_runtime import DevicePluginPlan
from planning.nodes import GPU_PRESENT_LABEL, TIME_SLICES_LABEL

__all__ = ["GpuRuntime"]

_APP = "nvidia-device-plugin"
_NAMESPACE = "kube-system"
_KUBELET_PLUGINS = "/var/lib/kubelet/device-plugins"
_EXCEPTIONS = {
    "llm-policies/hostpath": (
        "until 2027-11-30, owner llm-serving: the kubelet listens for device plugins in this folder of the node, and "
        "looks for their own sockets there"
    ),
    "llm-policies/run-as-non-root": (
        "until 2027-11-30, owner llm-serving: that folder and the kubelet's socket in it belong to root"
    ),
}


class GpuRuntime(pulumi.ComponentResource):
    """Once a cluster: a RuntimeClass and NVIDIA's device plugin.

    Creates one DaemonSet for each way in which nodes share their GPUs, on the nodes labelled so. Deliberately does not
    install drivers or the container toolkit: those are the host's.
    """

    def __init__(
        self, name: str, plugins: Sequence[DevicePluginPlan], *, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Create the runtime; `plugins` is one plan for each number of time slices."""
        super().__init__("llm:index:GpuRuntime", name, None, opts)
        runtime_class = k8s.node.v1.RuntimeClass(
            name,
            metadata=metadata("gpu-runtime", RUNTIME_CLASS, namespace=None),
            handler="nvidia",
            opts=pulumi.ResourceOptions(parent=self),
        )
        for plugin in plugins:
            self._device_plugin(name, plugin, runtime_class)
        self.register_outputs({})

    def _device_plugin(self, name: str, plugin: DevicePluginPlan, runtime_class: pulumi.Resource) -> None:
        instance = f"{_APP}-slices-{plugin.time_slices}"
        selector = selector_labels(_APP, instance)
        meta = metadata(_APP, instance, namespace=_NAMESPACE)
        config = k8s.core.v1.ConfigMap(
            f"{name}-slices-{plugin.time_slices}",
            # Named after its content: the pods then follow a change, which they would not notice in a mounted file.
            metadata=metadata(_APP, instance, namespace=_NAMESPACE, name=f"{instance}-{_content_key(plugin.config)}"),
            data={"config.yaml": plugin.config},
            opts=pulumi.ResourceOptions(parent=self),
        )
        k8s.apps.v1.DaemonSet(
            f"{name}-slices-{plugin.time_slices}",
            metadata={**meta, "annotations": _EXCEPTIONS},
            spec={
                "selector": {"match_labels": selector},
                # The kubelet writes what a plugin has registered into the node's status within 10 seconds.
                "min_ready_seconds": 15,
                "template": {
                    "metadata": {"labels": labels(_APP, instance)},
                    "spec": {
                        "priority_class_name": "system-node-critical",
                        "runtime_class_name": RUNTIME_CLASS,
                        "automount_service_account_token": False,
                        "node_selector": {GPU_PRESENT_LABEL: "true", TIME_SLICES_LABEL: str(plugin.time_slices)},
                        "tolerations": tolerations(plugin.tolerations),
                        "security_context": {"seccomp_profile": {"type": "RuntimeDefault"}},
                        "containers": [
                            {
                                "name": _APP,
                                "image": plugin.image,
                                "env": [{"name": "CONFIG_FILE", "value": "/config/config.yaml"}],
                                "resources": {
                                    "requests": {"cpu": "10m", "memory": "64Mi"},
                                    "limits": {"memory": "256Mi"},
                                },
                                # Runs as root: the kubelet's sockets belong to root.
                                "security_context": UNPRIVILEGED,
                                "volume_mounts": [
                                    {"name": "config", "mount_path": "/config", "read_only": True},
                                    {"name": "device-plugins", "mount_path": _KUBELET_PLUGINS},
                                ],
                            }
                        ],
                        "volumes": [
                            {
                                "name": "config",
                                "config_map": {"name": config.metadata.apply(lambda m: str(m["name"]))},
                            },
                            # The kubelet listens for device plugins in this folder of the host, and nowhere else.
                            {"name": "device-plugins", "host_path": {"path": _KUBELET_PLUGINS}},
                        ],
                    },
                },
            },
            opts=pulumi.ResourceOptions(parent=self, depends_on=[config, runtime_class]),
        )


def _content_key(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
