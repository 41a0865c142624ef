"""Kills processes of a run of `llmctl` at once and without a word, as a crash of theirs would."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def descendants(pid: int) -> dict[int, str]:
    """The process `pid` and all that it has started: command line by process id."""
    children: dict[int, list[int]] = {}
    for process, parent in _parents():
        children.setdefault(parent, []).append(process)
    found, look = {}, [pid]
    while look:
        one = look.pop()
        look += children.get(one, [])
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            found[one] = Path(f"/proc/{one}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL to each, stopped first so that none sees another's end."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):  # it was quicker
                os.kill(pid, number)


def lives(pid: int) -> bool:
    """Whether the process is at work; one that has only not been reaped is not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def is_cli(command: str) -> bool:
    """Whether this is Pulumi's own process."""
    return command.partition(" ")[0].endswith("lib/pulumi")


def is_kubernetes_plugin(command: str) -> bool:
    """Whether this is the plugin for Kubernetes."""
    return "'plugins.kubernetes'" in command


def _parents() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(FileNotFoundError, ProcessLookupError):  # as above
            yield int(folder.name), int((folder / "stat").read_text().rpartition(")")[2].split()[1])
