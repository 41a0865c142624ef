"""What the policy pack reads of autoscaled workloads that a manifest cannot say."""

from __future__ import annotations

import pytest
from judged import BY_NAME, findings
from llm_policies.objects import of_pulumi
from llm_policies.scalers import written_replicas


@pytest.mark.parametrize(
    ("ignored", "is_written"),
    [
        ([], True),
        (["metadata", "spec.template", "spec.replicasets"], True),
        (["spec.replicas"], False),
        (['spec["replicas"]'], False),
        (["spec['replicas']"], False),
        (["spec"], False),
        (["spec.*"], False),
        (["*"], False),
    ],
)
def test_a_number_whose_changes_are_ignored_is_left_to_the_autoscaler(ignored: list[str], is_written: bool) -> None:
    [item] = of_pulumi("kubernetes:apps/v1:Deployment", {"spec": {"replicas": 2.0}}, ignores_changes=ignored)
    assert written_replicas(item).exists is is_written


def test_pods_that_an_autoscaler_may_take_away_do_not_go_before_their_successors() -> None:
    """Four are written, and Pulumi leaves the number to the autoscaler, which comes down to one."""
    server = {"containers": [{"name": "vllm", "resources": {"limits": {"nvidia.com/gpu": 1.0}}}]}
    metadata = {"name": "chat", "namespace": "llm"}
    [deployment] = of_pulumi(
        "kubernetes:apps/v1:Deployment",
        {"metadata": metadata, "spec": {"replicas": 4.0, "template": {"spec": server}}},
        ignores_changes=["spec.replicas"],
    )
    scaler = {"scaleTargetRef": {"kind": "Deployment", "name": "chat"}, "maxReplicas": 4.0}
    [hpa] = of_pulumi(
        "kubernetes:autoscaling/v2:HorizontalPodAutoscaler",
        {"metadata": metadata, "spec": {**scaler, "minReplicas": 1.0}},
    )
    rule = BY_NAME["gpu-rollout-deadlock"]
    assert [f.item.kind for f in findings(rule, [deployment, hpa], pools={"a": {"gpus": 1}})] == ["Deployment"]
    assert findings(rule, [deployment], pools={"a": {"gpus": 4}}) == []
    assert findings(rule, [deployment]) == []
