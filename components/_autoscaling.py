"""Autoscalers: how many pods each server has, by the requests that run."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes as k8s
from pulumi_kubernetes.autoscaling.v2 import MetricIdentifierArgsDict, MetricTargetArgsDict

from components._labels import metadata
from planning.autoscaling import AutoscalePlan
from planning.metrics_adapter import RUNNING_REQUESTS_METRIC


def autoscaler(
    component: pulumi.ComponentResource,
    name: str,
    plan: AutoscalePlan,
    *,
    server: str,
    service_name: pulumi.Output[str],
    namespace: str,
    api: pulumi.Resource,
) -> k8s.autoscaling.v2.HorizontalPodAutoscaler:
    """Create the HorizontalPodAutoscaler of one server.

    Args:
        component: parent.
        name: Pulumi name of the component.
        plan: bounds, target and windows.
        server: name of the server's Deployment.
        service_name: the same name, known once the model answers: until then its load says nothing.
        namespace: of the server.
        api: what serves the metric.
    """
    metric: MetricIdentifierArgsDict = {"name": RUNNING_REQUESTS_METRIC}
    target: MetricTargetArgsDict = {"type": "AverageValue", "average_value": str(plan.running_requests)}
    return k8s.autoscaling.v2.HorizontalPodAutoscaler(
        f"{name}-{server}",
        metadata=metadata("vllm", server, namespace=namespace),
        spec={
            "scale_target_ref": {"api_version": "apps/v1", "kind": "Deployment", "name": service_name},
            "min_replicas": plan.min_replicas,
            "max_replicas": plan.max_replicas,
            "metrics": [{"type": "Pods", "pods": {"metric": metric, "target": target}}],
            "behavior": {
                "scale_up": {"stabilization_window_seconds": plan.scale_up_window_seconds},
                "scale_down": {"stabilization_window_seconds": plan.scale_down_window_seconds},
            },
        },
        opts=pulumi.ResourceOptions(parent=component, depends_on=[api]),
    )
