"""What llmctl does about a run that was killed: its lock, and what it had begun to create."""

from __future__ import annotations

import copy
import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from on_mocks import Raw

from cli.deployment import Deployment
from cli.pulumi import Pulumi
from cli.recovery import begun, provisional, settled, unseen
from toolchain.paths import state_dir
from toolchain.steps import StepFailed

# --- locks ---

HERE = socket.gethostname()


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the stack `test`'s locks, empty."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    folder = state_dir() / "pulumi/backend/.pulumi/locks/organization/llm-serving/test"
    folder.mkdir(parents=True)
    return folder


def lock(folder: Path, pid: int, host: str, since: str = "") -> Path:
    file = folder / f"{pid}-{host}.json"
    stamp = since or datetime.now(UTC).isoformat()
    file.write_text(json.dumps({"pid": pid, "username": "me", "hostname": host, "timestamp": stamp}))
    return file


def dead_pid() -> int:
    """The id of a process that has just ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def test_the_lock_of_a_dead_process_is_broken(locks: Path) -> None:
    file = lock(locks, pid := dead_pid(), HERE, "2025-01-31T12:00:00.123456789Z")
    assert Pulumi("test", environment={}).unlock() == [f"process {pid} of 2025-01-31T12:00:00.123456789Z"]
    assert not file.exists()


def test_the_lock_of_a_process_that_ended_unnoticed_is_broken(locks: Path) -> None:
    """Until its parent asks for its exit code, a dead process still has an entry under /proc."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        file = lock(locks, process.pid, HERE)
        assert len(Pulumi("test", environment={}).unlock()) == 1
    assert not file.exists()


def test_the_lock_of_a_process_whose_id_another_one_has_got_is_broken(locks: Path) -> None:
    """As after a reboot, when the ids are given anew."""
    file = lock(locks, os.getpid(), HERE, "2025-01-31T12:00:00Z")
    assert len(Pulumi("test", environment={}).unlock()) == 1
    assert not file.exists()


def test_locks_that_may_be_held_are_kept_and_explained_all_at_once(locks: Path) -> None:
    living, elsewhere = lock(locks, os.getpid(), HERE), lock(locks, dead_pid(), "elsewhere.example.com")
    with pytest.raises(StepFailed) as refused:
        Pulumi("test", environment={}).unlock()
    assert living.exists()
    assert elsewhere.exists()
    said = str(refused.value)
    assert f"process {os.getpid()} of " in said
    assert "by me on this machine, which is still at work" in said
    assert "by me on elsewhere.example.com" in said
    assert "`bin/pulumi cancel test`" in said


def test_the_lock_of_another_stack_is_kept(locks: Path) -> None:
    file = lock(locks, dead_pid(), HERE)
    assert Pulumi("other", environment={}).unlock() == []
    assert file.exists()


def test_locks_are_looked_for_where_the_backend_is(locks: Path, tmp_path: Path) -> None:
    ours = lock(locks, dead_pid(), HERE)
    folder = tmp_path / "elsewhere/.pulumi/locks/organization/llm-serving/test"
    folder.mkdir(parents=True)
    file = lock(folder, dead_pid(), HERE)
    assert Pulumi("test", environment={"PULUMI_BACKEND_URL": "s3://states"}).unlock() == []
    assert len(Pulumi("test", environment={"PULUMI_BACKEND_URL": f"file://{tmp_path}/elsewhere"}).unlock()) == 1
    assert ours.exists()
    assert not file.exists()


# --- what was begun ---

NOW = 1_800_000_000.0


def stamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def resource(
    type_: str = "kubernetes:apps/v1:Deployment", name: str = "chat", metadata: dict[str, str] | None = None
) -> Raw:
    return {
        "urn": f"urn:pulumi:test::llm-serving::{type_}::{name}",
        "type": type_,
        "custom": True,
        "inputs": {"metadata": metadata or {"name": name, "namespace": "llm"}},
    }


def pending(item: Raw, kind: str = "creating") -> Raw:
    return {"type": kind, "resource": item}


def failed(item: Raw, seconds: float = NOW) -> list[str]:
    """The events of a creation that began at `seconds` and failed."""
    step = {"op": "create", "urn": item["urn"], "new": item}
    return [
        json.dumps({"timestamp": seconds, "resourcePreEvent": {"metadata": step}}),
        json.dumps({"timestamp": seconds + 1, "resOpFailedEvent": {"metadata": step, "status": 2}}),
    ]


