"""`command:remote:Command` through the real CLI and its official SDK: what runs on the host, and what comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pulumi import automation
from remote_command import NAME, PROGRAM, command, connect, out, stored
from ssh_server import PASSWORD, USER, SshServer, public_folder, ssh_server
from workspace import Workspace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the server's users are in a mount namespace: root's to make")


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    """A server that accepts the variable A and those of the last output."""
    settings = "AcceptEnv A\nAcceptEnv PULUMI_COMMAND_*"
    with public_folder() as folder, ssh_server(folder, settings=settings) as found:
        yield found


@pytest.fixture
def workspace(make: Callable[..., Workspace], server: SshServer) -> Workspace:
    """A workspace whose programs find the server in `connection`; no agent of the machine's gets in."""
    return connect(make(SSH_AUTH_SOCK=""), server.connection)


def test_create_update_and_delete_run_on_the_host_with_the_last_output(workspace: Workspace, server: SshServer) -> None:
    log = server.home / "crud"
    commands = {
        "create": f"echo made; echo create $A >> {log}",
        "update": f"echo $PULUMI_COMMAND_STDOUT again; echo update $A >> {log}",
        "delete": f"echo delete $PULUMI_COMMAND_STDOUT >> {log}",
    }
    workspace.program(command(**commands, environment={"A": "1"}))
    assert workspace.preview().steps[NAME].operation == "create"
    assert not log.exists()
    workspace.up()
    assert out(workspace) == "made"
    workspace.refresh()
    assert workspace.preview().steps == {}
    workspace.program(command(**commands, environment={"A": "2"}))
    assert workspace.preview().steps[NAME].diff == {"environment.A": ("update", False)}
    workspace.up()
    assert out(workspace) == "made again"
    workspace.destroy()
    assert log.read_text() == "create 1\nupdate 2\ndelete made again\n"


def test_triggers_replace_and_the_old_delete_runs_after_the_new_create(workspace: Workspace, server: SshServer) -> None:
    log = server.home / "triggers"
    commands = {"create": f"echo create >> {log}", "delete": f"echo delete >> {log}"}
    workspace.program(command(**commands, triggers=[1])).up()
    workspace.program(command(**commands, triggers=[2]))
    assert workspace.preview().steps[NAME].diff == {"triggers[0]": ("update-replace", False)}
    workspace.up()
    assert log.read_text() == "create\ncreate\ndelete\n"


def test_an_asset_among_the_triggers_replaces_when_its_content_changes(workspace: Workspace, server: SshServer) -> None:
    log = server.home / "asset-trigger"
    script = workspace.folder / "script.sh"
    text = command(create=f"echo create >> {log}").replace(
        "connection=connection", 'connection=connection, triggers=[pulumi.FileAsset("script.sh")]'
    )
    script.write_text("one")
    workspace.program(text).up()
    assert workspace.preview().steps == {}
    script.write_text("two")
    assert workspace.up().steps[NAME].operation == "replace"
    assert log.read_text() == "create\ncreate\n"


def test_secrets_reach_the_command_and_are_nowhere_in_the_open(workspace: Workspace, server: SshServer) -> None:
    seen = server.home / "seen"
    connect(workspace, {"host": "127.0.0.1", "port": server.port, "password": PASSWORD})
    workspace.program(
        f'{PROGRAM}told = pulumi.ResourceOptions(additional_secret_outputs=["stdout"])\n'
        'c = remote.Command("c", connection=connection, logging="none", opts=told, '
        f'create="tee {seen}", stdin=pulumi.Output.secret("plan" + "ted-stdin"))\n'
        'pulumi.export("out", c.stdout)\n'
    )
    shown = workspace.preview().output + workspace.up().output
    assert seen.read_text() == "planted-stdin"
    output = workspace.stack.outputs()["out"]
    assert (output.value, output.secret) == ("planted-stdin", True)
    workspace.program(f"{PROGRAM}")
    shown += workspace.up().output
    held = stored(workspace)
    assert "command:remote:Command" in held
    for secret in ("planted-stdin", PASSWORD):
        assert secret not in shown
        assert secret not in held


def test_the_output_is_plain_where_the_program_does_not_say_otherwise(workspace: Workspace, server: SshServer) -> None:
    workspace.program(command(create="cat").replace(", create=", ', stdin=pulumi.Output.secret("plain"), create=')).up()
    output = workspace.stack.outputs()["out"]
    assert (output.value, output.secret) == ("plain", False)
    assert "plaintext" in workspace.state()[NAME]["inputs"]["connection"], "it is not marked as a secret"
    held = stored(workspace)
    assert "127.0.0.1" not in held
    assert server.private_key.splitlines()[1] not in held


def test_a_failure_shows_the_code_the_command_and_its_output_and_leaves_nothing_in_the_state(
    workspace: Workspace,
) -> None:
    said = workspace.program(command(create="echo out; echo err >&2; exit 3")).up_fails()
    assert 'Process exited with status 3: running "echo out; echo err >&2; exit 3":' in said
    assert "\n    out\n    err\n" in said or "\n    err\n    out\n" in said
    assert NAME not in workspace.state()


