"""`command:remote:Command` through the real CLI and its official SDK, against real OpenSSH servers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pulumi import automation
from ssh_server import PASSWORD, USER, SshServer, free_port, prepare, public_folder, ssh_server
from workspace import Workspace

PROGRAM = """
import json
from pathlib import Path
import pulumi
from pulumi_command import remote
connection = json.loads(Path("connection.json").read_text())
"""
NAME = "command:remote:Command::c"

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


def connect(workspace: Workspace, connection: dict[str, object]) -> Workspace:
    (workspace.folder / "connection.json").write_text(json.dumps(connection))
    return workspace


def command(**properties: object) -> str:
    """A program with one command; `connection` is that of the workspace."""
    given = "".join(f", {name}={value!r}" for name, value in properties.items())
    return f'{PROGRAM}c = remote.Command("c", connection=connection{given})\npulumi.export("out", c.stdout)\n'


def out(workspace: Workspace) -> str:
    return str(workspace.stack.outputs()["out"].value)


def stored(workspace: Workspace) -> str:
    """All that the backend holds, history and all."""
    return "".join(path.read_text() for path in (workspace.folder / "backend").rglob("*.json*"))


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


def test_what_is_not_said_of_the_connection_is_in_the_state_as_the_schema_has_it(workspace: Workspace) -> None:
    workspace.program(command(create="true")).up()
    connection = json.loads(workspace.state()[NAME]["inputs"]["connection"]["plaintext"])
    defaults = {name: connection.get(name) for name in ("user", "port", "dialErrorLimit", "perDialTimeout")}
    port = json.loads((workspace.folder / "connection.json").read_text())["port"]
    assert defaults == {"user": "root", "port": port, "dialErrorLimit": 10, "perDialTimeout": 15}


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
        f'{PROGRAM}c = remote.Command("c", connection=connection, logging="none", '
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


def test_the_output_is_plain_where_only_the_connection_is_secret(workspace: Workspace, server: SshServer) -> None:
    workspace.program(command(create="echo plain")).up()
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


def test_the_right_host_key_lets_in_and_a_wrong_one_does_not(workspace: Workspace, server: SshServer) -> None:
    connect(workspace, {**server.connection, "hostKey": server.host_key})
    workspace.program(command(create="echo in")).up()
    assert out(workspace) == "in"
    other = (server.folder / "client_key.pub").read_text()
    connect(workspace, {**server.connection, "hostKey": other, "dialErrorLimit": 1})
    said = workspace.up_fails()
    assert "after 1 failed attempts: root@127.0.0.1" in said
    assert "Host key is not trusted" in said


def test_a_wrong_key_is_refused_without_being_shown(workspace: Workspace, server: SshServer, tmp_path: Path) -> None:
    stranger = prepare(tmp_path / "stranger", server.port)
    connect(workspace, {**stranger.connection, "dialErrorLimit": 0})
    said = workspace.program(command(create="true")).up_fails()
    assert "after 0 failed attempts: root@127.0.0.1" in said
    assert "Permission denied" in said
    assert stranger.private_key.splitlines()[1] not in said
    assert NAME not in workspace.state()


def test_an_encrypted_key_needs_its_password(workspace: Workspace, server: SshServer, tmp_path: Path) -> None:
    key = tmp_path / "encrypted"
    key.write_text(server.private_key)
    key.chmod(0o600)
    subprocess.run(["ssh-keygen", "-q", "-p", "-N", "pass phrase", "-f", str(key)], check=True, capture_output=True)
    connection = {**server.connection, "privateKey": key.read_text(), "privateKeyPassword": "pass phrase"}
    connect(workspace, connection)
    workspace.program(command(create="echo in")).up()
    assert out(workspace) == "in"
    connect(workspace, {**connection, "privateKeyPassword": "wrong words"})
    said = workspace.up_fails()
    assert "privateKey of root@127.0.0.1" in said
    assert "wrong words" not in said


def test_the_agents_keys_are_tried_where_no_key_is_given(
    make: Callable[..., Workspace], server: SshServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("agent") / "socket"  # short: a socket's path has 107 characters at most
    agent = subprocess.Popen(["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        environment = {**os.environ, "SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", "-"], env=environment, input=server.private_key.encode(), check=True)
        connection = {"host": "127.0.0.1", "port": server.port, "user": USER, "dialErrorLimit": 0}
        workspace = connect(make(SSH_AUTH_SOCK=""), {**connection, "agentSocketPath": str(path)})
        workspace.program(command(create="id -un")).up()
        assert out(workspace) == USER
        connect(workspace, {**connection, "agentSocketPath": f"{path}-not"})
        assert f"SSH agent at {path}-not" in workspace.up_fails()
    finally:
        agent.terminate()
        agent.wait(10)


def test_a_host_that_comes_late_is_waited_for_and_each_attempt_is_shown(
    make: Callable[..., Workspace], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder, port = tmp_path_factory.mktemp("ssh") / "late", free_port()
    late = prepare(folder, port)
    workspace = connect(make(SSH_AUTH_SOCK=""), late.connection).program(command(create="echo came"))
    heard: list[str] = []
    failed, done = threading.Event(), threading.Event()

    def hear(event: automation.events.EngineEvent) -> None:
        if event.diagnostic_event and "failed: retrying" in event.diagnostic_event.message:
            heard.append(event.diagnostic_event.message.strip())
            failed.set()

    def start_late() -> None:
        assert failed.wait(60)
        with ssh_server(folder, port=port):
            done.wait(60)

    starter = threading.Thread(target=start_late)
    starter.start()
    try:
        workspace.stack.up(on_event=hear)
    finally:
        done.set()
        starter.join()
    assert out(workspace) == "came"
    assert "Dial 1/10 failed: retrying" in heard[0]


def test_the_way_leads_over_the_jump_host(make: Callable[..., Workspace], server: SshServer) -> None:
    with public_folder() as folder, ssh_server(folder, settings="LogLevel DEBUG") as jump:
        proxy = {**jump.connection, "user": USER, "hostKey": jump.host_key}
        workspace = connect(make(SSH_AUTH_SOCK=""), {**server.connection, "proxy": proxy})
        workspace.program(command(create="id -un; echo $SSH_CONNECTION")).up()
        user, _, came_from, _, port = out(workspace).split()
        assert (user, port) == ("root", str(server.port))
        assert f"Accepted publickey for {USER}" in jump.log()
        assert f"target 127.0.0.1 port {server.port}" in jump.log(), "the jump host was not asked to lead on"
        assert f"Accepted publickey for root from 127.0.0.1 port {came_from}" in server.log()
        connect(workspace, {**server.connection, "proxy": {**proxy, "hostKey": server.host_key, "dialErrorLimit": 0}})
        assert "proxy: after 0 failed attempts" in workspace.up_fails()


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


def test_a_connection_that_cannot_be_meant_is_refused_in_the_preview(make: Callable[..., Workspace]) -> None:
    workspace = connect(make(SSH_AUTH_SOCK=""), {"prot": 1, "port": "22"}).program(command(create="true"))
    with pytest.raises(automation.CommandError) as caught:
        workspace.preview()
    for said in ("connection has no property prot", "connection.host is missing", "port must be a number"):
        assert said in str(caught.value)


def _sleeps(folder: Path) -> bool:
    """Whether the process is one of the command's (its number may be another's by now)."""
    try:
        return b"sleep" in (folder / "cmdline").read_bytes()
    except OSError:
        return False
