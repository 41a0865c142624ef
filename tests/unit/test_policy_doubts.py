"""What cannot be judged: it is told where it is, once, and with every rule that waits for it."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from checked import found_in
from judged import BY_NAME, TODAY
from llm_policies.analyzer import Analyzer
from llm_policies.environment import Environment, read_environment
from llm_policies.judging import Finding, joined, judge, judge_stack
from llm_policies.objects import Stack, of_manifest
from llm_policies.pack import RULES
from llm_policies.values import UNKNOWNS
from on_mocks import Raw
from pulumi.runtime.proto import analyzer_pb2

UNKNOWN = sorted(UNKNOWNS)[0]


def deployment(image: object = "vllm/vllm-openai:v0.33.0", ports: object = None, namespace: str = "llm") -> Raw:
    """A server without a key; `ports` as they are written."""
    container = {"name": "vllm", "image": image, "args": ["org/model"], "ports": ports}
    template = {"metadata": {"labels": {"app": "chat"}}, "spec": {"containers": [container]}}
    metadata = {"name": "chat", "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": template}}


def service(name: str, namespace: str = "llm") -> Raw:
    """What opens the server to everyone, by a name of the container's port."""
    spec = {"type": "LoadBalancer", "selector": {"app": "chat"}, "ports": [{"port": 80, "targetPort": "http"}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": spec}


def of_rule(rule: str, manifests: Sequence[Raw], environment: Environment | None = None) -> list[tuple[str, str, str]]:
    """Object, verdict and level of what a rule says of a stack."""
    objects = [item for manifest in manifests for item in of_manifest(manifest)]
    found = judge_stack([BY_NAME[rule]], Stack(objects=objects), environment or Environment(), today=TODAY)
    return [(finding.item.id, finding.verdict, finding.level) for finding in found]


AT_THE_SERVER = ("Deployment/llm/chat", "undecided", "advisory")


def test_what_several_objects_lead_to_is_told_once_and_of_what_has_it() -> None:
    stack = [deployment(image=UNKNOWN), service("a"), service("b")]
    assert of_rule("public-api-no-key", stack) == [AT_THE_SERVER]


def test_it_stands_on_its_own_line_in_a_manifest() -> None:
    text = """\
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {type: LoadBalancer, selector: {app: chat}, ports: [{port: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: chat, labels: {app: chat}}
spec:
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
    env:
    - name: VLLM_API_KEY
      value: 5
"""
    [found] = found_in(text, rules="public-api-no-key").findings
    assert (found.finding.item.id, found.line) == ("Pod/default/chat", 15)
    assert found.finding.message.startswith("cannot be judged: spec.containers[0].env[0].value is ")


IN_WEB: Raw = {"namespaces": {"web": {"public-api-no-key": "disabled"}}}
IN_LLM: Raw = {"namespaces": {"llm": {"public-api-no-key": "disabled"}}}


@pytest.mark.parametrize(("levels", "told"), [(IN_WEB, []), (IN_LLM, [AT_THE_SERVER])], ids=["judged", "in doubt"])
def test_the_level_is_that_of_what_is_judged(levels: Raw, told: list[tuple[str, str, str]]) -> None:
    """A rule that is disabled where the route is says nothing of it, wherever that leads to."""
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "edge", "namespace": "web"},
        "spec": {"rules": [{"backendRefs": [{"name": "chat", "namespace": "llm", "port": 80}]}]},
    }
    inner = service("chat")
    inner["spec"]["type"] = "ClusterIP"
    environment = read_environment(levels, RULES)
    assert of_rule("public-api-no-key", [deployment(image=UNKNOWN), inner, route], environment) == told


def test_an_exception_is_of_the_object_that_is_named() -> None:
    said = {"rule": "public-api-no-key", "reason": "it is mended next week", "owner": "ops", "until": "2027-06-30"}
    stack = [deployment(), service("a")]
    stack[0]["spec"]["template"]["spec"]["containers"][0]["env"] = [{"name": "VLLM_API_KEY", "value": 5}]
    verdicts = {
        pattern: of_rule(
            "public-api-no-key", stack, read_environment({"exceptions": [said | {"object": pattern}]}, RULES)
        )
        for pattern in ("Deployment/llm/chat", "Service/llm/a")
    }
    assert verdicts == {
        "Deployment/llm/chat": [("Deployment/llm/chat", "excepted", "advisory")],
        "Service/llm/a": [("Deployment/llm/chat", "violation", "mandatory")],
    }


def all_of(manifests: Sequence[Raw]) -> list[Finding]:
    """What all rules say, of single objects and then of all."""
    objects = [item for manifest in manifests for item in of_manifest(manifest)]
    alone = judge(RULES, objects, Environment(), today=TODAY)
    return [*alone, *judge_stack(RULES, Stack(objects=objects), Environment(), today=TODAY)]


def test_no_rule_tells_of_an_object_alone_and_among_others_the_same() -> None:
    of_one = [f for f in all_of([deployment(image=UNKNOWN)]) if f.rule.name == "gpu-memory-utilization"]
    assert [finding.verdict for finding in of_one] == ["undecided"]


def test_several_rules_wait_for_one_thing_that_is_not_known() -> None:
    found = all_of([deployment(image=UNKNOWN)])
    waiting = [f.rule.name for f in found if f.verdict == "undecided"]
    assert len(waiting) > 10
    told = list(joined(found))
    [one] = [f for f in told if f.verdict == "undecided"]
    assert one.rule.name == waiting[0]
    assert one.message == (
        "cannot be decided yet: spec.template.spec.containers[0].image is known after the deployment only. "
        f"{len(waiting)} rules wait for it: {', '.join(waiting)}."
    )
    assert [f for f in told if f is not one] == [f for f in found if f.verdict != "undecided"]


def test_what_one_rule_waits_for_and_what_is_wrong_stays_as_it_is() -> None:
    objects = [*of_manifest(deployment(image=UNKNOWN)), *of_manifest(deployment(image=UNKNOWN, namespace="other"))]
    of_one = list(judge([BY_NAME["image-tag-mutable"]], objects, Environment(), today=TODAY))
    assert list(joined(of_one)) == of_one
    assert len(of_one) == 2
    malformed = list(judge(RULES, of_manifest(deployment(image=5)), Environment(), today=TODAY))
    assert list(joined(malformed)) == malformed


def test_the_engine_is_told_once() -> None:
    request = analyzer_pb2.AnalyzeRequest(type="kubernetes:apps/v1:Deployment", urn="urn:chat")
    request.properties.update(deployment(image=UNKNOWN))
    pack = Analyzer("llm-policies", RULES, today=TODAY)
    told = [d for d in pack.Analyze(request, None).diagnostics if d.message.startswith("cannot be decided yet")]
    assert [(d.policyName, d.enforcementLevel, d.urn) for d in told] == [
        ("image-tag-mutable", analyzer_pb2.ADVISORY, "urn:chat")
    ]
    assert "rules wait for it: image-tag-mutable, image-digest" in told[0].message
