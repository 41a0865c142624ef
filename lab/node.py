"""The lab's node as a set of processes on this machine: started, entered, stopped, and cleared away after a kill."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lab import cgroups, network
from lab.layout import Layout
from lab.processes import entering, start_time
from toolchain.paths import REPOSITORY
from toolchain.steps import StepFailed

_START_SECONDS = 30.0
_STOP_SECONDS = 40.0
_GONE_SECONDS = 20.0
_LOG_TAIL_LINES = 10


class Node:
    """The node of the lab with this layout."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def init_pid(self) -> int:
        """Process id on this machine of the lab's init, 0 when the lab does not run."""
        return self._recorded_init() if self._supervisor_pid() else 0

    def start(self, kept: Iterable[Path]) -> None:
        """Start the supervisor, and with it the node; returns when the node can be entered.

        Args:
            kept: folders of this machine that the node must see.

        Raises:
            StepFailed: it ends at once, or something of a former run is in the way.
        """
        log = self._log
        if log.exists():
            log.rename(log.with_name(f"{log.name}.1"))
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "lab.supervisor", str(self._layout.root), *map(str, kept)],
                cwd="/",
                env={**environment(), "PYTHONPATH": str(REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

        def started() -> bool:
            if process.poll() is not None:
                raise StepFailed(f"The lab's supervisor ended at once. The end of {log}:\n{self.log_tail()}")
            return bool(self.init_pid())

        self._until(started, _START_SECONDS, lambda: "its init does not start")
        # It outlives this process, or is reaped when it stops: Popen would warn of it when it is collected.
        process.returncode = 0

    def run(self, command: Sequence[str], *, stdin: str | None = None) -> str:
        """Run `command` as root on the node and give its standard output.

        Raises:
            StepFailed: the lab is not up, or the command failed; with its standard error.
        """
        init = self.init_pid()
        if not init:
            raise StepFailed("The lab is not up, so nothing can run on its node. Bring it up first.")
        return output([*entering(str(init)), *command], stdin=stdin)

    def stop(self) -> None:
        """End the node, and return when it has ended."""
        pid = self._supervisor_pid()
        if pid:
            os.kill(pid, signal.SIGTERM)
            self._until(lambda: not self._supervisor_pid(), _STOP_SECONDS, lambda: "its supervisor does not end")

    def clear(self) -> None:
        """Wait for what a node that was killed leaves for a moment, and remove what it leaves for good.

        Raises:
            StepFailed: processes of the former run do not end.
        """
        if self._layout.supervisor.exists():
            self._until(
                lambda: not self._recorded_init(), _GONE_SECONDS, lambda: "a process of its former run does not end"
            )
        network.disconnect(self._layout.interface)
        left = cgroups.remove(self._layout.cgroup)
        if left:
            raise StepFailed(
                f"Processes of the lab's former run are left in {left[0]}, so it can be neither started nor removed. "
                "End them first."
            )

    def wait(self, condition: Callable[[], bool], seconds: float, problem: Callable[[], str]) -> None:
        """Wait until `condition` holds for the running node.

        Raises:
            StepFailed: it does not within `seconds`, or the node ends; `problem` says what is wrong, and the
                node's log is quoted.
        """

        def met() -> bool:
            if not self.init_pid():
                raise StepFailed(f"The lab ended while it got ready. The end of {self._log}:\n{self.log_tail()}")
            return condition()

        self._until(met, seconds, problem)

    def started_at(self) -> float:
        """When the running node started, in seconds since 1970; 0 when it does not run."""
        return float(self._record().get("time", 0)) if self.init_pid() else 0.0

    def log_tail(self) -> str:
        """The last lines that supervisor and init wrote."""
        if not self._log.exists():
            return ""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:])

    @property
    def _log(self) -> Path:
        return self._layout.logs / "lab.log"

    def _until(self, condition: Callable[[], bool], seconds: float, problem: Callable[[], str]) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                raise StepFailed(
                    f"The lab cannot go on: {problem()} after {seconds:.0f} s. Logs are in {self._layout.logs}; the "
                    f"end of {self._log.name}:\n{self.log_tail()}"
                )
            time.sleep(0.1)  # before it is looked at again

    def _supervisor_pid(self) -> int:
        """The supervisor's process id, 0 when none runs: the lock that it holds tells, the file says who."""
        try:
            file = self._layout.supervisor.open()
        except FileNotFoundError:
            return 0
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(self._record().get("pid", 0))
            return 0

    def _recorded_init(self) -> int:
        """Process id of the init that was last started, 0 when that process is gone."""
        record = self._record()
        pid = int(record.get("init", 0))
        try:
            return pid if pid and start_time(pid) == record["init_started"] else 0
        except (FileNotFoundError, ProcessLookupError):
            return 0

    def _record(self) -> dict[str, Any]:
        """What the supervisor wrote of itself; empty before it has, or if it was killed while it did."""
        try:
            found = json.loads(self._layout.supervisor.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return found if isinstance(found, dict) else {}


def environment() -> dict[str, str]:
    """This process' environment for the lab's programs: with system folders on PATH, and without a proxy.

    A proxy cannot reach the lab's addresses, which exist on this machine only.
    """
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PATH": f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"}


def output(command: Sequence[str], *, stdin: str | None = None, environment: dict[str, str] | None = None) -> str:
    """Run `command` and give its standard output.

    Raises:
        StepFailed: it failed; with its standard error.
    """
    done = subprocess.run(command, input=stdin, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip() or done.stdout.strip()
        raise StepFailed(f"`{' '.join(command)[:200]}` failed with exit code {done.returncode}: {said}")
    return done.stdout
