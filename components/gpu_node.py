"""GpuNode and AdvertisedGpus: a node of the cluster that models are placed on, and whether it has what is planned."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s

from components.gpu_host import run_on
from planning.gpu_runtime import GPU_RESOURCE
from planning.nodes import PLANNED_GPUS_ANNOTATION, NodePlan

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
    """What the node advertises, looked at when the device plugin runs: at first, when the plan changes, on a refresh.

    Notes the planned number on the node, and so gets the node as it then is. Not by reading it: that would fail the
    preview of a cluster that is not there yet or out of reach.
    """

    verified: pulumi.Input[pulumi.Resource]
    """This component, once the node has the GPUs that are planned; what needs them depends on it."""

    def __init__(self, name: str, plan: NodePlan, *, opts: pulumi.ResourceOptions | None = None) -> None:
        """Look at the node that `plan` names; `opts` must say what it comes after.

        Raises:
            pulumi.RunError: in `verified`, and with it the deployment fails, where the numbers differ.
        """
        super().__init__("llm:index:AdvertisedGpus", name, None, opts)
        node = k8s.core.v1.NodePatch(
            f"{name}-advertised",
            metadata={"name": plan.name, "annotations": {PLANNED_GPUS_ANNOTATION: str(plan.allocatable_gpus)}},
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.verified = self
        if not pulumi.runtime.is_dry_run():  # in a preview, the device plugin does not run yet
            self.verified = node.status.apply(
                lambda status: self._checked(plan, (status and status.allocatable) or {})  # a node that has never run
            )
        self.register_outputs({})

    def _checked(self, plan: NodePlan, allocatable: Mapping[str, str]) -> pulumi.Resource:
        found, wanted = int(allocatable.get(GPU_RESOURCE, "0")), plan.allocatable_gpus
        if found != wanted:
            sliced = f" ({plan.gpus} of {plan.gpu_model} in {plan.time_slices} slices each)"
            raise pulumi.RunError(
                f"nodes.{plan.name}: {wanted} {GPU_RESOURCE} are planned{sliced if plan.time_slices > 1 else ''}, and "
                f"the node advertises {found}, so pods would stay Pending, or cards idle. Correct nodes.{plan.name}."
                "gpus.count; or look at nvidia-smi on the node and at the log of its nvidia-device-plugin pod in "
                "kube-system, and then run `pulumi up --refresh`, which counts again."
            )
        return self
