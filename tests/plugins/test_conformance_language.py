"""The Python language host through the real CLI: programs, their errors, policy packs, and how they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pulumi import automation
from workspace import Workspace

COMPONENT = """
import pulumi
class Box(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Box", name)
        self.register_outputs({"width": 2})
Box("box")
"""


@pytest.fixture
def workspace(make: Callable[..., Workspace]) -> Workspace:
    """A workspace without a cluster."""
    return make()


def running(marker: str) -> list[str]:
    """Command lines of the processes that have `marker` in their environment or command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:  # it has ended meanwhile, or is not ours
                continue
            if marker.encode() in told:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def ends(marker: str, seconds: float = 10) -> bool:
    """Whether all processes with `marker` end within `seconds`."""
    deadline = time.monotonic() + seconds
    while running(marker) and time.monotonic() < deadline:
        time.sleep(0.1)
    return running(marker) == []


def test_a_program_of_components_has_its_steps_outputs_and_configuration(workspace: Workspace) -> None:
    workspace.configure(plain="p")
    workspace.stack.set_config("hidden", automation.ConfigValue("planted", secret=True))
    workspace.program(
        f"{COMPONENT}config = pulumi.Config()\n"
        "told = [pulumi.get_stack(), pulumi.get_project(), pulumi.get_organization()]\n"
        'pulumi.export("told", [*told, config.get("plain")])\n'
        'pulumi.export("hidden", config.require_secret("hidden"))\n'
        'pulumi.export("preview", pulumi.runtime.is_dry_run())\n'
    )
    assert workspace.preview().steps["test:index:Box::box"].operation == "create"
    workspace.up()
    outputs = workspace.stack.outputs()
    assert outputs["told"].value == ["dev", "test", "organization", "p"]
    assert outputs["preview"].value is False
    assert outputs["hidden"].secret


def test_output_comes_in_the_order_in_which_it_was_said(workspace: Workspace) -> None:
    said = workspace.program('for i in range(50): print(f"line {i}")\n').preview().output
    places = [said.index(f"line {i}\n") for i in range(50)]
    assert places == sorted(places)


def test_a_run_error_is_shown_without_a_traceback_and_an_exception_with_the_programs_own(workspace: Workspace) -> None:
    with pytest.raises(automation.CommandError) as caught:
        workspace.program('import pulumi\nraise pulumi.RunError("nodes: none. Add one.")\n').preview()
    assert "error: nodes: none. Add one." in str(caught.value)
    assert "Traceback" not in str(caught.value)
    with pytest.raises(automation.CommandError) as caught:
        workspace.program('def broken():\n    raise ValueError("x")\n\nbroken()\n').preview()
    said = str(caught.value)
    assert "Program failed with an unhandled exception:" in said
    assert f'File "{workspace.folder / "__main__.py"}", line 4, in <module>' in said
    assert "ValueError: x" in said
    assert "runner.py" not in said


def test_a_program_that_is_not_there_is_said(workspace: Workspace) -> None:
    (workspace.folder / "__main__.py").unlink()
    with pytest.raises(automation.CommandError, match=r"unable to find main python program `__main__\.py`"):
        workspace.preview()


def test_the_cli_knows_the_program_and_its_plugins_and_warns_of_nothing(
    workspace: Workspace, cli: automation.PulumiCommand
) -> None:
    shown = subprocess.run(
        [cli.command, "about", "--json"],
        cwd=workspace.folder,
        env={**os.environ, **workspace.stack.workspace.env_vars},
        capture_output=True,
        text=True,
        check=True,
    )
    about = json.loads(shown.stdout)
    assert {"kubernetes", "python"} <= {plugin["name"] for plugin in about["plugins"]}
    assert about["runtime"]["executable"] == f"{sys.prefix}/bin/python"
    assert "warning" not in (shown.stderr + workspace.program(COMPONENT).preview().output).lower()


PACK = """
import pulumi
from pulumi_policy import EnforcementLevel, PolicyPack, ResourceValidationPolicy

def boxes(args, report):
    if args.resource_type == "test:index:Box":
        report(f"no boxes in {pulumi.get_stack()} of {pulumi.get_project()}: {pulumi.Config('test').get('plain')}")

rule = ResourceValidationPolicy("boxes", "No boxes.", boxes, enforcement_level=EnforcementLevel.%s)
PolicyPack("pack", policies=[rule])
"""


def pack(folder: Path, level: str, virtualenv: str | None) -> str:
    """A policy pack that says what it knows of its stack."""
    folder.mkdir(exist_ok=True)
    options = {"toolchain": "pip"} | ({"virtualenv": virtualenv} if virtualenv else {})
    project = {"runtime": {"name": "python", "options": options}, "version": "0.0.1"}
    (folder / "PulumiPolicy.yaml").write_text(json.dumps(project))
    (folder / "__main__.py").write_text(PACK % level)
    return str(folder)


def test_a_policy_pack_knows_its_stack_and_its_violation_stops_the_preview(
    workspace: Workspace, tmp_path: Path
) -> None:
    workspace.configure(plain="p").program(COMPONENT)
    mandatory = pack(tmp_path / "pack", "MANDATORY", sys.prefix)
    with pytest.raises(automation.CommandError) as caught:
        workspace.preview(policy_packs=[mandatory])
    assert "no boxes in dev of test: p" in str(caught.value)
    assert "Traceback" not in str(caught.value)


def test_a_policy_pack_without_an_environment_of_its_own_uses_the_ambient_python(
    make: Callable[..., Workspace], tmp_path: Path
) -> None:
    workspace = make(PATH=f"{sys.prefix}/bin:{os.environ['PATH']}").program(COMPONENT)
    advisory = pack(tmp_path / "pack", "ADVISORY", None)
    assert "no boxes in dev" in workspace.preview(policy_packs=[advisory]).output


SLEEPS = """
import os, subprocess, sys, time
print("started", flush=True)
open("started", "w").close()
try:
    time.sleep(600)
finally:
    open("tidied", "w").close()
"""


def sleeping(workspace: Workspace, cli: automation.PulumiCommand, marker: str) -> subprocess.Popen[bytes]:
    """A preview whose program sleeps, once it does."""
    workspace.program(SLEEPS)
    process = subprocess.Popen(
        [cli.command, "preview", "--stack", "dev", "--non-interactive"],
        cwd=workspace.folder,
        env={**os.environ, **workspace.stack.workspace.env_vars, "MARKER": marker},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not (workspace.folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_program_tidies_up_and_nothing_stays(
    workspace: Workspace, cli: automation.PulumiCommand, number: signal.Signals
) -> None:
    marker = f"marker-{workspace.folder}"
    process = sleeping(workspace, cli, marker)
    start = time.monotonic()
    process.send_signal(number)
    assert process.wait(15) != 0
    assert ends(marker)
    assert time.monotonic() - start < 5
    assert (workspace.folder / "tidied").exists()


def test_a_killed_cli_leaves_nothing_running(workspace: Workspace, cli: automation.PulumiCommand) -> None:
    marker = f"marker-{workspace.folder}"
    process = sleeping(workspace, cli, marker)
    assert any("runner.py" in command for command in running(marker))
    process.kill()
    process.wait()
    assert ends(marker), running(marker)
