"""Parts of stack files for tests of the plan, and what comes of them."""

from __future__ import annotations

import pytest
from on_mocks import STACK_FILES, Raw, raw_of, settings_of

from planning.plan import Plan, plan
from planning.problems import PlanError
from planning.vllm import VllmPlan

AWQ = "Qwen/Qwen2.5-7B-Instruct-AWQ"
LLAMA_8B = "meta-llama/Llama-3.1-8B-Instruct"
LLAMA_70B = "meta-llama/Llama-3.3-70B-Instruct"


def node(model: str = "rtx-4090", count: int = 1, slices: int = 1, **more: object) -> Raw:
    return {"gpus": {"model": model, "count": count, "timeSlices": slices}, **more}


def vllm(model: str = AWQ, **more: object) -> Raw:
    return {"engine": "vllm", "model": model, **more}


def ollama(**more: object) -> Raw:
    return {"engine": "ollama", "pull": ["qwen3:4b"], **more}


def planned(nodes: Raw, models: Raw, **more: object) -> Plan:
    """The plan of a stack whose models are reached past the edge, unless it has one."""
    if "ingress" not in more:
        more = {"security": {"clientNamespaces": ["apps"]}, **more}
    watched: Raw = {"monitoring": {}} if any("autoscale" in model for model in models.values()) else {}
    return plan(settings_of({"nodes": nodes, "models": models, **watched, **more}))


def problems(nodes: Raw, models: Raw, **more: object) -> list[str]:
    with pytest.raises(PlanError) as caught:
        planned(nodes, models, **more)
    return list(caught.value.problems)


def vllm_plan(nodes: Raw, **server: object) -> VllmPlan:
    """The plan of one vLLM server on `nodes`."""
    found = planned(nodes, {"chat": vllm(**server)}).servers["chat"]  # type: ignore[arg-type]  # `model` is a text in every test
    assert isinstance(found, VllmPlan)
    return found


VARIANTS: dict[str, Raw] = {
    "one-vllm": {"nodes": {"a": node()}, "models": {"chat": vllm()}},
    "one-ollama": {"nodes": {"a": node()}, "models": {"help": ollama(keepAliveSeconds=-1)}, "namespace": "other"},
    "spare-gpu": {
        "nodes": {"a": node(count=4)},
        "models": {"chat": vllm(), "help": ollama()},
        "ingress": {
            "host": "llm.example.com",
            "routes": {"/v1": "chat", "/v1/small": "chat", "/help": "help"},
            "apiKeys": {"team": "generated", "partner": "generated"},
            "tls": "selfSigned",
        },
    },
    "pool": {
        "nodes": {"a": node("a100-80gb", 4), "b": node("a100-80gb", 4), "c": node(slices=2)},
        "models": {
            "general": vllm(LLAMA_70B, gpus=4),
            "fast": vllm(LLAMA_8B, replicas=4, shm="4Gi", cache="50Gi"),
            "help": ollama(modelfiles={"jini": {"from": "qwen3:4b"}}),
        },
        "ingress": {
            "host": "llm.example.com",
            "routes": {"/v1": "general", "/v1/fast": {"model": "fast", "timeoutSeconds": 30}, "/ollama": "help"},
            "apiKeys": {"team": "generated"},
            "tls": {"secretName": "llm-tls"},
        },
        "storage": {"className": "local-path"},
    },
    "whole-and-sliced": {
        "nodes": {"a": node(), "b": node(slices=2)},
        "models": {"chat": vllm(), "help": ollama(), "small": ollama(gpuShare=0.3)},
    },
    "similar-paths": {
        "nodes": {"a": node(slices=2)},
        "models": {"help": ollama()},
        "ingress": {"host": "localhost", "routes": {"/a/b": "help", "/a-b": "help", "/A/b": "help", "/a.b": "help"}},
    },
}
STACKS = {file.name: raw_of(file) for file in STACK_FILES} | VARIANTS

every_stack = pytest.mark.parametrize("raw", STACKS.values(), ids=STACKS.keys())
