"""Progress for people: each step says what it does, and at the end how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class StepFailed(Exception):
    """A step could not be done; the message says what happened, what follows from it and what to do."""


def duration(seconds: float) -> str:
    """`seconds` as people read it: `0.4 s`, `37 s`, `4 min 05 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def step(what: str, *, to: TextIO | None = None) -> Iterator[None]:
    """Announce `what` before the block runs and how long it took after it, also when it fails.

    Args:
        what: the step in the user's words, e.g. `Starting the lab's cluster`.
        to: where to print; standard error by default, so that a command's output stays clean.
    """
    stream = to or sys.stderr
    start = time.monotonic()
    print(f"==> {what}", file=stream, flush=True)
    try:
        yield
    except BaseException:
        print(f"    failed after {duration(time.monotonic() - start)}: {what}", file=stream, flush=True)
        raise
    print(f"    done in {duration(time.monotonic() - start)}", file=stream, flush=True)
