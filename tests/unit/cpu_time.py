"""A limit for what may never end: of CPU time, so that a busy machine does not matter."""

from __future__ import annotations

import gc
import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Unending(Exception):
    """Something has taken longer than it may."""


@contextmanager
def cpu_seconds(seconds: float) -> Iterator[None]:
    """Ends what takes longer than `seconds` of CPU time; garbage is not collected meanwhile.

    Raises:
        Unending: it took longer.
    """

    def end(*_: object) -> None:
        raise Unending(f"it took more than {seconds} s of CPU time")

    # What is raised within a callback of the collector is lost, and hypothesis has one.
    collects = gc.isenabled()
    gc.disable()
    previous = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, previous)
        if collects:
            gc.enable()
