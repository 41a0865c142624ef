"""VllmServer as the engine sees it: what a server's settings come to in its pod."""

from __future__ import annotations

import pytest
from on_mocks import Raw, run, settings_of
from small_stacks import LLAMA_8B, node, vllm

from planning.vllm import VllmPlan


def container(**settings: object) -> tuple[VllmPlan, Raw]:
    """The plan of one server, and its container as it was registered."""
    tracing = {"endpoint": "http://otel:4317"}
    deployed = run(
        settings_of(
            {"nodes": {"a": node("h200", 4)}, "models": {"chat": vllm(LLAMA_8B, **settings)}, "tracing": tracing}
        )
    )
    server = deployed.plan.servers["chat"]
    assert isinstance(server, VllmPlan)
    [found] = deployed.one("Deployment", "chat").inputs["spec"]["template"]["spec"]["containers"]
    return server, found


def as_kubernetes_expands(argument: str) -> str:
    """An argument as the container gets it: `$$(` is a written `$(`, and nothing else is expanded here."""
    return argument.replace("$$(", "$(")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gpus": 4, "pipelineParallel": 2},
        {"loraAdapters": {"legal": {"source": "a/b"}, "own": {"source": "/cache/own"}}},
        {"chatTemplate": "{% for m in messages %}{{ m }}\n$(HF_TOKEN){% endfor %}"},
        {"extraArgs": {"compilation-config": {"mode": 3}, "enable-expert-parallel": True}},
    ],
    ids=str,
)
def test_vllm_gets_the_command_line_that_was_planned(settings: Raw) -> None:
    server, found = container(**settings)
    assert tuple(map(as_kubernetes_expands, found["args"])) == server.arguments


def test_a_chat_template_cannot_name_a_variable_of_the_pod() -> None:
    """Kubernetes puts values in place of $(NAME), and HF_TOKEN is one of the pod's."""
    _, found = container(chatTemplate="{{ messages }} $(HF_TOKEN)")
    assert [word for word in found["args"] if "HF_TOKEN" in word] == ["--chat-template={{ messages }} $$(HF_TOKEN)"]


def test_extra_environment_and_that_of_traces_are_the_containers() -> None:
    server, found = container(extraEnvironment={"NCCL_DEBUG": "INFO"})
    variables = {variable["name"]: variable.get("value") for variable in found["env"]}
    assert variables == server.environment
    assert variables["NCCL_DEBUG"] == "INFO"
    assert variables["OTEL_SERVICE_NAME"] == "chat"


def test_an_adapter_of_the_volume_is_where_the_volume_is() -> None:
    server, found = container(loraAdapters={"own": {"source": "/cache/adapters/own"}})
    mounts = {mount["name"]: mount["mountPath"] for mount in found["volumeMounts"]}
    assert "own=/cache/adapters/own" in server.arguments
    assert mounts["cache"] == "/cache"


def test_every_worker_has_a_gpu() -> None:
    _, found = container(gpus=4, pipelineParallel=2)
    assert found["resources"]["limits"]["nvidia.com/gpu"] == "4"
