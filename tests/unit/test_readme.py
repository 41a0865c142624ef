"""What the README says is so."""

from __future__ import annotations

import re
import subprocess
import textwrap

import pytest
import yaml

from planning.plan import plan
from planning.problems import PlanError
from settings.loader import parse, read
from settings.problems import SettingsError
from toolchain.paths import REPOSITORY

_TEXT = (REPOSITORY / "README.md").read_text()
_YAML = re.findall(r"```yaml\n(.*?)```", _TEXT, re.S)
_SHELL = [line.strip() for block in re.findall(r"```sh\n(.*?)```", _TEXT, re.S) for line in block.splitlines()]


def test_the_stack_files_shown_are_the_committed_ones() -> None:
    committed = [yaml.safe_load((REPOSITORY / f"Pulumi.{name}.yaml").read_text()) for name in ("prod", "dev")]
    assert [yaml.safe_load(block) for block in _YAML] == committed


def test_the_host_shown_is_one_that_can_be_prepared() -> None:
    [block] = re.findall(r"```\n( +llm-serving:nodes:\n.*?)```", _TEXT, re.S)
    nodes = yaml.safe_load(textwrap.dedent(block))["llm-serving:nodes"]
    nodes["gpu-a"]["host"]["ssh"]["hostKey"] = "ssh-ed25519 " + "A" * 68
    models = {"chat": {"engine": "vllm", "model": "Qwen/Qwen2.5-7B-Instruct-AWQ"}}
    found = plan(parse({"nodes": nodes, "models": models}, source="README.md"))
    assert found.nodes["gpu-a"].host is not None


def test_the_files_that_it_leads_to_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", _TEXT):
        assert (REPOSITORY / target).exists(), target
    for example in re.findall(r"cp (examples/\S+)", _TEXT):
        assert (REPOSITORY / example).exists(), example


def test_its_commands_are_targets_of_the_makefile() -> None:
    targets = [word for line in _SHELL for word in re.findall(r"make (\w+)", line)]
    assert {"up", "test"} <= set(targets)
    for target in targets:
        subprocess.run(["make", "--dry-run", target], cwd=REPOSITORY, check=True, capture_output=True)


def test_the_mistakes_shown_are_told_so() -> None:
    raw = yaml.safe_load((REPOSITORY / "Pulumi.dev.yaml").read_text())["config"]
    raw = {key.removeprefix("llm-serving:"): value for key, value in raw.items()}
    raw["models"]["chat"] |= {"engine": "vlm"}
    with pytest.raises(SettingsError) as wrong_engine:
        parse(raw, source="Pulumi.dev.yaml")
    raw["models"]["chat"] |= {"engine": "vllm", "shm": "4GB"}
    with pytest.raises(SettingsError) as wrong_unit:
        parse(raw, source="Pulumi.dev.yaml")
    for problem in (*wrong_engine.value.problems, *wrong_unit.value.problems):
        assert problem in _TEXT


def test_the_model_shown_does_not_fit() -> None:
    settings = read(REPOSITORY / "Pulumi.dev.yaml")
    chat = settings.models["chat"].model_copy(update={"model": "Qwen/Qwen2.5-7B-Instruct"})
    with pytest.raises(PlanError) as refused:
        plan(settings.model_copy(update={"models": {**settings.models, "chat": chat}}))
    assert refused.value.problems[0] in _TEXT


def test_every_variable_it_names_is_used() -> None:
    used = "".join((REPOSITORY / name).read_text() for name in ("Makefile", "cli/__main__.py"))
    for variable in re.findall(r"^\| `(\w+)", _TEXT, re.M):
        assert variable in used, variable
