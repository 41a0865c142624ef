"""How long Pulumi waits for a rollout, which no manifest says: by its options, as the engine sends them."""

from __future__ import annotations

import pytest
from judged import BY_NAME, findings
from llm_policies.objects import of_pulumi
from small_stacks import LLAMA_8B, node, planned, vllm

from cli.policies import environment_of

RULE = BY_NAME["rollout-deadline"]


def said(timeouts: dict[str, float] | None, annotations: dict[str, str] | None = None) -> list[str]:
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 10.0, "failureThreshold": 90.0}
    container = {"name": "vllm", "image": "vllm/vllm-openai:v0.33.0", "startupProbe": probe}
    deployment = {
        "metadata": {"name": "chat", "annotations": annotations or {}},
        "spec": {"progressDeadlineSeconds": 900.0, "template": {"spec": {"containers": [container]}}},
    }
    items = of_pulumi("kubernetes:apps/v1:Deployment", deployment, timeouts=timeouts)
    return [finding.message for finding in findings(RULE, items)]


@pytest.mark.parametrize(
    ("timeouts", "annotations", "told"),
    [
        (None, None, None),
        ({}, None, "600s (Pulumi's own wait)"),
        ({"create": 900.0, "update": 900.0}, None, None),
        ({"create": 900.0, "update": 899.0}, None, "899s (custom_timeouts.update)"),
        ({}, {"pulumi.com/timeoutSeconds": "900"}, None),
        ({"create": 60.0}, {"pulumi.com/timeoutSeconds": "900"}, "60s (custom_timeouts.create)"),
        ({}, {"pulumi.com/skipAwait": "true"}, None),
    ],
)
def test_pulumi_waits_as_long_as_the_probe_allows(
    timeouts: dict[str, float] | None, annotations: dict[str, str] | None, told: str | None
) -> None:
    found = said(timeouts, annotations)
    assert [message.partition(" ends before")[0] for message in found] == (
        [f"rollout deadline {told}"] if told is not None else []
    )


def test_the_plan_tells_the_rules_what_no_resource_shows() -> None:
    found = planned({"a": node(count=2)}, {"chat": vllm(LLAMA_8B, maxModelLen=2048), "other": vllm("some/model")})
    server = found.servers["chat"]
    settings = environment_of({}, found).settings
    assert server.files_bytes is not None
    assert settings["startup-budget"]["modelBytesByWorkload"] == {f"{found.namespace}/chat": server.files_bytes}
    assert settings["pvc-too-small"]["modelBytesByClaim"] == {f"{found.namespace}/chat-cache": server.files_bytes}
    speeds = (found.storage.read_megabytes_per_second, found.storage.download_megabytes_per_second)
    assert speeds == tuple(settings["startup-budget"][f"{key}MegabytesPerSecond"] for key in ("disk", "download"))


def test_what_the_levels_say_goes_before_the_plan() -> None:
    found = planned({"a": node()}, {"chat": vllm()})
    levels = {"rules": {"startup-budget": {"level": "advisory", "diskMegabytesPerSecond": 100}}}
    environment = environment_of(levels, found)
    assert environment.settings["startup-budget"]["diskMegabytesPerSecond"] == 100
    assert "modelBytesByWorkload" in environment.settings["startup-budget"]
    assert environment.levels["startup-budget"] == "advisory"