def test_a_failing_update_leaves_the_state_as_it_was(workspace: Workspace) -> None:
    workspace.program(command(create="echo made", environment={"A": "1"})).up()
    assert "status 4" in workspace.program(command(create="echo made", update="exit 4")).up_fails()
    resource = workspace.state()[NAME]
    assert (resource["outputs"]["stdout"], "update" in resource["inputs"]) == ("made", False)


def test_a_command_that_a_signal_ends_is_a_failure(workspace: Workspace) -> None:
    said = workspace.program(command(create="kill -9 $$")).up_fails()
    assert "Process exited with status 137 from signal KILL" in said


def test_output_is_shown_while_the_command_runs_as_logging_says(workspace: Workspace, server: SshServer) -> None:
    gate = server.home / "gate"
    both = {"to-stdout", "to-stderr"}
    expected = {"stdoutAndStderr": both, "stdout": {"to-stdout"}, "stderr": {"to-stderr"}, "none": set(), "unset": both}
    workspace.program(
        f"{PROGRAM}"
        f'create = "echo to-stdout; echo to-stderr >&2; while [ ! -e {gate} ]; do sleep 0.1; done"\n'
        f"for logging in {list(expected)}:\n"
        '    given = {} if logging == "unset" else {"logging": logging}\n'
        "    remote.Command(logging, connection=connection, create=create, **given)\n"
    )
    heard: dict[str, set[str]] = {name: set() for name in expected}
    complete, opened = threading.Event(), threading.Event()

    def hear(event: automation.events.EngineEvent) -> None:
        said = event.diagnostic_event
        if said and said.urn and said.message.strip() in both:
            heard[said.urn.rpartition("::")[2]].add(said.message.strip())
        if heard == expected and not opened.is_set():
            complete.set()

    def open_gate() -> None:
        complete.wait(60)
        time.sleep(0.5)  # for what must not be shown
        opened.set()
        gate.touch()

    opener = threading.Thread(target=open_gate)
    opener.start()
    workspace.stack.up(on_event=hear)
    opener.join()
    assert complete.is_set(), "not shown before the commands ended"
    assert heard == expected


def test_a_variable_that_the_server_does_not_accept_ends_the_update_before_the_command_runs(
    workspace: Workspace, server: SshServer
) -> None:
    ran = server.home / "ran"
    said = workspace.program(command(create=f"touch {ran}", environment={"REFUSED": "1"})).up_fails()
    assert 'could not set environment variable "REFUSED"' in said
    assert "AcceptEnv REFUSED" in said
    assert not ran.exists()


def test_the_last_output_that_the_server_does_not_accept_is_a_warning(make: Callable[..., Workspace]) -> None:
    with public_folder() as folder, ssh_server(folder) as strict:
        workspace = connect(make(SSH_AUTH_SOCK=""), strict.connection)
        workspace.program(command(create="echo made")).up()
        again = {"create": "echo made", "update": "echo now: $PULUMI_COMMAND_STDOUT"}
        messages = workspace.program(command(**again)).up().messages
        assert out(workspace) == "now:"
        assert [message for message in messages if "AcceptEnv PULUMI_COMMAND_STDOUT" in message]
        changed = {**again, "update": "echo then", "add_previous_output_in_env": False}
        messages = workspace.program(command(**changed)).up().messages
        assert [message for message in messages if message.startswith("warning")] == []
        assert out(workspace) == "then"


@pytest.mark.parametrize("user", ["root", USER])
def test_a_cancelled_command_ends_on_the_host_with_all_that_it_has_started(
    workspace: Workspace, server: SshServer, cli: automation.PulumiCommand, user: str
) -> None:
    connect(workspace, {**server.connection, "user": user})
    started, pids = server.home / f"started-{user}", server.home / f"pids-{user}"
    workspace.program(
        command(
            create=f"trap '' TERM; sleep 600 & echo $! >> {pids}; echo $$ >> {pids}; touch {started}; sleep 601; wait"
        )
    )
    process = subprocess.Popen(
        [cli.command, "up", "--yes", "--skip-preview", "--stack", "dev", "--non-interactive"],
        cwd=workspace.folder,
        env={**os.environ, **workspace.stack.workspace.env_vars},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        deadline = time.monotonic() + 60
        while not started.exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    finally:
        process.kill()
    assert started.exists(), said
    assert process.returncode != 0
    left = [pid for pid in pids.read_text().split() if _sleeps(Path("/proc") / pid)]
    assert left == [], said


def _sleeps(folder: Path) -> bool:
    """Whether the process is one of the command's (its number may be another's by now)."""
    try:
        return b"sleep" in (folder / "cmdline").read_bytes()
    except OSError:
        return False
