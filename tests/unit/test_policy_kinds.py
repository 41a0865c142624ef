"""Which kinds are passed over with a word: those that no rule reads, whatever they are called."""

from __future__ import annotations

import pytest
from checked import found_in
from judged import BY_NAME, cases_of, documents, findings, objects_of
from llm_policies import kinds
from llm_policies.objects import Object, Stack

from cli.policy_kinds import READ


@pytest.mark.parametrize(
    ("version", "kind", "told"),
    [
        ("kubeai.org/v1", "Model", ["Model (kubeai.org)"]),
        ("serving.knative.dev/v1", "Service", ["Service (serving.knative.dev)"]),
        ("batch.volcano.sh/v1alpha1", "Job", ["Job (batch.volcano.sh)"]),
        ("networking.internal.knative.dev/v1alpha1", "Ingress", ["Ingress (networking.internal.knative.dev)"]),
        ("networking.istio.io/v1", "Gateway", ["Gateway (networking.istio.io)"]),
        ("gateway.networking.k8s.io/v1", "GRPCRoute", ["GRPCRoute (gateway.networking.k8s.io)"]),
        ("keda.sh/v1alpha1", "ScaledJob", ["ScaledJob (keda.sh)"]),
        ("cilium.io/v2", "CiliumNetworkPolicy", []),
        ("projectcalico.org/v3", "NetworkPolicy", []),
        ("traefik.io/v1alpha1", "Middleware", []),
        ("gateway.networking.k8s.io/v1", "HTTPRoute", []),
        ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet", []),
        ("networking.k8s.io/v1", "Ingress", []),
        ("rbac.authorization.k8s.io/v1", "Role", []),
        ("apps/v1", "ControllerRevision", []),
        ("v1", "Endpoints", []),
    ],
)
def test_what_no_rule_reads_is_told(version: str, kind: str, told: list[str]) -> None:
    checked = found_in(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{}}\n", rules="privileged")
    assert checked.passed_over == told
    assert checked.exit_code("warn") == 0


def test_the_kinds_that_rules_read_are_those_that_they_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As their cases make them: a kind that a rule begins to read is no longer passed over."""
    asked = {kind for rule in BY_NAME.values() for kind in rule.kinds or ()}
    of = Stack.of

    def recorded(stack: Stack, *wanted: str) -> list[Object]:
        asked.update(wanted)
        return of(stack, *wanted)

    monkeypatch.setattr(Stack, "of", recorded)
    for rule in BY_NAME.values():
        if rule.of_stack is not None:
            for case in cases_of(rule.name):
                findings(rule, objects_of(case.objects, pulumi=False), case.settings, case.pools)
            findings(rule, objects_of(documents(rule.good), pulumi=False))
    read = {(group, kind) for group, of_group in READ.items() for kind in of_group}
    assert asked == {kind for _, kind in read}
    assert {(group, kind) for kind, groups in kinds._GROUPS.items() for group in groups} <= read


@pytest.mark.parametrize(
    ("version", "kind", "why"),
    [
        ("apps/v1", "Deploymnt", "there is no Deploymnt in apps/v1, {}Is Deployment of apps/... meant?"),
        ("apps/v1", "Statefulset", "there is no Statefulset in apps/v1, {}Is StatefulSet of apps/... meant?"),
        ("v1", "Deployment", "there is no Deployment in v1, {}Is Deployment of apps/... meant?"),
        ("apps/v1", "Service", "there is no Service in apps/v1, {}Is Service of v1 meant?"),
        (
            "networking.k8s.io/v1",
            "NetworkPolicies",
            "there is no NetworkPolicies in networking.k8s.io/v1, {}Is NetworkPolicy of networking.k8s.io/... meant?",
        ),
        ("v1", "PersistentVolume", None),
        ("v1", "Endpoints", None),
        ("storage.k8s.io/v1", "StorageClass", None),
        ("example.com/v1", "Deploymnt", None),
        ("extensions/v1beta1", "Ingress", None),
        ("apps/v1", "Deployment", None),
    ],
)
def test_a_kind_that_there_is_not_is_told(version: str, kind: str, why: str | None) -> None:
    """A rule that never looks at it would find nothing, and the check would be green."""
    checked = found_in(f"apiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n", rules="privileged")
    told = [] if why is None else ["a.yaml:1: " + why.format("so kubectl refuses it. ")]
    assert [str(problem) for problem in checked.unreadable] == told
    assert len(checked.objects) == 1 - len(told)
    assert checked.exit_code("never") == 2 * len(told)
