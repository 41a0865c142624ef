"""vLLM's command line: all that the planner writes is accepted, exactly named, by the parser of the release it runs."""

from __future__ import annotations

import json
import re
from typing import Any, get_args

import pytest
from small_stacks import LLAMA_8B, node, vllm_plan

from settings.vllm import Profile, VllmSettings
from toolchain.paths import REPOSITORY

TABLE: dict[str, Any] = json.loads((REPOSITORY / "lab/standins/vllm/serve_flags.json").read_text())
"""What was read from the parser of the real vLLM; the stand-in holds command lines against the same."""

FLAGS: dict[str, dict[str, Any]] = {name: flag for flag in TABLE["flags"] for name in flag["flags"]}

PATTERNS = {
    "int": r"-?\d+",
    "human_readable_int": r"\d+[kKmMgG]?",
    "human_readable_int_or_auto": r"-?\d+[kKmMgG]?|auto",
    "float": r"\d+(\.\d+)?",
    "optional_type(str)": r".+",
    "optional_type(int)": r"\d+",
    "str": r".+",
}
"""Values that a flag of each type takes; a type that is not here is not written yet."""


def refusal(argument: str) -> str | None:
    """Why vLLM's parser would refuse `argument`; None where it takes it."""
    name, equals, value = argument.partition("=")
    if name not in TABLE["all_accepted_option_strings"]:
        return f"{name} is not an option"
    flag = FLAGS[name]
    if flag["action"] == "EnableDisableAction":
        return f"{name} takes no value" if equals else None
    if flag["type"] not in PATTERNS:
        return f"{name} is a {flag['type']}, of which nothing is known here"
    if not re.fullmatch(PATTERNS[flag["type"]], value):
        return f"{name} is a {flag['type']}, got {value!r}"
    if flag.get("choices") and value not in map(str, flag["choices"]):
        return f"{name} is one of {flag['choices']}, got {value!r}"
    return None


def settings_of_every_kind() -> list[dict[str, object]]:
    """Settings that together write every argument that the planner knows."""
    profiles: list[dict[str, object]] = [{"profile": profile} for profile in get_args(Profile)]
    return [
        *profiles,
        {"gpus": 2},
        {"gpuShare": 0.5},
        {"maxModelLen": 4096},
        {"enforceEager": True},
        {"enforceEager": False},
        {"gpuMemoryUtilization": 0.875},
    ]


@pytest.mark.parametrize("settings", settings_of_every_kind(), ids=str)
@pytest.mark.parametrize("platform", ["native", "wsl2"])
def test_every_argument_is_one_of_vllms_own(platform: str, settings: dict[str, object]) -> None:
    if platform == "wsl2" and settings.get("gpus", 1) != 1:
        return  # there is no such node: WSL2 shows all cards as one
    cards = {"a": node("a100-80gb", 2 if platform == "native" else 1, platform=platform)}
    model, *arguments = vllm_plan(cards, model=LLAMA_8B, **settings).arguments
    assert model == LLAMA_8B, "the model is positional and first: some flags swallow what follows them"
    assert [told for argument in arguments if (told := refusal(argument))] == []
    names = [argument.partition("=")[0] for argument in arguments]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        (
            "--max-model=100",
            "--max-model is not an option",
        ),  # an abbreviation passes in vLLM, and breaks with a new flag
        ("--swap-space=4", "--swap-space is not an option"),
        ("--enforce-eager=True", "--enforce-eager takes no value"),
        ("--max-num-seqs=many", "--max-num-seqs is a int, got 'many'"),
        ("--gpu-memory-utilization=90%", "--gpu-memory-utilization is a float, got '90%'"),
    ],
)
def test_the_check_refuses_what_vllm_refuses(argument: str, told: str) -> None:
    assert refusal(argument) == told


def test_the_list_of_flags_is_of_the_release_that_is_run() -> None:
    assert VllmSettings.model_fields["image"].default == f"docker.io/vllm/vllm-openai:v{TABLE['vllm']}"


def test_a_drain_ends_before_the_pod_is_killed() -> None:
    plan = vllm_plan({"a": node()})
    assert f"--shutdown-timeout={plan.shutdown.drain_seconds}" in plan.arguments


def test_vllm_waits_for_its_engine_as_long_as_the_probe_does() -> None:
    plan = vllm_plan({"a": node("a100-80gb")}, model=LLAMA_8B)
    assert int(plan.environment["VLLM_ENGINE_READY_TIMEOUT_S"]) >= plan.startup.budget_seconds
