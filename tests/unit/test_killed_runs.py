"""What llmctl does about a run that was killed: its lock, and what it had begun to create."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from interrupted import OLD, failed, found_live, pending, resource, resources_of, state
from on_mocks import Raw

from cli.deployment import Deployment
from cli.pulumi import Adopted, Pulumi
from cli.recovery import unseen
from lab.lab import Lab
from toolchain.paths import state_dir
from toolchain.steps import StepFailed

# --- locks ---

HERE = socket.gethostname()
WAIT = "import time; time.sleep(60)"


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


def test_the_lock_of_a_living_pulumi_is_kept_whatever_the_clock_says(locks: Path, tmp_path: Path) -> None:
    """The time of the boot, from which a process' start is told, moves when the clock is set."""
    (tmp_path / "pulumi").symlink_to(sys.executable)
    with subprocess.Popen([tmp_path / "pulumi", "-c", WAIT]) as process:
        file = lock(locks, process.pid, HERE, "2025-01-31T12:00:00Z")
        try:
            with pytest.raises(StepFailed, match="still at work"):
                Pulumi("test", environment={}).unlock()
        finally:
            process.kill()
        process.wait()
        assert file.exists()
    assert len(Pulumi("test", environment={}).unlock()) == 1


def test_a_clock_that_was_set_a_little_breaks_no_lock(locks: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WAIT]) as process:
        lock(locks, process.pid, HERE, datetime.fromtimestamp(time.time() - 30, UTC).isoformat())
        try:
            with pytest.raises(StepFailed, match="still at work"):
                Pulumi("test", environment={}).unlock()
        finally:
            process.kill()


@pytest.mark.parametrize("text", ["", '{"pid": 1', "{}", "[]"])
def test_a_lock_that_cannot_be_read_is_held_by_somebody(locks: Path, text: str) -> None:
    (locks / "half.json").write_text(text)
    with pytest.raises(StepFailed, match=r"cannot be read.*half\.json"):
        Pulumi("test", environment={}).unlock()


def test_a_lock_that_vanishes_while_it_is_looked_at_is_none(locks: Path) -> None:
    (locks / "gone.json").symlink_to(locks / "nothing")
    assert Pulumi("test", environment={}).unlock() == []


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


# --- all of it, in order ---


class Exported(Pulumi):
    """A stack whose state is given, that notes what is asked of Pulumi."""

    def __init__(self, left: Raw) -> None:
        super().__init__("test", environment={})
        self.state = left
        self.asked: list[str] = []
        self.managers: tuple[str, ...] = ()
        self.finds = True
        self.fails = False

    def output(self, *arguments: str) -> str:
        """Answers `stack export`, and takes in `stack import`, as the CLI would."""
        self.asked.append(" ".join(arguments[:2]))
        if arguments[:2] == ("stack", "import"):
            self.state = json.loads(Path(arguments[arguments.index("--file") + 1]).read_text())
        if arguments[0] == "refresh":
            self.asked[-1] = " ".join(arguments[arguments.index("--target") :])
            resources: list[Any] = self.state["deployment"]["resources"]
            if self.finds:
                resources[-1] = found_live(resources[-1], *self.managers, made=time.time())
            if self.fails:
                raise StepFailed("the cluster is away")
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
    assert stack.adopt().looked_up == ["chat"]
    assert stack.asked[:4] == ["stack export", "stack import", f"--target {resource()['urn']}", "stack export"]
    assert stack.adopt() == Adopted([], [])


