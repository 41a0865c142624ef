"""The command stand-in through the real CLI."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pulumi import automation
from workspace import Workspace

# The SDK of pulumi-command is not needed to speak to its provider.
COMMAND = """
import pulumi
class Command(pulumi.CustomResource):
    def __init__(self, name, opts=None, token="command:local:Command", **properties):
        super().__init__(token, name, {**properties, "stdout": None, "stderr": None}, opts)
"""
NAME = "command:local:Command::c"


@pytest.fixture
def workspace(make: Callable[..., Workspace]) -> Workspace:
    """A workspace without a cluster."""
    return make()


def test_create_update_and_delete_run_with_the_last_output(workspace: Workspace) -> None:
    log = workspace.folder / "log"
    text = COMMAND + (
        f'c = Command("c", create="echo made; echo create >> {log}", update="echo $PULUMI_COMMAND_STDOUT again; '
        f'echo update >> {log}", delete="echo delete $PULUMI_COMMAND_STDOUT >> {log}", environment={{"A": "%s"}})\n'
        'pulumi.export("out", c.stdout)\n'
    )
    workspace.program(text % "1")
    assert workspace.preview().steps[NAME].operation == "create"
    assert not log.exists()
    workspace.up()
    assert workspace.stack.outputs()["out"].value == "made"
    assert workspace.preview().steps == {}
    workspace.program(text % "2")
    assert workspace.preview().steps[NAME].diff == {"environment.A": ("update", False)}
    workspace.up()
    assert workspace.stack.outputs()["out"].value == "made again"
    workspace.destroy()
    assert log.read_text() == "create\nupdate\ndelete made again\n"


def test_triggers_replace_and_the_old_delete_runs_after_the_new_create(workspace: Workspace) -> None:
    log = workspace.folder / "log"
    text = COMMAND + f'Command("c", create="echo create >> {log}", delete="echo delete >> {log}", triggers=[%d])\n'
    workspace.program(text % 1).up()
    workspace.program(text % 2)
    assert workspace.preview().steps[NAME].diff == {"triggers[0]": ("update-replace", False)}
    workspace.up()
    assert log.read_text() == "create\ncreate\ndelete\n"


def test_a_secret_input_makes_the_output_secret_and_is_nowhere_in_the_open(workspace: Workspace) -> None:
    workspace.program(
        COMMAND + 'c = Command("c", create="cat", stdin=pulumi.Output.secret("plan" + "ted"), logging="none")\n'
        'pulumi.export("out", c.stdout)\n'
    )
    assert "planted" not in workspace.up().output
    output = workspace.stack.outputs()["out"]
    assert (output.value, output.secret) == ("planted", True)
    stored = "".join(path.read_text() for path in (workspace.folder / "backend").rglob("*.json"))
    assert "command:local:Command" in stored
    assert "planted" not in stored


def test_a_failure_shows_the_code_the_command_and_its_output(workspace: Workspace) -> None:
    said = workspace.program(COMMAND + 'Command("c", create="echo out; exit 3")\n').up_fails()
    assert 'exit status 3: running "echo out; exit 3":' in said
    assert NAME not in workspace.state()


def test_the_function_runs_at_every_preview(workspace: Workspace) -> None:
    text = (
        'import pulumi\nran = pulumi.runtime.invoke("command:local:run", {"command": "echo ran"})\n'
        'print(ran.value["stdout"])\n'
    )
    for _ in range(2):
        assert "ran\n" in workspace.program(text).preview().output


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ('Command("c", create="x", assetPaths=["*"])', "command:local:Command: assetPaths: not done by this plugin"),
        (
            'Command("c", token="command:remote:CopyFile", remotePath="x")',
            "command:remote:CopyFile: not done by this plugin",
        ),
        ('Command("c", creat="x")', "command:local:Command has no property creat"),
    ],
)
def test_what_is_not_done_is_refused_by_name(workspace: Workspace, program: str, said: str) -> None:
    with pytest.raises(automation.CommandError) as caught:
        workspace.program(f"{COMMAND}{program}\n").preview()
    assert said in str(caught.value)


def test_a_cancelled_command_ends_with_all_that_it_has_started(
    workspace: Workspace, cli: automation.PulumiCommand
) -> None:
    started = workspace.folder / "started"
    pids = workspace.folder / "pids"
    workspace.program(
        COMMAND + f'Command("c", create="sleep 600 & echo $! >> {pids}; echo $$ >> {pids}; touch {started}; wait")\n'
    )
    process = subprocess.Popen(
        [cli.command, "up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive"],
        cwd=workspace.folder,
        env={**os.environ, **workspace.stack.workspace.env_vars},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not started.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.wait(15) != 0
    left = [pid for pid in pids.read_text().split() if _sleeps(Path("/proc") / pid)]
    assert left == []


def _sleeps(folder: Path) -> bool:
    """Whether the process is one of the command's (its number may be another's by now)."""
    try:
        return b"sleep" in (folder / "cmdline").read_bytes()
    except OSError:
        return False