def state(*resources: Raw, operations: tuple[Raw, ...] = (), written: float = NOW) -> Raw:
    return {
        "version": 3,
        "deployment": {
            "manifest": {"time": stamp(written)},
            "resources": [*resources],
            "pending_operations": [*operations],
        },
    }


def found_live(item: Raw, manager: str = "pulumi-kubernetes", made: float = NOW) -> Raw:
    """The resource after a refresh that has found it."""
    metadata = {"creationTimestamp": stamp(made), "managedFields": [{"manager": manager}]}
    return {**item, "id": "llm/chat", "outputs": {"metadata": metadata}}


OLD = {"urn": "old", "type": "pulumi:pulumi:Stack"}


@pytest.mark.parametrize(
    ("metadata", "identifier"),
    [({"name": "chat", "namespace": "llm"}, "llm/chat"), ({"name": "chat"}, "chat")],
)
@pytest.mark.parametrize("how", ["pending", "failed"])
def test_what_was_being_created_is_looked_up_by_its_own_name(
    how: str, metadata: dict[str, str], identifier: str
) -> None:
    item = resource(metadata=metadata)
    left = state(OLD, operations=(pending(item),) if how == "pending" else ())
    found = begun(left, failed(item) if how == "failed" else [])
    prepared = provisional(left, found)
    assert [(r["urn"], r.get("id")) for r in prepared["deployment"]["resources"]] == [
        ("old", None),
        (item["urn"], identifier),
    ]
    assert "pending_operations" not in prepared["deployment"]
    assert unseen(prepared) == [item["urn"]]


@pytest.mark.parametrize(
    "item",
    [resource("kubernetes:core/v1:ConfigMap", metadata={"namespace": "llm"}), resource("command:local:Command")],
    ids=["without a name of its own", "not Kubernetes'"],
)
def test_what_cannot_be_looked_up_is_begun_again(item: Raw) -> None:
    left = state(OLD, operations=(pending(item),))
    assert provisional(left, begun(left, []))["deployment"]["resources"] == [OLD]


def test_what_was_being_changed_is_in_the_state_already() -> None:
    left = state(found_live(resource()), operations=(pending(resource(), "updating"),))
    assert begun(left, []) == []
    assert "pending_operations" not in provisional(left, [])["deployment"]


def test_what_has_failed_is_forgotten_once_another_run_has_written_the_state() -> None:
    events = failed(resource())
    assert [item.name for item in begun(state(OLD, written=NOW + 5), events)] == ["chat"]
    assert begun(state(OLD, written=NOW + 3600), events) == []


def test_the_events_of_a_killed_run_end_anywhere() -> None:
    events = failed(resource())
    assert [item.name for item in begun(state(OLD), [*events, '{"timest'])] == ["chat"]


def test_what_is_in_the_state_is_not_taken_in_twice() -> None:
    assert begun(state(found_live(resource())), failed(resource())) == []


