"""Keeping processes running: restarted after a crash or a change, ended when no longer wanted, started in order."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lab.processes import (
    IN_NAMESPACES,
    Definition,
    Processes,
    entering,
    is_open,
    read_definitions,
    start_time,
    write_definitions,
)


class _Set:
    """A set of processes over a folder, driven by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "definitions.json"
        self.notes: list[str] = []
        self.processes = Processes(self.file, folder, folder / "status.json", self.notes.append)

    def define(self, *definitions: Definition) -> None:
        write_definitions(self.file, list(definitions))

    def until(self, condition: Callable[[], bool], seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, self.notes
            self.processes.tick()
            time.sleep(0.01)

    def pids(self, name: str) -> list[int]:
        """Process ids that wrote themselves into the log of `name`, oldest first."""
        log = self.folder / f"{name}.log"
        return [int(line) for line in log.read_text().split()] if log.exists() else []


@pytest.fixture
def running(tmp_path: Path) -> Iterator[_Set]:
    processes = _Set(tmp_path)
    yield processes
    assert processes.processes.stop(lambda _: True, 5.0) == []


def _says_pid(name: str, then: str = "exec sleep 60", fingerprint: str = "", after: tuple[str, ...] = ()) -> Definition:
    return Definition(name, ("sh", "-c", f"echo $$; {then}"), after, fingerprint)


def _alive(pid: int) -> bool:
    try:
        start_time(pid)
    except FileNotFoundError:
        return False
    return True


def test_definitions_round_trip(tmp_path: Path) -> None:
    definitions = [Definition("a", ("x", "y"), ("tcp:127.0.0.1:1",), "f", {"A": "b"})]
    assert write_definitions(tmp_path / "d", definitions) is True
    assert write_definitions(tmp_path / "d", definitions) is False
    assert read_definitions(tmp_path / "d") == definitions


def test_crashed_process_is_started_again(running: _Set) -> None:
    running.define(_says_pid("a"))
    running.until(lambda: len(running.pids("a")) == 1)
    os.kill(running.pids("a")[0], 9)
    running.until(lambda: len(running.pids("a")) == 2)
    assert any("a: ended after" in note and "-9" in note for note in running.notes)


def test_crash_loop_slows_down(running: _Set) -> None:
    running.define(_says_pid("a", then="exit 3"))
    start = time.monotonic()
    running.until(lambda: len(running.pids("a")) == 3)
    assert time.monotonic() - start >= 0.7  # 0.2 s and 0.5 s of back-off


def test_changed_definition_restarts_that_process_only(running: _Set) -> None:
    running.define(_says_pid("a"), _says_pid("b"))
    running.until(lambda: len(running.pids("a")) == len(running.pids("b")) == 1)
    running.define(_says_pid("a", fingerprint="changed"), _says_pid("b"))
    running.until(lambda: len(running.pids("a")) == 2)
    assert len(running.pids("b")) == 1
    assert not _alive(running.pids("a")[0])


def test_process_no_longer_defined_ends(running: _Set) -> None:
    running.define(_says_pid("a"))
    running.until(lambda: len(running.pids("a")) == 1)
    running.define()
    running.until(lambda: not _alive(running.pids("a")[0]))
    assert (running.folder / "status.json").read_text() != ""


def test_process_waits_for_its_gate(running: _Set) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        gate = f"tcp:127.0.0.1:{server.getsockname()[1]}"
        running.define(_says_pid("a", after=(gate,)))
        for _ in range(20):
            running.processes.tick()
        assert not (running.folder / "a.log").exists()  # made as the process starts
        server.listen()
        running.until(lambda: len(running.pids("a")) == 1)


def test_unix_gate(tmp_path: Path) -> None:
    path = tmp_path / "s"
    assert not is_open(f"unix:{path}")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        assert is_open(f"unix:{path}")


def test_program_that_is_not_there_is_noted_and_tried_again(running: _Set) -> None:
    running.define(Definition("a", ("/nowhere/program",)))
    running.until(lambda: len(running.notes) == 2)
    assert running.notes[0] == "a: cannot start /nowhere/program: No such file or directory"


def test_orphans_are_reaped_and_told(running: _Set) -> None:
    child = os.fork()
    if not child:
        os._exit(0)
    strangers: list[int] = []

    def reaped() -> bool:
        strangers.extend(running.processes.tick())
        return bool(strangers)

    running.until(reaped)
    assert strangers == [child]


def test_log_of_an_earlier_run_is_kept(tmp_path: Path, running: _Set) -> None:
    (tmp_path / "a.log").write_text("before")
    running.define(_says_pid("a"))
    running.until(lambda: (tmp_path / "a.log.1").exists() and len(running.pids("a")) == 1)
    assert (tmp_path / "a.log.1").read_text() == "before"


def test_every_namespace_that_is_made_is_entered() -> None:
    namespaces = {"--mount", "--uts", "--net", "--pid", "--ipc", "--user", "--cgroup"}
    assert namespaces & set(IN_NAMESPACES) == namespaces & set(entering("1"))
