"""GpuNode and AdvertisedGpus: a node of the cluster that models are placed on, and whether it has what is planned."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s

from components.gpu_host import run_on
from planning.gpu_runtime import GPU_RESOURCE
from planning.nodes import NodePlan

__all__ = ["AdvertisedGpus", "GpuNode"]


class GpuNode(pulumi.ComponentResource):
    """A node that is in the cluster, told what it is: its labels, and its taint where the plan has one.

    Deliberately does not prepare the host, which GpuHost does, and does not own the Node: it outlives the stack.
    """

    def __init__(self, name: str, plan: NodePlan, *, opts: pulumi.ResourceOptions | None = None) -> None:
        """Label and taint the node; `plan` says which it is."""
        super().__init__("llm:index:GpuNode", name, None, opts)
        labelled = k8s.core.v1.NodePatch(
            name,
            metadata={"name": plan.name, "labels": plan.labels},
            opts=pulumi.ResourceOptions(parent=self),
        )
        if plan.taint is not None:
            run_on(
                plan.taint.ssh,
                f"{name}-taint",
                create=plan.taint.add,
                delete=plan.taint.remove,
                opts=pulumi.ResourceOptions(parent=self, depends_on=[labelled]),
            )
        self.register_outputs({})


class AdvertisedGpus(pulumi.ComponentResource):
    """What the node advertises, read at every `pulumi up` once the device plugin runs.

    Creates nothing. A preview does not read it: the node may not be there yet, and its GPUs not yet be advertised.
    """

    verified: pulumi.Input[pulumi.Resource]
    """This component, once the node has the GPUs that are planned; what needs them depends on it."""

    def __init__(self, name: str, plan: NodePlan, *, opts: pulumi.ResourceOptions | None = None) -> None:
        """Read the node that `plan` names; `opts` must say what it comes after.

        Raises:
            pulumi.RunError: in `verified`, and with it the deployment fails, where the numbers differ.
        """
        super().__init__("llm:index:AdvertisedGpus", name, None, opts)
        self.verified = self
        if not pulumi.runtime.is_dry_run():
            node = k8s.core.v1.Node.get(f"{name}-advertised", plan.name, opts=pulumi.ResourceOptions(parent=self))
            self.verified = node.status.apply(
                lambda status: self._checked(plan, (status and status.allocatable) or {})  # a node that has never run
            )
        self.register_outputs({})

    def _checked(self, plan: NodePlan, allocatable: Mapping[str, str]) -> pulumi.Resource:
        found, wanted = int(allocatable.get(GPU_RESOURCE, "0")), plan.allocatable_gpus
        if found != wanted:
            sliced = f" of {plan.gpus} cards in {plan.time_slices} slices" if plan.time_slices > 1 else ""
            raise pulumi.RunError(
                f"nodes.{plan.name}: {wanted} {GPU_RESOURCE} are planned{sliced}, and the node advertises {found}, so "
                f"pods would stay Pending, or cards idle. Correct nodes.{plan.name}.gpus.count; or look at nvidia-smi "
                "on the node and at the log of its nvidia-device-plugin pod in kube-system, and deploy again."
            )
        return self