def test_what_an_event_hides_is_a_secret_until_the_refresh_tells_it() -> None:
    item = resource("kubernetes:core/v1:Secret")
    item["inputs"]["data"] = {"key": "[secret]"}
    left = state(OLD)
    taken = provisional(left, begun(left, failed(item)))["deployment"]["resources"][-1]
    assert taken["inputs"]["data"]["key"]["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"


@pytest.mark.parametrize(
    ("live", "kept"),
    [
        (found_live(resource()), True),
        (found_live(resource(), manager="kubectl"), False),
        (found_live(resource(), made=NOW - 3600), False),
    ],
    ids=["ours", "made by hand", "there before"],
)
def test_what_somebody_else_has_made_is_left_to_him(live: Raw, kept: bool) -> None:
    found = begun(state(OLD), failed(resource()))
    after = settled(state(OLD, live), found)["deployment"]["resources"]
    assert (live in after) is kept
    assert OLD in after


def test_a_patch_is_taken_in_whoever_has_made_the_object() -> None:
    item = resource("kubernetes:core/v1:NodePatch", name="gpu-a")
    live = found_live(item, manager="kubelet", made=NOW - 3600)
    found = begun(state(OLD), failed(item))
    assert live in settled(state(OLD, live), found)["deployment"]["resources"]


@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_replaced_goes_only_if_its_successor_is_there(is_there: bool) -> None:
    before = {**found_live(resource()), "id": "llm/chat-1"}
    left = state(before, operations=(pending(resource()),))
    found = begun(left, [])
    prepared = provisional(left, found)
    assert [r.get("delete") for r in prepared["deployment"]["resources"]] == [True, None]
    refreshed = copy.deepcopy(prepared)
    resources = refreshed["deployment"]["resources"]
    if is_there:
        resources[1] = found_live(resource())
    else:
        del resources[1]
    after = settled(refreshed, found)["deployment"]["resources"]
    assert [(r["id"], r.get("delete")) for r in after] == (
        [("llm/chat-1", True), ("llm/chat", None)] if is_there else [("llm/chat-1", None)]
    )


# --- all of it, in order ---


class Exported(Pulumi):
    """A stack whose state is given, that notes what is asked of Pulumi."""

    def __init__(self, left: Raw) -> None:
        super().__init__("test", environment={})
        self.state = left
        self.asked: list[str] = []

    def output(self, *arguments: str) -> str:
        """Answers `stack export`, and takes in `stack import`, as the CLI would."""
        self.asked.append(" ".join(arguments[:2]))
        if arguments[:2] == ("stack", "import"):
            self.state = json.loads(Path(arguments[arguments.index("--file") + 1]).read_text())
        if arguments[0] == "refresh":
            self.asked[-1] = " ".join(arguments[arguments.index("--target") :])
            resources: list[Any] = self.state["deployment"]["resources"]
            resources[-1] = found_live(resources[-1], made=time.time())
        return json.dumps(self.state)

    def run(self, *arguments: str) -> None:
        """Notes the command; what starts a process is the real one's."""
        self.asked.append(arguments[0])
        if arguments[0] == "up":
            super().run(*arguments)

    def exists(self) -> bool:
        """It does."""
        return True

    def cluster(self) -> str | None:
        """That of KUBECONFIG."""
        return None


@pytest.mark.usefixtures("locks")
def test_only_what_was_begun_is_refreshed() -> None:
    stack = Exported(state(OLD, operations=(pending(resource()),)))
    assert stack.adopt() == ["chat"]
    assert stack.asked == ["stack export", "stack import", f"--target {resource()['urn']}", "stack export"]
    assert stack.adopt() == []


@pytest.mark.usefixtures("locks")
def test_a_mending_that_was_killed_itself_is_finished() -> None:
    left = state(OLD, operations=(pending(resource()),))
    stack = Exported(provisional(left, begun(left, [])))
    assert stack.adopt() == ["chat"]
    assert unseen(stack.state) == []


@pytest.mark.usefixtures("locks")
def test_a_state_in_order_is_left_alone() -> None:
    stack = Exported({"version": 3, "deployment": {"resources": [OLD]}})
    assert stack.adopt() == []
    assert stack.asked == ["stack export"]


@pytest.mark.usefixtures("locks")
def test_a_stack_that_goes_takes_along_what_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left where it is, a pod that nobody knows of would keep the volumes and the namespace that are to go."""
    stack = Exported(state(OLD, operations=(pending(resource()),)))
    monkeypatch.setattr(Deployment, "pulumi", stack)
    Deployment(stack="test", lab=None).down()
    mended = ["stack export", "stack import", f"--target {resource()['urn']}", "stack export"]
    assert stack.asked == [*mended, "destroy", "stack rm"]


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize("code", [0, 1, -9])
def test_what_a_deployment_did_is_kept_for_the_next_run_unless_it_ended_well(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def up(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        Path(command[command.index("--event-log") + 1]).write_text("\n".join(failed(resource(), time.time())))
        return subprocess.CompletedProcess(command, code)

    monkeypatch.setattr(subprocess, "run", up)
    stack = Exported(state(OLD, written=time.time()))
    if code == 0:
        stack.up()
    else:
        with pytest.raises(StepFailed, match="killed by signal 9" if code < 0 else "exit code 1"):
            stack.up()
    assert stack.adopt() == ([] if code == 0 else ["chat"])
