"""GpuNode: a node of the cluster that models are placed on."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s

from planning.nodes import NodePlan

__all__ = ["GpuNode"]


class GpuNode(pulumi.ComponentResource):
    """A node that is already in the cluster, told what it is.

    Patches the node's labels. Deliberately does not prepare the host (driver, container toolkit, k3s).
    """

    def __init__(self, name: str, plan: NodePlan, *, opts: pulumi.ResourceOptions | None = None) -> None:
        """Label the node; `plan` says which it is."""
        super().__init__("llm:index:GpuNode", name, None, opts)
        k8s.core.v1.NodePatch(
            name,
            metadata={"name": plan.name, "labels": plan.labels},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs({})
