"""The policy pack as Pulumi starts it: what it answers the engine."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf import (  # type: ignore[import-untyped]  # its stubs lie in a namespace package
    empty_pb2,
    json_format,
    struct_pb2,
)
from judged import as_sent, documents
from llm_policies.environment import PACK
from llm_policies.pack import RULES
from llm_policies.values import UNKNOWNS
from on_mocks import Raw
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc

from toolchain.paths import REPOSITORY

DEPLOYMENT = "kubernetes:apps/v1:Deployment"
UNKNOWN = sorted(UNKNOWNS)[0]
POD: Raw = {
    "containers": [
        {
            "name": "vllm",
            "image": "vllm/vllm-openai:v0.33.0",
            "args": ["m"],
            "resources": {"limits": {"nvidia.com/gpu": "1"}},
        }
    ]
}


def server(**container: Any) -> Raw:
    """A Deployment of one GPU that waits for a spare one; `container` changes its container."""
    spec = copy.deepcopy(POD)
    spec["containers"][0].update(container)
    return {"metadata": {"name": "chat", "namespace": "llm"}, "spec": {"replicas": 1, "template": {"spec": spec}}}


@pytest.fixture(scope="module")
def pack() -> Iterator[analyzer_pb2_grpc.AnalyzerStub]:
    """The running pack; the engine's own address leads nowhere, as nothing is logged."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:1", "policies"],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        port = process.stdout.readline().strip()
        assert port.isdecimal(), f"the pack printed {port!r} instead of a port"
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield analyzer_pb2_grpc.AnalyzerStub(channel)
    finally:
        process.kill()
        process.communicate()


def ask(
    pack: analyzer_pb2_grpc.AnalyzerStub, properties: Raw, options: analyzer_pb2.AnalyzerResourceOptions | None = None
) -> list[analyzer_pb2.AnalyzeDiagnostic]:
    sent = struct_pb2.Struct()
    sent.update(as_sent(properties))
    urn = f"urn:pulumi:test::llm-serving::{DEPLOYMENT}::chat"
    request = analyzer_pb2.AnalyzeRequest(type=DEPLOYMENT, properties=sent, urn=urn, name="chat", options=options)
    return list(pack.Analyze(request, timeout=20).diagnostics)


def configure(pack: analyzer_pb2_grpc.AnalyzerStub, levels: dict[str, int], **settings: Raw) -> None:
    """Levels by rule, and settings by rule with `_` for `-`."""
    request = analyzer_pb2.ConfigureAnalyzerRequest()
    for name in {*levels, *(key.replace("_", "-") for key in settings)}:
        own = analyzer_pb2.MANDATORY
        request.policyConfig[name].enforcementLevel = levels.get(name, own)
        request.policyConfig[name].properties.update(settings.get(name.replace("-", "_"), {}))
    pack.Configure(request, timeout=20)


