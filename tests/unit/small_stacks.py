"""Parts of stack files for tests of the plan, and what comes of them."""

from __future__ import annotations

import pytest
from on_mocks import Raw, settings_of

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
    return plan(settings_of({"nodes": nodes, "models": models, **more}))


def problems(nodes: Raw, models: Raw, **more: object) -> list[str]:
    with pytest.raises(PlanError) as caught:
        planned(nodes, models, **more)
    return list(caught.value.problems)


def vllm_plan(nodes: Raw, **server: object) -> VllmPlan:
    """The plan of one vLLM server on `nodes`."""
    found = planned(nodes, {"chat": vllm(**server)}).servers["chat"]  # type: ignore[arg-type]  # `model` is a text in every test
    assert isinstance(found, VllmPlan)
    return found
