"""Keeps a set of processes running as a file of definitions says: the heart of the lab's init and supervisor.

Runs in PID 1, so it uses nothing but the standard library and never waits long. Not here: what the processes
are (components.py).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType

IN_NAMESPACES = (
    *("setpriv", "--pdeathsig", "KILL"),  # should the process that starts it die, so does unshare,
    *("unshare", "--mount", "--uts", "--net", "--pid", "--fork", "--kill-child"),  # and with it the init
    *("--mount-proc", "--propagation", "private"),
)
"""Beginning of a command that runs as process 1 in namespaces of its own (mount, host name, network, process ids)."""

_GATE_SECONDS = 0.5
_STOP_SECONDS = 10.0
_BACKOFF_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
_STEADY_SECONDS = 60.0
"""A process that ran this long before it ended starts again without a back-off."""


@dataclass(frozen=True)
class Definition:
    """One process to keep running.

    Attributes:
        name: its name, also that of its log file.
        argv: program (absolute path, or found on PATH) and arguments.
        after: gates, all of which must be open before it starts: `unix:PATH` and `tcp:HOST:PORT` accept a
            connection, `https://...` answers 200.
        fingerprint: anything; when it changes, the process is started anew, as with a changed argv.
        env: environment variables in addition to the supervisor's own.
    """

    name: str
    argv: tuple[str, ...]
    after: tuple[str, ...] = ()
    fingerprint: str = ""
    env: dict[str, str] = field(default_factory=dict)


def entering(pid: str) -> tuple[str, ...]:
    """Beginning of a command that runs in the namespaces which process `pid` was started in by IN_NAMESPACES."""
    return ("nsenter", "--target", pid, "--mount", "--uts", "--net", "--pid", "--wd=/", "--")


def write_definitions(path: Path, definitions: list[Definition]) -> bool:
    """Write the file that `Processes` follows, unless it says so already; true when it changed."""
    text = json.dumps([asdict(item) for item in definitions], indent=1)
    if path.exists() and path.read_text() == text:
        return False
    write_atomically(path, text)
    return True


def read_definitions(path: Path) -> list[Definition]:
    """Read what `write_definitions` wrote."""
    return [
        Definition(**{**item, "argv": tuple(item["argv"]), "after": tuple(item["after"])})
        for item in json.loads(path.read_text())
    ]


def write_atomically(path: Path, text: str) -> None:
    """Replace the file at `path`, so that a reader sees the old text or the new one."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text)
    partial.rename(path)


def is_open(gate: str) -> bool:
    """Whether what `gate` names answers now; waits half a second at most."""
    kind, _, rest = gate.partition(":")
    try:
        if kind == "unix":
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(_GATE_SECONDS)
                connection.connect(rest)
            return True
        if kind == "tcp":
            host, _, port = rest.rpartition(":")
            with socket.create_connection((host, int(port)), timeout=_GATE_SECONDS):
                return True
        # The question is only whether the server is up: its certificate is for its clients to check.
        context = ssl._create_unverified_context()  # noqa: S323 - see above
        with urllib.request.urlopen(gate, timeout=_GATE_SECONDS, context=context) as answer:  # noqa: S310 - our own URL
            return bool(answer.status == 200)
    except OSError:
        return False


@dataclass
class _Process:
    definition: Definition
    pid: int = 0
    since: float = 0.0
    starts: int = 0
    failures: int = 0
    not_before: float = 0.0
    stop_by: float = 0.0
    wanted: bool = True


