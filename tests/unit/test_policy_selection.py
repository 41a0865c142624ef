"""Selectors over many workloads: each is asked of few, and finds what asking all would find."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import pytest
from judged import BY_NAME, findings
from llm_policies import attached_policies, ollama_host
from llm_policies.labels import of_pod
from llm_policies.objects import Object, Stack, of_pulumi
from llm_policies.selection import NOTHING, Meant, meant_by, meant_by_pairs, selected
from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS, Doubt, Value

UNKNOWN = sorted(UNKNOWNS)[0]
TYPES = ("apps/v1:Deployment", "apps/v1:DeploymentPatch", "apps/v1:StatefulSet", "batch/v1:Job", "core/v1:Pod")
VALUES = ("a", "b", "chat-0", UNKNOWN, {SIGNATURE: SECRET, "value": "a"}, 5, None)
KEYS = ("app", "tier", "job-name", "pod-template-hash", "statefulset.kubernetes.io/pod-name")


def labels_of(chance: random.Random) -> Any:
    return chance.choice(
        [None, UNKNOWN, "text", *[{key: chance.choice(VALUES) for key in chance.sample(KEYS, 2)} for _ in range(9)]]
    )


def workload(chance: random.Random) -> Object:
    metadata: dict[str, Any] = {"name": chance.choice(["chat", UNKNOWN])}
    metadata["namespace"] = chance.choice(["llm", "default", None, UNKNOWN])
    type_, labels = chance.choice(TYPES), labels_of(chance)
    if type_ == "core/v1:Pod":
        properties: dict[str, Any] = {"metadata": {**metadata, "labels": labels}}
    else:
        properties = {"metadata": metadata, "spec": {"template": {"metadata": {"labels": labels}}}}
    [item] = of_pulumi(f"kubernetes:{type_}", properties)
    return item


def asking_all(stack: Stack, namespace: str | None, meant: Meant) -> tuple[list[Object], list[str]]:
    found, doubts = [], []
    for item in stack.workloads():
        where = item.properties.get("metadata", "namespace")
        if namespace in (None, item.namespace) or where.is_unknown:
            try:
                if any(meant.by(of_pod(item, pod)) for pod in item.pods):
                    if namespace is not None:
                        where.text()
                    found.append(item)
            except Doubt as doubt:
                doubts.append(str(doubt))
    return found, doubts


@pytest.mark.parametrize("seed", range(20))
def test_few_are_asked_and_the_same_found(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  # no secret
    stack = Stack(objects=[workload(chance) for _ in range(40)])
    for _ in range(40):
        pairs = {key: chance.choice(VALUES) for key in chance.sample(KEYS, chance.randint(0, 2))}
        by_selector = Value({"matchLabels": chance.choice([pairs, None]), "matchExpressions": []}, "spec.selector")
        for meant in (meant_by_pairs(Value(pairs, "spec.selector")), meant_by(by_selector)):
            for namespace in ("llm", "default", None):
                found, doubts = selected(stack, namespace, meant)
                assert ([item for item, _ in found], [str(d) for d in doubts]) == asking_all(stack, namespace, meant)


def test_nothing_selects_nothing() -> None:
    stack = Stack(objects=of_pulumi("kubernetes:core/v1:Pod", {"metadata": {"labels": {}}}))
    assert selected(stack, None, NOTHING) == ([], [])


def test_as_many_services_as_workloads_ask_each_but_their_own() -> None:
    asked = 0

    def counted(labels: Value) -> bool:
        nonlocal asked
        asked += 1
        return labels.get("app").text() == name

    stack = Stack(
        objects=[
            item
            for number in range(100)
            for item in of_pulumi(
                "kubernetes:core/v1:Pod", {"metadata": {"labels": {"app": f"chat-{number}", "part-of": "llm"}}}
            )
        ]
    )
    for number in range(100):
        name = f"chat-{number}"
        found, _ = selected(stack, "default", Meant(counted, Value({"part-of": "llm", "app": name})))
        assert len(found) == 1
    assert asked == 100


def test_a_budget_without_a_selector_is_one_of_none() -> None:
    objects = [
        *of_pulumi("kubernetes:core/v1:Pod", {"metadata": {"labels": {"app": "a"}}}),
        *of_pulumi("kubernetes:policy/v1:PodDisruptionBudget", {"metadata": {"name": "a"}, "spec": {}}),
    ]
    [found] = findings(BY_NAME["dangling-selector"], objects)
    assert "selects nothing" in found.message


def many(count: int) -> list[Object]:
    """Servers of Ollama behind proxies, each with its Service, its route, and a policy for that."""
    containers = [
        {"name": "ollama", "image": "ollama/ollama:0.32.15", "env": [{"name": "OLLAMA_HOST", "value": "127.0.0.1"}]},
        {"name": "proxy", "image": "nginx:1.29.1", "ports": [{"containerPort": 80}]},
    ]
    found = []
    for name in (f"chat-{number}" for number in range(count)):
        metadata, labels = {"name": name}, {"app": name}
        backends = [{"name": name, "port": 11434}]
        policy = {"targetRef": {"kind": "HTTPRoute", "name": name}, "jwt": {"providers": []}}
        for kind, properties in (
            ("core/v1:Pod", {"metadata": {**metadata, "labels": labels}, "spec": {"containers": containers}}),
            ("core/v1:Service", {"metadata": metadata, "spec": {"selector": labels, "ports": [{"port": 11434}]}}),
            ("gateway.networking.k8s.io/v1:HTTPRoute", {"spec": {"rules": [{"backendRefs": backends}]}}),
            ("gateway.envoyproxy.io/v1alpha1:SecurityPolicy", {"spec": policy}),
        ):
            found += of_pulumi(f"kubernetes:{kind}", {"metadata": metadata, **properties})
    return found


@pytest.mark.parametrize(
    ("rule", "module", "name"),
    [("ollama-host", ollama_host, "_asks"), ("public-api-no-key", attached_policies, "_places")],
)
def test_each_is_read_once_however_many_ask(
    rule: str, module: ModuleType, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    own = getattr(module, name)

    def counted(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        return own(*arguments)

    monkeypatch.setattr(module, name, counted)
    findings(BY_NAME[rule], many(30))
    assert asked == 30
