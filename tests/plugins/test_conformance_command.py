"""`command:local:Command` and `command:local:run` through the real CLI and their official SDK."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from pulumi import automation
from workspace import Workspace

PROGRAM = """
import pulumi
from pulumi_command import local
"""
NAME = "command:local:Command::c"


@pytest.fixture
def workspace(make: Callable[..., Workspace]) -> Workspace:
    """A workspace without a cluster."""
    return make()


def test_create_update_and_delete_run_with_the_last_output(workspace: Workspace) -> None:
    log = workspace.folder / "log"
    text = PROGRAM + (
        f'c = local.Command("c", create="echo made; echo create >> {log}", update="echo $PULUMI_COMMAND_STDOUT again; '
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
    text = (
        PROGRAM + f'local.Command("c", create="echo create >> {log}", delete="echo delete >> {log}", triggers=[%d])\n'
    )
    workspace.program(text % 1).up()
    workspace.program(text % 2)
    assert workspace.preview().steps[NAME].diff == {"triggers[0]": ("update-replace", False)}
    workspace.up()
    assert log.read_text() == "create\ncreate\ndelete\n"


def test_output_is_secret_only_where_the_program_says_so_whatever_the_inputs_are(workspace: Workspace) -> None:
    workspace.program(
        f'{PROGRAM}stdin = pulumi.Output.secret("plan" + "ted")\n'
        'told = pulumi.ResourceOptions(additional_secret_outputs=["stdout"])\n'
        'c = local.Command("c", create="cat", stdin=stdin, logging="none", opts=told)\n'
        'forgotten = local.Command("forgotten", create="wc -c; echo $A", stdin=stdin, environment={"A": stdin})\n'
        'pulumi.export("out", c.stdout)\npulumi.export("forgotten", forgotten.stdout)\n'
    )
    workspace.up()
    outputs = {name: (output.value, output.secret) for name, output in workspace.stack.outputs().items()}
    assert outputs == {"out": ("planted", True), "forgotten": ("7\nplanted", False)}
    state = workspace.state()["command:local:Command::forgotten"]["outputs"]
    assert ("plaintext" in state["stdin"], "plaintext" in state["environment"]["A"]) == (True, True)


def test_a_text_that_becomes_secret_is_a_change(workspace: Workspace) -> None:
    text = f'{PROGRAM}local.Command("c", create="cat", stdin=%s)\n'
    workspace.program(text % '"text"').up()
    step = workspace.program(text % 'pulumi.Output.secret("text")').preview().steps[NAME]
    assert (step.operation, step.diff) == ("update", {"stdin": ("update", False)})


def test_the_files_that_a_command_leaves_are_outputs_and_taken_on_by_others(workspace: Workspace) -> None:
    made = workspace.folder / "made"
    workspace.program(
        PROGRAM + f'made = local.Command("c", create="mkdir -p {made}/sub; cd {made}; echo $A | tee a.txt sub/b.txt; '
        f'touch secret.txt", dir="{workspace.folder}", environment={{"A": "%s"}}, asset_paths=["made/*.txt", '
        '"!**secret*"], archive_paths=["made/sub/*"])\n'
        'local.Command("other", create="true", triggers=[made.assets])\n'
        'pulumi.export("assets", made.assets.apply(lambda all: {name: file.path for name, file in all.items()}))\n'
    )
    text = (workspace.folder / "__main__.py").read_text()
    workspace.program(text % "1").preview()
    assert not made.exists()
    workspace.up()
    assert workspace.stack.outputs()["assets"].value == {"made/a.txt": str(made / "a.txt")}
    state = workspace.state()[NAME]["outputs"]
    assert state["assets"]["made/a.txt"]["hash"] == hashlib.sha256(b"1\n").hexdigest()
    assert list(state["archive"]["assets"]) == ["made/sub/b.txt"]
    assert workspace.preview().steps == {}
    steps = workspace.program(text % "2").up().steps
    assert {name: step.operation for name, step in steps.items()} == {
        NAME: "update",
        "command:local:Command::other": "replace",
    }


def test_a_command_may_take_as_long_as_the_resource_says(workspace: Workspace) -> None:
    times = "pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create='1s'))"
    said = workspace.program(f'{PROGRAM}local.Command("c", create="echo begun; sleep 60", opts={times})\n').up_fails()
    assert 'ended after 1 s, the limit of customTimeouts: running "echo begun; sleep 60":' in said
    assert NAME not in workspace.state()


def test_a_failure_shows_the_code_the_command_and_its_output(workspace: Workspace) -> None:
    said = workspace.program(PROGRAM + 'local.Command("c", create="echo out; exit 3")\n').up_fails()
    assert 'exit status 3: running "echo out; exit 3":' in said
    assert NAME not in workspace.state()


def test_the_function_runs_at_every_preview_and_its_result_is_secret_where_an_argument_is(workspace: Workspace) -> None:
    workspace.program(
        f'{PROGRAM}print(local.run(command="echo ran").stdout)\n'
        'ran = local.run_output(command="cat", stdin=pulumi.Output.secret("plan" + "ted"), logging="none")\n'
        'pulumi.export("ran", ran.stdout)\n'
    )
    for _ in range(2):
        assert "ran\n" in workspace.preview().output
    assert "planted" not in workspace.up().output
    output = workspace.stack.outputs()["ran"]
    assert (output.value, output.secret) == ("planted", True)


CUSTOM = """
class Custom(pulumi.CustomResource):
    def __init__(self, token, **properties):
        super().__init__(token, "c", properties)
"""


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ('Custom("command:remote:CopyFile", remotePath="x")', "command:remote:CopyFile: not done by this plugin"),
        ('Custom("command:local:Command", creat="x")', "command:local:Command has no property creat"),
        ('local.Command("c", environment={"A": 1})', "environment.A must be a string"),
    ],
)
def test_what_is_not_done_and_what_cannot_be_meant_is_refused_by_name(
    workspace: Workspace, program: str, said: str
) -> None:
    with pytest.raises(automation.CommandError) as caught:
        workspace.program(f"{PROGRAM}{CUSTOM}{program}\n").preview()
    assert said in str(caught.value)


def test_a_cancelled_command_ends_with_all_that_it_has_started(
    workspace: Workspace, cli: automation.PulumiCommand
) -> None:
    started = workspace.folder / "started"
    pids = workspace.folder / "pids"
    workspace.program(
        PROGRAM
        + f'local.Command("c", create="sleep 600 & echo $! >> {pids}; echo $$ >> {pids}; touch {started}; wait")\n'
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
