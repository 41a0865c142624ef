"""The lab's control group: made for it in every hierarchy, and removed with it. Version 1 and version 2."""

from __future__ import annotations

import os
import time
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """Folders under which a group has to be made: one for each controller in version 1, a single one in 2."""
    if (_ROOT / "cgroup.controllers").exists():
        return [_ROOT]
    found = [path for path in sorted(_ROOT.iterdir()) if (path / "tasks").exists()]
    return [path for path in found if not path.is_symlink()]


def create(name: str, pid: int) -> None:
    """Make the group `name` with a child `system`, and put process `pid` (and all it will start) into the child.

    The kubelet makes pods' groups beside that child. In version 2 a group with children may hold no processes.
    """
    for hierarchy in hierarchies():
        group = hierarchy / name
        system = group / "system"
        for path in (group, system):
            path.mkdir(exist_ok=True)
            _inherit_cpuset(path)
        if (hierarchy / "cgroup.controllers").exists():
            controllers = (hierarchy / "cgroup.controllers").read_text().split()
            for path in (hierarchy, group):
                (path / "cgroup.subtree_control").write_text(" ".join(f"+{item}" for item in controllers))
        (system / "cgroup.procs").write_text(str(pid))


def _inherit_cpuset(group: Path) -> None:
    # A new group of version 1's cpuset controller has no CPUs and takes no process.
    for item in ("cpuset.cpus", "cpuset.mems"):
        if (group / item).exists() and (group / "tasks").exists() and not (group / item).read_text().strip():
            (group / item).write_text((group.parent / item).read_text())


def remove(name: str, *, seconds: float = 10.0) -> list[Path]:
    """Remove the group `name` and all below it; processes that are ending get `seconds` to be gone.

    Returns:
        Groups that could not be removed because processes are still in them.
    """
    until = time.monotonic() + seconds
    while True:
        left: list[Path] = []
        # runc makes the group in version 2's hierarchy too where that is mounted beside version 1's.
        for hierarchy in (_ROOT, *_ROOT.iterdir()):
            for folder, _, _ in os.walk(hierarchy / name, topdown=False):
                try:
                    Path(folder).rmdir()
                except OSError:
                    left.append(Path(folder))
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.1)  # the processes in it are ending
