"""What rules say of patches, which leave to others what they do not say; manifests have none."""

from __future__ import annotations

import pytest
from judged import BY_NAME, findings
from llm_policies.objects import of_pulumi
from on_mocks import Raw

BUDGET = "kubernetes:policy/v1:PodDisruptionBudgetPatch"
DEPLOYMENT = "kubernetes:apps/v1:DeploymentPatch"
SERVER: Raw = {"containers": [{"name": "vllm", "image": "vllm/vllm-openai:v0.33.0"}]}


def said(rule: str, resource_type: str, spec: Raw) -> list[str]:
    patch = {"metadata": {"name": "chat"}, "spec": spec}
    return [f.message for f in findings(BY_NAME[rule], of_pulumi(resource_type, patch))]


@pytest.mark.parametrize(
    ("spec", "blocks"),
    [
        ({"minAvailable": "100%"}, True),
        ({"maxUnavailable": 0.0}, True),
        ({"minAvailable": "50%"}, False),
        ({"maxUnavailable": 1.0}, False),
        ({"selector": {}}, False),
    ],
)
def test_each_number_of_a_budget_is_judged_for_itself(spec: Raw, blocks: bool) -> None:
    message = "PDB 'chat' allows 0 evictions: kubectl drain of the GPU node never ends. Use maxUnavailable: 1."
    assert said("pdb-blocks-drain", BUDGET, spec) == [message] * blocks


def test_pods_whose_labels_are_left_out_may_have_a_network_policy_elsewhere() -> None:
    assert said("network-policy", DEPLOYMENT, {"template": {"spec": SERVER}}) == []
    assert said("network-policy", DEPLOYMENT, {"template": {"metadata": {}, "spec": SERVER}}) == []
    assert said("network-policy", DEPLOYMENT, {"template": {"metadata": {"labels": {"app": "a"}}, "spec": SERVER}}) == [
        "no NetworkPolicy selects 'chat'; any pod can call the model API, past keys and limits of the edge. Add one "
        "that lets the gateway in."
    ]


@pytest.mark.parametrize(
    ("rule", "limits", "says"),
    [
        ("gpu-count-matches-parallelism", {"nvidia.com/gpu": 1.0}, "asks for 1 GPU but TP 4"),
        ("gpu-request-equals-limit", {"nvidia.com/gpu": "0.5"}, "GPUs are whole"),
        ("gpu-request-equals-limit", {"nvidia.com/gpu": 1.0, "amd.com/gpu": 1.0}, "no node has both"),
        ("gpu-request-equals-limit", {"nvidia.com/gpu": 1.0}, ""),
    ],
)
def test_gpus_are_judged_by_limits_alone(rule: str, limits: Raw, says: str) -> None:
    server = {**SERVER["containers"][0], "args": ["m", "-tp=4"], "resources": {"limits": limits}}
    found = said(rule, DEPLOYMENT, {"template": {"spec": {"containers": [server]}}})
    assert [says in message for message in found] == [True] * bool(says)
