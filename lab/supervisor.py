"""The lab's one process on the machine's side: makes the namespaces, joins their network to the machine's, forwards
the edge's ports, and takes the lab away when it ends.

Started detached by `Lab.up` as `python -m lab.supervisor STATE_FOLDER KEPT_FOLDER...`. It holds a lock for as long as
it lives, which the kernel lets go however it ends; the lab's init ends with it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import time
from pathlib import Path

from lab import cgroups, network
from lab.layout import Layout
from lab.processes import IN_NAMESPACES, Processes, Stop, start_time

_TICK_SECONDS = 0.2
_START_SECONDS = 10.0
_STOP_SECONDS = 15.0


def main() -> None:
    """Run the lab until SIGTERM, or until its init ends."""
    layout = Layout(Path(sys.argv[1]))
    lock = layout.supervisor.open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("another supervisor runs this lab")
    stop = Stop()
    unshare = _start_init(layout, sys.argv[2:])
    init = _child_of(unshare)
    lock.truncate(0)
    record = {"pid": os.getpid(), "init": init, "init_started": start_time(init), "time": time.time()}
    lock.write(json.dumps(record))
    lock.flush()
    cgroups.create(layout.cgroup, init)
    network.connect(layout.interface, network.load(layout), init)
    _note(f"init is process {init}")
    forwards = Processes(layout.forwards, layout.logs, layout.root / "forwards-status.json", _note)
    ended = False
    while not stop and not ended:
        ended = unshare in forwards.tick()
        time.sleep(_TICK_SECONDS)  # often enough for a forward that ended, seldom enough to cost nothing
    _note("the lab's init has ended" if ended else "stopping")
    forwards.stop(lambda _: True, 1.0)
    if not ended:
        _stop_init(unshare, init)
    network.disconnect(layout.interface)
    for group in cgroups.remove(layout.cgroup):
        _note(f"{group} cannot be removed: a process is left in it")


def _note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} supervisor: {text}", flush=True)


def _start_init(layout: Layout, kept: list[str]) -> int:
    """Start the lab's init in its namespaces; gives the process id of `unshare`, which waits for it."""
    command = [*IN_NAMESPACES, sys.executable, "-m", "lab.init", str(layout.root), "", "0", *kept]
    return os.posix_spawnp(command[0], command, os.environ)


def _child_of(pid: int) -> int:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            break
        if children:
            return int(children[0])
        time.sleep(0.01)  # until unshare has forked
    os.kill(pid, signal.SIGKILL)
    sys.exit("the lab's namespaces could not be made: this kernel, or the container that this runs in, forbids it")


def _stop_init(unshare: int, init: int) -> None:
    for number, seconds in ((signal.SIGTERM, _STOP_SECONDS), (signal.SIGKILL, _STOP_SECONDS)):
        try:
            os.kill(init, number)
        except ProcessLookupError:
            return
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                if os.waitpid(unshare, os.WNOHANG)[0]:
                    return
            except ChildProcessError:
                return
            time.sleep(0.05)  # until init, which was told to end, has


if __name__ == "__main__":
    main()
