"""Commands and copies over SSH, as far as no server is needed: properties, attempts, secrets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import asyncssh
import pytest

from plugins._engine import Engine, Status
from plugins._provider import Failure
from plugins._values import ARCHIVE, ASSET, SIGNATURE, UNKNOWN, Secret
from plugins.command.connection import Connection, connected
from plugins.command.copy_to_remote import needed, source_problems
from plugins.command.properties import (
    COPY,
    REMOTE_COMMAND,
    checked,
    previous_output,
    problems,
)
from plugins.command.remote import finish

FILE = {SIGNATURE: ASSET, "path": "script.sh", "hash": "1"}
FOLDER = {SIGNATURE: ARCHIVE, "path": "folder", "hash": "1"}


class Shown(Status):
    """Keeps what is shown."""

    def __init__(self) -> None:
        super().__init__(Engine(""), "")
        self.messages: list[str] = []

    def show(self, message: str, severity: Any = None) -> None:  # noqa: ARG002  # the severity is always the same
        self.messages.append(message)


@pytest.fixture
def refusals(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Where was dialled to, all in vain; nothing is waited for."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    dialled: list[tuple[str, int]] = []

    async def connect(host: str, port: int, **_options: Any) -> None:
        dialled.append((host, port))
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(asyncssh, "connect", connect)
    return dialled


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that would have been waited."""
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return waited


def dial(status: Status, **connection: Any) -> None:
    async def work() -> None:
        async with connected(Connection.from_properties({"host": "gpu-a", **connection}), status):
            raise AssertionError("it cannot have connected")

    asyncio.run(work())


def test_each_thing_wrong_with_a_connection_is_said_with_its_path() -> None:
    connection = {
        "prot": 1,
        "port": "22",
        "dialErrorLimit": 1.5,
        "perDialTimeout": True,
        "proxy": {"user": True, "proxy": {}},
    }
    found = dict(problems(REMOTE_COMMAND, {"connection": Secret(connection), "creat": "x"}))
    assert set(found) == {
        "creat",
        "connection.prot",
        "connection.port",
        "connection.dialErrorLimit",
        "connection.perDialTimeout",
        "connection.host",
        "connection.proxy.user",
        "connection.proxy.proxy",
        "connection.proxy.host",
    }
    assert found["connection.port"] == "port must be a number"


def test_what_is_not_known_yet_is_no_problem() -> None:
    assert problems(REMOTE_COMMAND, {"connection": UNKNOWN, "create": UNKNOWN}) == []
    assert problems(REMOTE_COMMAND, {"connection": Secret({"host": UNKNOWN, "port": UNKNOWN}), "stdin": None}) == []
    assert checked({"connection": UNKNOWN}) == {"connection": UNKNOWN}


def test_what_has_to_be_there_is_missed() -> None:
    assert [name for name, _ in problems(REMOTE_COMMAND, {})] == ["connection"]
    assert [name for name, _ in problems(COPY, {})] == ["connection", "source", "remotePath"]
    assert [name for name, _ in problems(COPY, {"connection": {"host": "a"}, "source": FILE, "remotePath": "/a"})] == []


def test_a_checked_connection_is_secret_and_complete_with_the_defaults_of_the_schema() -> None:
    defaults = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
    given = {"host": "a", "user": None, "proxy": {"host": "b", "port": 2222}}
    expected = {"host": "a", **defaults, "proxy": {"host": "b", **defaults, "port": 2222}}
    assert checked({"connection": given, "create": "x"}) == {"connection": Secret(expected), "create": "x"}
    assert checked({"connection": Secret(expected)}) == {"connection": Secret(expected)}


def test_passwords_and_keys_are_secrets_within_the_secret_as_the_official_plugin_has_them() -> None:
    secrets = {"password": "a", "privateKey": Secret("b"), "privateKeyPassword": UNKNOWN}
    hidden = {"password": Secret("a"), "privateKey": Secret("b"), "privateKeyPassword": Secret(UNKNOWN)}
    given = Secret({"host": "a", **secrets, "proxy": {"host": "b", **secrets}})
    connection = checked({"connection": given})["connection"].value
    assert {name: connection[name] for name in hidden} == hidden
    assert {name: connection["proxy"][name] for name in hidden} == hidden


def test_a_connections_representation_holds_no_secret() -> None:
    proxy = {"host": "b", "password": "planted-1", "privateKey": "planted-2", "privateKeyPassword": "planted-3"}
    connection = Connection.from_properties({**proxy, "host": "a", "proxy": proxy})
    assert connection.proxy is not None
    assert connection.proxy.password == "planted-1"
    assert "planted" not in repr(connection)


def test_empty_output_is_not_passed_on() -> None:
    assert previous_output({}, {"stdout": Secret("made"), "stderr": ""}) == {"PULUMI_COMMAND_STDOUT": "made"}
    assert previous_output({"addPreviousOutputInEnv": False}, {"stdout": "made"}) == {}


