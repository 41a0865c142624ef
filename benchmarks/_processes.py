"""CPU time and peak memory of a command and of every process that it starts, by their part in a Pulumi run."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

INTERVAL_SECONDS = 0.02
"""How often the processes are looked at: what a process does after the last look is not seen."""

_TICKS = os.sysconf("SC_CLK_TCK")

# By what is in the command line; the CLI's own line is what is left.
_PARTS = {
    "plugins.language_python": "language host",
    "plugins.kubernetes": "kubernetes",
    "plugins.command": "command",
    "runner.py": "program",
}
CLI = "CLI"


@dataclass
class Part:
    """What one process of a run has used."""

    cpu_seconds: float = 0.0
    """User and system time."""
    peak_mib: float = 0.0
    """The most resident memory that it ever had (VmHWM), in MiB."""


@dataclass
class Usage:
    """What a whole run has used."""

    seconds: float
    """From start to end, on the wall clock."""
    parts: dict[str, Part] = field(default_factory=dict)


def measure(command: Sequence[str | Path], *, cwd: Path, environment: Mapping[str, str]) -> Usage:
    """Run `command` to its end and tell what it and its descendants have used.

    Raises:
        RuntimeError: it failed; the message has its output.
    """
    log = cwd / "run.log"
    usage = Usage(0.0)
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(environment), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        try:
            seen: dict[int, tuple[str, Part]] = {}
            while process.poll() is None:
                for pid in _tree(process.pid):
                    _look(pid, seen)
                time.sleep(INTERVAL_SECONDS)  # looking costs time of what is measured
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    usage.seconds = time.monotonic() - start
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}:\n{log.read_text(errors='replace')[-3000:]}")
    for name, part in seen.values():
        total = usage.parts.setdefault(name, Part())
        total.cpu_seconds += part.cpu_seconds
        total.peak_mib = max(total.peak_mib, part.peak_mib)
    return usage


def _tree(root: int) -> list[int]:
    """`root` and its descendants, as far as they are there."""
    found, pids = [], [root]
    while pids:
        pid = pids.pop()
        found.append(pid)
        with contextlib.suppress(OSError):  # it has ended
            for task in Path(f"/proc/{pid}/task").iterdir():
                pids += [int(child) for child in (task / "children").read_text().split()]
    return found


def _look(pid: int, seen: dict[int, tuple[str, Part]]) -> None:
    folder = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):  # it has ended
        command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        status = (folder / "status").read_text()
        if "VmHWM:" not in status:  # a zombie
            return
        peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
        cpu = (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime: fields 14 and 15 of proc(5)'s stat
        name = next((part for text, part in _PARTS.items() if text in command), CLI)
        _, part = seen.get(pid, (name, Part()))
        # The launchers are shells and Pythons that become another program: its peak begins anew, its time goes on.
        seen[pid] = (name, Part(cpu, max(peak, part.peak_mib)))