def log(stack: Pulumi, monkeypatch: pytest.MonkeyPatch, code: int = 1) -> None:
    """Let `up` end so, with the creation of `chat` failed or killed on the way."""

    def up(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        outputs = {"timestamp": time.time(), "resOutputsEvent": {"metadata": {"new": {"outputs": {"key": "sk-1"}}}}}
        with Path(command[command.index("--event-log") + 1]).open("a") as file:
            file.write("\n".join([json.dumps(outputs), *failed(resource(), time.time())]))
        return subprocess.CompletedProcess(command, code)

    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", up)
        if code:
            with pytest.raises(StepFailed, match="killed by signal 9" if code < 0 else "exit code 1"):
                stack.up()
        else:
            stack.up()


@pytest.mark.parametrize("manager", ["pulumi-kubernetes", "kubectl-create"])
@pytest.mark.usefixtures("locks")
def test_a_mending_that_failed_is_finished_and_takes_in_only_what_is_ours(
    manager: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Exported(state(OLD, written=time.time()))
    stack.managers = (manager,)
    log(stack, monkeypatch)
    stack.finds, stack.fails = False, True
    for _ in range(2):
        with pytest.raises(StepFailed, match="the cluster is away"):
            stack.adopt()
    stack.finds, stack.fails = True, False
    is_ours = manager == "pulumi-kubernetes"
    assert stack.adopt() == Adopted(["chat"], [] if is_ours else ["llm/chat"])
    assert unseen(stack.state) == []
    assert len(resources_of(stack.state)) == (2 if is_ours else 1)


@pytest.mark.usefixtures("locks")
def test_what_a_refresh_that_failed_has_found_is_asked_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Exported(state(OLD, written=time.time()))
    stack.managers = ("kubectl-create",)
    log(stack, monkeypatch)
    stack.fails = True
    with pytest.raises(StepFailed, match="the cluster is away"):
        stack.adopt()
    assert resources_of(stack.state) == [OLD]


@pytest.mark.usefixtures("locks")
def test_a_state_in_order_is_left_alone() -> None:
    stack = Exported({"version": 3, "deployment": {"resources": [OLD]}})
    assert stack.adopt() == Adopted([], [])
    assert stack.asked == ["stack export"]


@pytest.mark.usefixtures("locks")
def test_a_stack_that_goes_takes_along_what_was_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    """Left where it is, a pod that nobody knows of would keep the volumes and the namespace that are to go."""
    stack = Exported(state(OLD, operations=(pending(resource()),)))
    monkeypatch.setattr(Deployment, "pulumi", stack)
    Deployment(stack="test", lab=None).down()
    mended = ["stack export", "stack import", f"--target {resource()['urn']}", "stack export"]
    assert stack.asked[:4] == mended
    assert stack.asked[-2:] == ["destroy", "stack rm"]


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize("code", [0, 1, -9])
def test_what_a_deployment_did_is_kept_for_the_next_run_unless_it_ended_well(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = Exported(state(OLD, written=time.time()))
    log(stack, monkeypatch, code)
    assert stack.adopt() == Adopted(["chat"] if code else [], [])


def logs() -> list[Path]:
    return [file for file in (state_dir() / "pulumi/events").glob("*") if file.is_file()]


@pytest.mark.usefixtures("locks")
def test_what_is_kept_of_a_deployment_is_its_owner_s_alone_and_holds_no_outputs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = Exported(state(OLD, written=time.time()))
    folder = state_dir() / "pulumi/events"
    folder.mkdir(parents=True, mode=0o755)
    modes: list[int] = []

    def run(self: Pulumi, *arguments: str) -> None:
        modes.extend(file.stat().st_mode & 0o777 for file in logs())
        Pulumi.run(self, *arguments)

    monkeypatch.setattr(Exported, "run", run)
    log(stack, monkeypatch)
    assert modes == [0o600]
    assert folder.stat().st_mode & 0o777 == 0o700
    (file,) = logs()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "sk-1" not in file.read_text()
    log(stack, monkeypatch, 0)
    assert logs() == []


@pytest.mark.usefixtures("locks")
def test_what_a_run_killed_together_with_llmctl_has_left_is_shortened_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stack = Exported(state(OLD, written=time.time()))
    with monkeypatch.context() as patch:
        patch.setattr(stack, "_shorten_events", lambda: None)
        log(stack, monkeypatch)
    (file,) = logs()
    assert "sk-1" in file.read_text()
    stack.fails = True
    with pytest.raises(StepFailed):
        stack.adopt()
    assert "sk-1" not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("locks")
def test_a_stack_that_goes_leaves_no_event_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a lab as well, whose state is not mended because its cluster goes too."""

    class Gone:
        kubeconfig = Path("kubeconfig")

        def down(self) -> None:
            """Nothing to do."""

    stack = Exported(state(OLD, written=time.time()))
    log(stack, monkeypatch)
    monkeypatch.setattr(Deployment, "pulumi", stack)
    Deployment(stack="test", lab=cast("Lab", Gone())).down()
    assert logs() == []


@pytest.mark.usefixtures("locks")
def test_stacks_of_one_name_keep_event_logs_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log(Exported(state(OLD, written=time.time())), monkeypatch)
    other = Exported(state(OLD, written=time.time()))
    other.folder = tmp_path
    assert other.adopt() == Adopted([], [])
    monkeypatch.setenv("PULUMI_BACKEND_URL", "s3://states")
    assert Exported(state(OLD, written=time.time())).adopt() == Adopted([], [])
    assert len(logs()) == 1


@pytest.mark.usefixtures("locks")
@pytest.mark.parametrize("between", ["\N{NEXT LINE}", "\N{LINE SEPARATOR}"])
def test_a_separator_within_a_line_of_the_event_log_ends_none(between: str, monkeypatch: pytest.MonkeyPatch) -> None:
    item = resource()
    item["inputs"]["data"] = f"a{between}b"
    stack = Exported(state(OLD, written=time.time()))

    def killed(*_: str) -> None:
        lines = [json.dumps(json.loads(line), ensure_ascii=False) for line in failed(item, time.time())]
        logs()[0].write_bytes("\n".join([*lines, "\N{HIRAGANA LETTER A}"]).encode()[:-1])
        raise StepFailed("killed")

    monkeypatch.setattr(stack, "run", killed)
    with pytest.raises(StepFailed):
        stack.up()
    assert stack.adopt().looked_up == ["chat"]
