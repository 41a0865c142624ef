"""`connection` of remote commands through the real CLI, against real OpenSSH servers: keys, jump host, attempts."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pulumi import automation
from remote_command import NAME, command, connect, out
from ssh_server import USER, SshServer, free_port, prepare, public_folder, ssh_server
from workspace import Workspace

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the server's users are in a mount namespace: root's to make")


@pytest.fixture(scope="module")
def server() -> Iterator[SshServer]:
    """A server that lets in by key or password."""
    with public_folder() as folder, ssh_server(folder) as found:
        yield found


@pytest.fixture
def workspace(make: Callable[..., Workspace], server: SshServer) -> Workspace:
    """A workspace whose programs find the server in `connection`; no agent of the machine's gets in."""
    return connect(make(SSH_AUTH_SOCK=""), server.connection)


def test_what_is_not_said_of_the_connection_is_in_the_state_as_the_schema_has_it(workspace: Workspace) -> None:
    workspace.program(command(create="true")).up()
    connection = json.loads(workspace.state()[NAME]["inputs"]["connection"]["plaintext"])
    defaults = {name: connection.get(name) for name in ("user", "port", "dialErrorLimit", "perDialTimeout")}
    port = json.loads((workspace.folder / "connection.json").read_text())["port"]
    assert defaults == {"user": "root", "port": port, "dialErrorLimit": 10, "perDialTimeout": 15}
    assert "plaintext" in connection["privateKey"], "it is no secret within the secret, as it is with the official one"


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
            time.sleep(0.05)  # before it is looked for again
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


def test_the_time_of_the_operation_ends_the_attempts_and_not_the_command(workspace: Workspace) -> None:
    times = "pulumi.ResourceOptions(custom_timeouts=pulumi.CustomTimeouts(create='5s', update='5s'))"
    text = command(create="sleep 6; echo made").replace("connection=connection", f"connection=connection, opts={times}")
    workspace.program(text).up()
    assert out(workspace) == "made"
    connect(workspace, {"host": "127.0.0.1", "port": free_port(), "dialErrorLimit": -1})
    assert "no connection after 5 s, the limit of customTimeouts" in workspace.up_fails()


def test_a_connection_that_cannot_be_meant_is_refused_in_the_preview(make: Callable[..., Workspace]) -> None:
    workspace = connect(make(SSH_AUTH_SOCK=""), {"prot": 1, "port": "22"}).program(command(create="true"))
    with pytest.raises(automation.CommandError) as caught:
        workspace.preview()
    for said in ("connection has no property prot", "connection.host is missing", "port must be a number"):
        assert said in str(caught.value)
