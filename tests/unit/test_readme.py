"""What the README says is so."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import textwrap
from collections.abc import Mapping
from pathlib import Path

import pytest
import typer
import yaml

from cli.__main__ import app
from planning.catalogue import gpu_models, language_models
from planning.plan import plan, plan_source
from settings.loader import parse, read_source
from settings.problems import StackError
from toolchain.paths import REPOSITORY

_TEXT = (REPOSITORY / "README.md").read_text()
_YAML = re.findall(r"```yaml\n(.*?)```", _TEXT, re.S)
_SHELL = [line.strip() for block in re.findall(r"```sh\n(.*?)```", _TEXT, re.S) for line in block.splitlines()]


def test_the_stack_files_shown_are_the_committed_ones() -> None:
    written = [yaml.safe_load((REPOSITORY / f"Pulumi.{name}.yaml").read_text()) for name in ("prod", "dev")]
    # Not whole: the first `make up` adds the salt of the passphrase.
    assert [yaml.safe_load(block)["config"] for block in _YAML] == [stack["config"] for stack in written]


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


def told(folder: Path, changes: Mapping[str, str]) -> str:
    """What is told of Pulumi.dev.yaml with `changes` in its text."""
    text = (REPOSITORY / "Pulumi.dev.yaml").read_text()
    for old, new in changes.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    (folder / "Pulumi.dev.yaml").write_text(text)
    with pytest.raises(StackError) as caught:
        plan_source(read_source(folder / "Pulumi.dev.yaml"))
    return str(caught.value)


def test_the_mistakes_shown_are_told_so(tmp_path: Path) -> None:
    assert told(tmp_path, {"engine: vllm,": "engine: vlm, shm: 4GB,"}) in _TEXT
    assert told(tmp_path, {"Instruct-AWQ,": "Instruct,"}) in _TEXT


def llmctl(line: str) -> str:
    """What a command of README prints, on a terminal of 100 columns."""
    command = [str(REPOSITORY / "bin/llmctl"), *shlex.split(line.partition("#")[0])[1:]]
    environment = {**os.environ, "COLUMNS": "100"}
    return subprocess.run(command, cwd=REPOSITORY, env=environment, check=True, capture_output=True, text=True).stdout


def test_the_plan_shown_is_the_stacks() -> None:
    told = "\n".join(line.rstrip() for line in llmctl("bin/llmctl plan --stack prod").splitlines())
    assert told.partition("\nWarnings")[0].rstrip() in _TEXT


def test_the_advice_it_asks_for_is_given() -> None:
    [line] = [line for line in _SHELL if line.startswith("bin/llmctl advise")]
    assert "models fit." in llmctl(line)


def test_its_commands_of_llmctl_are_there() -> None:
    inline = re.findall(r"`(bin/llmctl [^`]+)`", _TEXT.replace("\n   ", " ").replace("\n", " "))
    named = {command for line in [*_SHELL, *inline] for command in re.findall(r"bin/llmctl ([a-z-]+)", line)}
    assert (
        {"plan", "advise", "catalogue", "status", "chat", "smoke"} <= named <= set(typer.main.get_group(app).commands)
    )


def test_every_variable_it_names_is_used() -> None:
    used = "".join((REPOSITORY / name).read_text() for name in ("Makefile", "cli/__main__.py"))
    for variable in re.findall(r"^\| `(\w+)", _TEXT, re.M):
        assert variable in used, variable


def test_the_catalogue_has_as_much_as_is_said() -> None:
    assert f"{len(gpu_models())} GPUs, {len(language_models())} checkpoints" in _TEXT


def test_no_document_has_a_gap_to_be_filled() -> None:
    for file in (REPOSITORY / "README.md", *REPOSITORY.glob("docs/**/*.md")):
        assert not re.search(r"@[A-Z]+@|\bTODO\b", file.read_text()), file
