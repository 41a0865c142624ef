"""Policy packs through the real CLI: what they know, several at once, each with its configuration and its Python."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pulumi import automation
from workspace import COMPONENT, Workspace

PACK = """
import sys
import pulumi
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

print("said by {name}")

def boxes(args, report):
    if args.resource_type == "test:index:Box":
        plain = pulumi.Config("test").get("plain")
        word = args.get_config()["word"]
        report(f"{name}, no boxes in {{pulumi.get_stack()}} of {{pulumi.get_project()}}: {{plain}}, {{word}}.")

PolicyPack("{name}", policies=[
    ResourceValidationPolicy(
        "boxes", "No boxes.", boxes, enforcement_level=EnforcementLevel.{level},
        config_schema=PolicyConfigSchema(properties={{"word": {{"type": "string", "default": "unset"}}}}),
    )
])
"""


def pack(folder: Path, level: str = "ADVISORY", virtualenv: str | None = sys.prefix) -> str:
    """A policy pack, named as its folder, that says what it knows of its stack and its configuration."""
    folder.mkdir()
    options = {"toolchain": "pip"} | ({"virtualenv": virtualenv} if virtualenv else {})
    project = {"runtime": {"name": "python", "options": options}, "version": "0.0.1"}
    (folder / "PulumiPolicy.yaml").write_text(json.dumps(project))
    program = PACK.format(name=folder.name, level=level)
    (folder / "__main__.py").write_text(program.replace("PolicyPack, ", "PolicyConfigSchema, PolicyPack, ", 1))
    return str(folder)


@pytest.fixture
def workspace(make: Callable[..., Workspace]) -> Workspace:
    """A program with a box, without a cluster."""
    return make().configure(plain="p").program(COMPONENT)


def test_a_pack_knows_its_stack_and_its_violation_stops_the_preview(workspace: Workspace, tmp_path: Path) -> None:
    mandatory = pack(tmp_path / "strict", "MANDATORY")
    with pytest.raises(automation.CommandError) as caught:
        workspace.preview(policy_packs=[mandatory])
    assert "strict, no boxes in dev of test: p, unset." in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_several_packs_run_side_by_side_each_with_its_configuration(workspace: Workspace, tmp_path: Path) -> None:
    configured = []
    for name, level in (("one", "advisory"), ("two", "mandatory")):
        file = tmp_path / f"{name}.json"
        file.write_text(json.dumps({"boxes": {"enforcementLevel": level, "word": f"for {name}"}}))
        configured.append(str(file))
    packs = [pack(tmp_path / "one"), pack(tmp_path / "two")]
    with pytest.raises(automation.CommandError) as caught:
        workspace.preview(policy_packs=packs, policy_pack_configs=configured)
    said = str(caught.value)
    assert "one, no boxes in dev of test: p, for one." in said
    assert "two, no boxes in dev of test: p, for two." in said
    assert len(re.findall(r"\[advisory\]\s+boxes", said)) == 1
    assert len(re.findall(r"\[mandatory\]\s+boxes", said)) == 1


def test_a_pack_without_an_environment_of_its_own_uses_the_ambient_python(
    make: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = make(PATH=f"{sys.prefix}/bin:{os.environ['PATH']}").program(COMPONENT)
    assert "ambient, no boxes" in workspace.preview(policy_packs=[pack(tmp_path / "ambient", virtualenv=None)]).output


def test_a_pack_whose_environment_is_not_there_is_said_and_nothing_is_made(
    workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(automation.CommandError, match="python3 -m venv"):
        workspace.preview(policy_packs=[pack(tmp_path / "lost", virtualenv="venv")])
    assert not (tmp_path / "lost" / "venv").exists()


def test_a_pack_that_breaks_while_it_starts_fails_the_preview_with_its_own_words(
    workspace: Workspace, tmp_path: Path
) -> None:
    broken = pack(tmp_path / "broken")
    (tmp_path / "broken" / "__main__.py").write_text("raise ValueError('no rules today')\n")
    with pytest.raises(automation.CommandError, match="no rules today"):
        workspace.preview(policy_packs=[broken])


def test_what_a_pack_prints_is_shown(workspace: Workspace, tmp_path: Path) -> None:
    assert "said by chatty" in workspace.preview(policy_packs=[pack(tmp_path / "chatty")]).output
