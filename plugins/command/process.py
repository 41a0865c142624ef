"""Runs one command on this machine and collects what it says."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import IO

DEFAULT_INTERPRETER = ("/bin/sh", "-c")
_POLL_SECONDS = 0.2
_LAST_WORDS_SECONDS = 1.0
_TERMINATE_SECONDS = 1.0
"""How long a cancelled command may tidy up. The CLI kills the whole plugin after 5 s."""


class CommandFailed(Exception):
    """The command ended with an error, or could not be started; the message holds all that it wrote."""


@dataclass(frozen=True)
class Outcome:
    """What a command wrote, each without its last line's end."""

    stdout: str
    stderr: str


def run(
    command: str,
    *,
    interpreter: list[str],
    folder: str | None,
    environment: Mapping[str, str],
    stdin: str,
    on_line: Mapping[str, Callable[[str], None]],
    cancelled: threading.Event,
    seconds: float = 0,
) -> Outcome:
    """Run `command` to its end.

    Args:
        command: the last argument of the interpreter.
        interpreter: program and arguments that run it; empty for the shell.
        folder: where it runs; None for the program's own folder.
        environment: variables on top of this process's.
        stdin: what it reads; nothing if empty.
        on_line: for `stdout` and `stderr`, what is given each line as it comes.
        cancelled: ends the command when it is set.
        seconds: how long it may take (the resource's `customTimeouts`); 0 for no end.

    Raises:
        CommandFailed: it could not be started, failed, was cancelled or took too long.
    """
    try:
        process = subprocess.Popen(
            [*(interpreter or DEFAULT_INTERPRETER), command],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # A group of its own, so that a cancelled command takes along what it has started.
            start_new_session=True,
        )
    except (OSError, ValueError) as error:  # ValueError: a NUL, or a variable's name with '='
        raise CommandFailed(f"{error}: running {quoted(command)}") from error
    written: dict[str, list[bytes]] = {"stdout": [], "stderr": [], "both": []}

    def read(name: str, stream: IO[bytes]) -> None:
        with stream:
            for line in stream:
                written[name].append(line)
                written["both"].append(line)
                if name in on_line:
                    on_line[name](line.decode(errors="replace").rstrip("\n"))

    def feed(stream: IO[bytes]) -> None:
        with contextlib.suppress(BrokenPipeError), stream:  # a command need not read what it is given
            stream.write(stdin.encode())

    threads = [
        threading.Thread(target=read, args=(name, stream), daemon=True)
        for name, stream in (("stdout", process.stdout), ("stderr", process.stderr))
        if stream is not None
    ]
    if process.stdin is not None:
        threads.append(threading.Thread(target=feed, args=(process.stdin,)))
    for thread in threads:
        thread.start()
    was_ended = _wait(process, threads, cancelled, seconds)
    text = {name: b"".join(lines).decode(errors="replace") for name, lines in written.items()}
    if process.returncode or was_ended:
        raise CommandFailed(f"{was_ended or _ending(process.returncode)}: running {quoted(command)}:\n{text['both']}")
    return Outcome(text["stdout"].removesuffix("\n"), text["stderr"].removesuffix("\n"))


def _wait(
    process: subprocess.Popen[bytes], threads: list[threading.Thread], cancelled: threading.Event, seconds: float
) -> str:
    """Wait for the process and all that writes for it; gives why it was ended, empty if it was not."""
    was_ended = ""
    deadline = time.monotonic() + (seconds or math.inf)
    while process.poll() is None or any(thread.is_alive() for thread in threads):
        if not was_ended and (cancelled.is_set() or time.monotonic() > deadline):
            was_ended = "cancelled" if cancelled.is_set() else f"ended after {seconds:g} s, the limit of customTimeouts"
            _end(process)
            deadline = time.monotonic() + _LAST_WORDS_SECONDS
        elif was_ended and time.monotonic() > deadline:
            break  # what it has started in a session of its own holds its output open, and is not waited for
        for thread in threads:
            thread.join(_POLL_SECONDS / len(threads))
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.01)
    return was_ended


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_TERMINATE_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _ending(code: int) -> str:
    return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}" if code < 0 else f"exit status {code}"


def quoted(command: str) -> str:
    """The command line on one line, as messages show it."""
    return json.dumps(command, ensure_ascii=False)