def test_attempts_are_made_up_to_the_limit_with_growing_waits(
    refusals: list[tuple[str, int]], waits: list[float]
) -> None:
    status = Shown()
    with pytest.raises(Failure, match=r"^after 10 failed attempts: root@gpu-a:22: refused$"):
        dial(status)
    assert refusals == [("gpu-a", 22)] * 11
    assert waits == pytest.approx([0.1 * 1.5**failed for failed in range(10)])
    assert status.messages == [f"Dial {failed}/10 failed: retrying" for failed in range(1, 11)]


def test_waits_are_5_seconds_at_most_and_minus_1_has_no_end(
    refusals: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 50:
            raise KeyboardInterrupt

    monkeypatch.setattr(asyncio, "sleep", sleep)
    status = Shown()
    with pytest.raises(KeyboardInterrupt):
        dial(status, dialErrorLimit=-1)
    assert len(refusals) == 50
    assert max(waited) == 5.0
    assert status.messages[-1] == "Dial 50/inf failed: retrying"


def test_a_jump_host_is_dialled_first_with_its_own_limit(refusals: list[tuple[str, int]], waits: list[float]) -> None:
    status = Shown()
    with pytest.raises(Failure, match=r"^proxy: after 2 failed attempts: ops@jump:2222: refused$"):
        dial(status, proxy={"host": "jump", "port": 2222, "user": "ops", "dialErrorLimit": 2})
    assert set(refusals) == {("jump", 2222)}
    assert len(waits) == 2
    assert status.messages[0] == "Dial proxy 1/2 failed: retrying"


def test_a_host_that_says_nothing_is_given_up_after_the_time_for_one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    start = time.monotonic()
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(Failure, match=r"^after 0 failed attempts: root@127\.0\.0\.1:\d+: no answer within 1 s$"),
    ):
        dial(Shown(), host="127.0.0.1", port=listener.getsockname()[1], perDialTimeout=1, dialErrorLimit=0)
    assert time.monotonic() - start < 14, "the default of 15 s was taken"


def test_all_attempts_together_end_with_the_time_of_the_operation(refusals: list[tuple[str, int]]) -> None:
    async def work() -> None:
        async with connected(Connection.from_properties({"host": "gpu-a", "dialErrorLimit": -1}), Shown(), 0.3):
            raise AssertionError("it cannot have connected")

    with pytest.raises(Failure, match=r"^no connection after 0\.3 s, the limit of customTimeouts$"):
        asyncio.run(work())
    assert len(refusals) > 1


@pytest.mark.parametrize("name", ["privateKey", "hostKey"])
def test_a_key_that_cannot_be_read_is_said_without_it_and_nothing_is_dialled(
    refusals: list[tuple[str, int]], name: str
) -> None:
    with pytest.raises(Failure, match=name) as caught:
        dial(Shown(), **{name: "planted"})
    assert "planted" not in str(caught.value)
    assert refusals == []


def test_an_agent_that_does_not_answer_is_said_even_where_a_key_is_given(
    refusals: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", "/no/such/agent")
    key = asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode()
    with pytest.raises(Failure, match=r"^SSH agent at /no/such/agent: "):
        dial(Shown(), privateKey=key)
    assert refusals == []


def test_sources_are_files_texts_and_folders() -> None:
    for taken in (FILE, FOLDER, {SIGNATURE: ASSET, "text": ""}):
        assert source_problems(taken) == []
    assert [name for name, _ in source_problems("script.sh")] == ["asset"]
    assert [name for name, _ in source_problems({SIGNATURE: ASSET, "uri": "x"})] == ["asset"]
    for name in ("uri", "assets"):
        assert [path for path, _ in source_problems({SIGNATURE: ARCHIVE, name: "x"})] == ["archive"]


@pytest.mark.parametrize(
    ("change", "copies"),
    [
        ({}, False),
        ({"source": {**FILE, "path": "moved.sh"}}, False),
        ({"connection": Secret({"host": "other"})}, False),
        ({"source": {**FILE, "hash": "2"}}, True),
        ({"remotePath": "/b"}, True),
    ],
)
def test_an_update_copies_only_another_content_or_path(change: dict[str, Any], copies: bool) -> None:
    before = {"connection": Secret({"host": "a"}), "source": FILE, "remotePath": "/a"}
    assert needed({**before, **change}, before) is copies


def test_cancelled_work_may_tidy_up_undisturbed() -> None:
    cancelled, tidied = threading.Event(), threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0.5)
            tidied.set()

    threading.Timer(0.2, cancelled.set).start()
    with pytest.raises(Failure, match=r"^cancelled$"):
        finish(work(), cancelled)
    assert tidied.is_set()