class Processes:
    """The processes of one definitions file; call `tick` often."""

    def __init__(self, definitions: Path, logs: Path, status: Path, note: Callable[[str], None]) -> None:
        """Start nothing yet.

        Args:
            definitions: the file to follow.
            logs: folder for each process' output; a log of an earlier run is kept as `<name>.log.1`.
            status: file that says what runs, for `read_status`.
            note: takes a line about what happened.
        """
        self._file = definitions
        self._stamp: tuple[int, int] = (0, 0)
        self._logs = logs
        self._status = status
        self._note = note
        self._processes: dict[str, _Process] = {}
        self._dirty = True

    def tick(self) -> list[int]:
        """Reap what ended, follow the file, start what is due.

        Returns:
            Process ids that ended and were not of this set: orphans, or the caller's own children.
        """
        strangers = self._reap()
        self._follow()
        now = time.monotonic()
        for process in list(self._processes.values()):
            if process.pid:
                if process.stop_by and now > process.stop_by:
                    process.stop_by = now + _STOP_SECONDS
                    _kill(process.pid, signal.SIGKILL)
            elif not process.wanted:
                del self._processes[process.definition.name]
                self._dirty = True
            elif now >= process.not_before and all(is_open(gate) for gate in process.definition.after):
                self._start(process)
        if self._dirty:
            self._dirty = False
            self._write_status()
        return strangers

    def stop(self, names: Callable[[str], bool], seconds: float) -> list[str]:
        """End the processes whose name `names` accepts, and wait up to `seconds` for them.

        Returns:
            The names of those that still run.
        """
        chosen = [process for process in self._processes.values() if names(process.definition.name)]
        for process in chosen:
            process.wanted = False
            if process.pid:
                _kill(process.pid, signal.SIGTERM)
        until = time.monotonic() + seconds
        while any(process.pid for process in chosen) and time.monotonic() < until:
            self._reap()
            time.sleep(0.02)  # a process that was told to end needs a moment
        return [process.definition.name for process in chosen if process.pid]

    def _follow(self) -> None:
        try:
            stat = self._file.stat()
        except FileNotFoundError:
            return
        if (stat.st_mtime_ns, stat.st_ino) == self._stamp:
            return
        self._stamp = (stat.st_mtime_ns, stat.st_ino)
        self._dirty = True
        definitions = {item.name: item for item in read_definitions(self._file)}
        for name, process in self._processes.items():
            if name not in definitions:
                process.wanted = False
                self._end(process)
            elif definitions[name] != process.definition:
                process.definition = definitions[name]
                process.not_before = 0.0
                self._end(process)
        for name, definition in definitions.items():
            # One that is just ending because it was left out for a moment is wanted again.
            self._processes.setdefault(name, _Process(definition)).wanted = True

    def _end(self, process: _Process) -> None:
        if process.pid:
            self._note(f"{process.definition.name}: stopping, its definition changed")
            process.stop_by = time.monotonic() + _STOP_SECONDS
            _kill(process.pid, signal.SIGTERM)

    def _start(self, process: _Process) -> None:
        definition = process.definition
        log = self._logs / f"{definition.name}.log"
        if not process.starts and log.exists():
            log.rename(log.with_name(f"{log.name}.1"))
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            process.pid = os.posix_spawnp(
                definition.argv[0],
                definition.argv,
                {**os.environ, **definition.env},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, str(log), flags, 0o644),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
            )
        except OSError as error:
            self._note(f"{definition.name}: cannot start {definition.argv[0]}: {error.strerror}")
            self._failed(process)
            return
        process.starts += 1
        process.since = time.monotonic()
        process.stop_by = 0.0
        self._dirty = True

    def _failed(self, process: _Process) -> None:
        delay = _BACKOFF_SECONDS[min(process.failures, len(_BACKOFF_SECONDS) - 1)]
        process.failures += 1
        process.not_before = time.monotonic() + delay

    def _reap(self) -> list[int]:
        strangers = []
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            process = next((p for p in self._processes.values() if p.pid == pid), None)
            if process is None:
                strangers.append(pid)
                continue
            ran = time.monotonic() - process.since
            process.pid = 0
            self._dirty = True
            if process.stop_by or not process.wanted:  # ended because it was told to
                process.failures = 0
                continue
            self._note(f"{process.definition.name}: ended after {ran:.1f} s with {os.waitstatus_to_exitcode(status)}")
            if ran > _STEADY_SECONDS:
                process.failures = 0
            self._failed(process)
        return strangers

    def _write_status(self) -> None:
        status = {
            name: {"pid": process.pid, "starts": process.starts, "failures": process.failures}
            for name, process in self._processes.items()
        }
        write_atomically(self._status, json.dumps(status))


class Stop:
    """True once this process has been told to stop, by SIGTERM or SIGINT."""

    def __init__(self) -> None:
        """Listen from now on."""
        self._told = False
        signal.signal(signal.SIGTERM, self._tell)
        signal.signal(signal.SIGINT, self._tell)

    def __bool__(self) -> bool:
        return self._told

    def _tell(self, _number: int, _frame: FrameType | None) -> None:
        self._told = True


def start_time(pid: int) -> int:
    """When process `pid` started, in clock ticks since the machine did: with the id, it names a process for good.

    Raises:
        FileNotFoundError: there is no such process.
    """
    # The second field is the program's name in parentheses, and may hold spaces and parentheses itself.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])


def _kill(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)  # its group, since `unshare` takes no signal for what it has started
    except ProcessLookupError:
        return  # it ended by itself; _reap notices