def test_the_pack_says_what_it_has(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    info = pack.GetAnalyzerInfo(empty_pb2.Empty(), timeout=20)
    assert info.name == "llm-policies"
    levels = {"error": analyzer_pb2.MANDATORY, "warn": analyzer_pb2.ADVISORY}
    assert {p.name: p.enforcementLevel for p in info.policies} == {r.name: levels[r.severity] for r in RULES}
    for rule, policy in zip(RULES, info.policies, strict=True):
        assert rule.remediation in policy.description
        assert set(json_format.MessageToDict(policy.configSchema.properties)) == set(rule.settings)
        stack = policy.policy_type == analyzer_pb2.POLICY_TYPE_STACK
        assert stack == (rule.of_stack is not None)


def test_a_violation_is_told_with_its_level_and_resource(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    configure(pack, {"gpu-rollout-deadlock": analyzer_pb2.MANDATORY})
    [found] = [d for d in ask(pack, server()) if d.policyName == "gpu-rollout-deadlock"]
    assert found.message.startswith("rollout of 'chat' needs a spare GPU")
    assert (found.enforcementLevel, found.urn) == (
        analyzer_pb2.MANDATORY,
        f"urn:pulumi:test::llm-serving::{DEPLOYMENT}::chat",
    )
    configure(pack, {"gpu-rollout-deadlock": analyzer_pb2.ADVISORY})
    [found] = [d for d in ask(pack, server()) if d.policyName == "gpu-rollout-deadlock"]
    assert found.enforcementLevel == analyzer_pb2.ADVISORY
    configure(pack, {"gpu-rollout-deadlock": analyzer_pb2.DISABLED})
    assert "gpu-rollout-deadlock" not in {d.policyName for d in ask(pack, server())}


def test_settings_of_a_rule_arrive(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    configure(pack, {}, gpu_rollout_deadlock={"spareGpusByWorkload": {"llm/chat": 1}})
    assert "gpu-rollout-deadlock" not in {d.policyName for d in ask(pack, server())}


def test_a_namespace_has_levels_of_its_own(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    configure(pack, {}, policy_settings={"namespaces": {"llm": {"gpu-rollout-deadlock": "advisory"}}})
    levels = {d.policyName: d.enforcementLevel for d in ask(pack, server(image="vllm"))}
    assert levels["gpu-rollout-deadlock"] == analyzer_pb2.ADVISORY
    assert levels["image-tag-mutable"] == analyzer_pb2.MANDATORY


@pytest.mark.parametrize(
    ("until", "level"), [("2999-01-01", analyzer_pb2.ADVISORY), ("2020-01-01", analyzer_pb2.MANDATORY)]
)
def test_an_exception_holds_until_its_day(pack: analyzer_pb2_grpc.AnalyzerStub, until: str, level: int) -> None:
    exception = {
        "rule": "gpu-rollout-deadlock",
        "object": "Deployment/llm/*",
        "reason": "a GPU is lent at night",
        "owner": "ops",
        "until": until,
    }
    configure(pack, {}, policy_settings={"exceptions": [exception]})
    [found] = [d for d in ask(pack, server()) if d.policyName == "gpu-rollout-deadlock"]
    assert found.enforcementLevel == level
    assert "owner ops: a GPU is lent at night" in found.message


def test_wrong_settings_of_the_pack_are_refused_with_all_mistakes(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    with pytest.raises(grpc.RpcError) as error:
        configure(pack, {}, policy_settings={"exceptions": [{"rule": "x"}], "pools": {"a": {"gpu": 1}}})
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "exceptions[0]: says no" in str(error.value)
    assert "pools.a.gpu: there is no such setting." in str(error.value)


def test_an_unknown_is_told_and_the_rest_is_judged(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    configure(pack, {})
    properties = server(image="vllm")
    properties["spec"]["template"]["spec"]["initContainers"] = [{"name": "first", "image": UNKNOWN}]
    found = [d for d in ask(pack, properties) if d.policyName == "image-tag-mutable"]
    assert {(d.message.partition(":")[0], d.enforcementLevel) for d in found} == {
        ("cannot be decided yet", analyzer_pb2.ADVISORY),
        ("vllm", analyzer_pb2.MANDATORY),
    }


def test_what_a_rule_cannot_read_is_a_violation(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    configure(pack, {})
    properties = server(resources={"limits": {"nvidia.com/gpu": "two"}})
    [found] = [d for d in ask(pack, properties) if d.policyName == "gpu-rollout-deadlock"]
    assert found.message.startswith(
        "cannot be judged: spec.template.spec.containers[0].resources.limits.nvidia.com/gpu"
    )
    assert found.enforcementLevel == analyzer_pb2.MANDATORY


def test_a_number_that_pulumi_leaves_to_an_autoscaler_is_judged_with_the_stack(
    pack: analyzer_pb2_grpc.AnalyzerStub,
) -> None:
    configure(pack, {})
    left = analyzer_pb2.AnalyzerResourceOptions(ignoreChanges=["spec.replicas"])
    assert "gpu-rollout-deadlock" in {d.policyName for d in ask(pack, server())}
    assert "gpu-rollout-deadlock" not in {d.policyName for d in ask(pack, server(), options=left)}


def test_what_is_right_passes(pack: analyzer_pb2_grpc.AnalyzerStub) -> None:
    configure(pack, {})
    for rule in RULES:
        if rule.of_stack is None and rule.name != PACK:
            for document in documents(rule.good):
                sent = struct_pb2.Struct()
                sent.update(as_sent(document))
                kind = f"kubernetes:{document['apiVersion']}:{document['kind']}".replace(":v1:", ":core/v1:")
                request = analyzer_pb2.AnalyzeRequest(type=kind, properties=sent, urn="urn:x", name="x")
                assert rule.name not in {d.policyName for d in pack.Analyze(request, timeout=20).diagnostics}
