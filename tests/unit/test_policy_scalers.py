"""What the policy pack reads of autoscaled workloads that a manifest cannot say."""

from __future__ import annotations

import pytest
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
