"""PID 1 of a node: makes its view of the file system, joins its network, then keeps its processes running.

Started as `python -m lab.init STATE_FOLDER WORKER INDEX KEPT_FOLDER...` in namespaces of its own (mount, host name,
network, process ids): by the supervisor for the first node (WORKER is empty), and by that one's init for a worker. When
it ends, the kernel ends every process of the node, workers among them, and drops its mounts, interfaces and rules. Uses
the standard library alone: it must start fast and stay small.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from lab import cgroups, network
from lab import layout as paths
from lab.layout import WORKER, Layout
from lab.processes import Processes, Stop

_TICK_SECONDS = 0.1
_NETWORK_SECONDS = 10.0
_STOP_SECONDS = 3.0

# The kubelet sets these for the whole machine if they differ. It reads the values that it wants from files of the
# lab instead, and leaves the machine's alone.
_KUBELET_SYSCTLS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def main() -> None:
    """Run until told to stop by SIGTERM."""
    root, worker, index, *kept = sys.argv[1:]
    layout = Layout(Path(root), worker)
    stop = Stop()
    socket.sethostname(worker or next(iter(json.loads(layout.spec.read_text())["nodes"])))
    if worker:
        _note("joining the first node's network")
        cgroups.create(layout.cgroup, os.getpid())
        network.configure_worker(network.load(layout), int(index))  # before /run is covered
    _note("making the node's file systems")
    _mount(layout, [Path(item) for item in kept])
    if worker:
        paths.WORKER_READY.touch()
    else:
        _wait_for_interface()
        network.configure_node(network.load(layout))
    os.environ["TMPDIR"] = "/var/tmp"  # the node's own /var, not the machine's
    processes = Processes(layout.components, layout.logs, layout.status, _note)
    _note("starting components")
    while not stop:
        processes.tick()
        time.sleep(_TICK_SECONDS)  # how late a process that ended is noticed
    _note("stopping")
    _stop(processes)


def _note(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} init: {text}", flush=True)


def _run(*command: str, pass_fds: tuple[int, ...] = ()) -> None:
    subprocess.run(command, check=True, pass_fds=pass_fds)


def _mount(layout: Layout, kept: list[Path]) -> None:
    """Give the node a /var and a /run of its own; the machine's folders that the lab works from stay in view."""
    for name in ("lib", "log", "tmp", "lib/cni"):
        (layout.var / name).mkdir(parents=True, exist_ok=True)
    if not (layout.var / "run").is_symlink():
        (layout.var / "run").symlink_to("/run")
    # Opened before they are covered, mounted again afterwards.
    held = [(path, os.open(path, os.O_PATH)) for path in kept if path.parts[1] in ("var", "run")]
    var, driver = os.open(layout.var, os.O_PATH), os.open(layout.driver, os.O_PATH)
    _run("mount", "-t", "tmpfs", "-o", "mode=755", "lab-run", "/run")
    _bind(var, Path("/var"))
    for path, descriptor in held:
        path.mkdir(parents=True, exist_ok=True)
        _bind(descriptor, path)
    paths.DRIVER.mkdir()
    _bind(driver, paths.DRIVER)
    for descriptor in (var, driver, *(descriptor for _, descriptor in held)):
        os.close(descriptor)
    sysctls = Path("/run/lab-sysctl")
    for name, value in _KUBELET_SYSCTLS.items():
        file = sysctls / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(value)
        if Path("/proc/sys", name).exists():
            _run("mount", "--bind", str(file), f"/proc/sys/{name}")
    # Pods' mounts must reach the containers that run already; nothing gets out of this namespace.
    _run("mount", "--make-rshared", "/")


def _bind(descriptor: int, target: Path) -> None:
    # --no-canonicalize: mount would follow the link to the name, which is covered by now.
    source = f"/proc/self/fd/{descriptor}"
    _run("mount", "--no-canonicalize", "--bind", source, str(target), pass_fds=(descriptor,))


def _wait_for_interface() -> None:
    until = time.monotonic() + _NETWORK_SECONDS
    while time.monotonic() < until:
        shown = subprocess.run(["ip", "-json", "link", "show"], capture_output=True, text=True, check=True)
        if any(link.get("ifname") == "eth0" for link in json.loads(shown.stdout)):
            return
        time.sleep(0.02)  # the supervisor makes it just now
    sys.exit(f"no network after {_NETWORK_SECONDS:.0f} s: the supervisor has gone or could not make the interfaces")


def _stop(processes: Processes) -> None:
    """As a machine shuts down: the kubelet first, so that it restarts nothing; then all, of which some have data."""
    left = processes.stop(lambda name: name == "kubelet", _STOP_SECONDS)
    os.kill(-1, signal.SIGTERM)  # the pods' processes too; what does not end by this ends with this process
    data = ("containerd", "etcd", WORKER)
    left += processes.stop(lambda name: name.startswith(data), _STOP_SECONDS)
    if left:
        _note(f"{', '.join(left)} did not end within {_STOP_SECONDS:.0f} s and is killed")


if __name__ == "__main__":
    main()
