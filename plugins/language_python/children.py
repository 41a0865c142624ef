"""The processes that the language host has started, and how they are ended."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import threading
from collections.abc import Iterator

KILL_AFTER_SECONDS = 5.0
"""How long an interrupted program may take to end, as with the official language host."""


class Children:
    """Running child processes; once `stop()` was called, none is left and none is taken any more."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._stopped = False

    @contextlib.contextmanager
    def keep(self, process: subprocess.Popen[bytes]) -> Iterator[None]:
        """Hold `process` among the children while the block runs; it has ended when the block is left."""
        with self._lock:
            self._running.add(process)
            stopped = self._stopped
        try:
            if stopped:
                self.end(process)
            yield
        finally:
            if process.poll() is None:
                self.end(process)
            with self._lock:
                self._running.discard(process)

    def end(self, process: subprocess.Popen[bytes]) -> None:
        """Interrupt `process`, and kill it if it does not end in time; returns when it has ended."""
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            process.wait(KILL_AFTER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """End all children, side by side."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        enders = [threading.Thread(target=self.end, args=(process,)) for process in running]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()
