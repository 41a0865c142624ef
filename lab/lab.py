"""The lab: a real Kubernetes on this machine, in namespaces of its own, with GPUs that are only numbers."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import cgroups, components, containerd, forwards, manifests, network, packages, pki, recipes
from lab.components import Programs
from lab.layout import API_PORT, CNI_CONFIG, CONTAINERD_CONFIG, NVIDIA_BASE_SPEC, Layout
from lab.network import Network
from lab.processes import start_time, write_atomically, write_definitions
from lab.spec import LabSpec
from lab.standins import internet
from toolchain import gobuild, paths
from toolchain.steps import StepFailed, step

_FIELD_MANAGER = "lab"
_READY_SECONDS = 120.0


@dataclass(frozen=True)
class LabStatus:
    """What a lab is at the moment.

    Attributes:
        running: whether its supervisor lives.
        address: the node's address on this machine; empty before the first start.
        spec: what it was last brought up with.
        components: by name: process id in the lab (0: not running) and how often it was started.
    """

    running: bool
    address: str
    spec: LabSpec | None
    components: dict[str, tuple[int, int]]


class Lab:
    """One lab, named by its state folder. Several can run at once."""

    def __init__(self, state_dir: Path | None = None, cache_dir: Path | None = None, *, forward: bool = True) -> None:
        """Say which lab; nothing is done yet.

        Args:
            state_dir: the lab's folder; everything that it writes is here. Default: `lab` in the state folder.
            cache_dir: what labs share and can make again. Default: `lab` in the cache folder.
            forward: whether ports 80 and 443 of 127.0.0.1 lead to the lab's edge.
        """
        self.layout = Layout((state_dir or paths.state_dir() / "lab").resolve())
        self._cache = (cache_dir or paths.cache_dir() / "lab").resolve()
        self._forward = forward

    @property
    def kubeconfig(self) -> Path:
        """Administrator's kubeconfig; there once the lab is up."""
        return self.layout.kubeconfig

    @property
    def network(self) -> Network:
        """The lab's addresses; known once the lab was up."""
        return network.load(self.layout)

    def up(self, spec: LabSpec | None = None) -> LabStatus:
        """Bring the lab up as `spec` says, from whatever state it is in; progress goes to standard error.

        Args:
            spec: what the lab should be; as it was last time when left out.

        Raises:
            StepFailed: it cannot be done here; the message says why and what to do.
        """
        packages.ensure()
        spec = spec or self._last_spec() or LabSpec()
        self.layout.root.mkdir(parents=True, exist_ok=True)
        with self._locked():
            programs = self._programs(spec)
            archives = self._archives(spec, programs)
            before = self._last_spec()
            self._prepare(spec, programs)
            if not self._init_pid():
                self._start()
            self._bring_in(archives)
            self._apply(spec, before)
            self._wait_ready(spec)
        return self.status()

    def down(self, *, keep_state: bool = False) -> None:
        """Stop the lab, and unless `keep_state` delete its state folder with all that was in the cluster.

        Raises:
            StepFailed: a process of the lab does not end.
        """
        if not self.layout.root.exists():
            return
        with self._locked():
            if self._supervisor_pid():
                with step("Stopping the lab"):
                    self._stop()
            self._clear()
            if not keep_state:
                shutil.rmtree(self.layout.root)

    def status(self) -> LabStatus:
        """What the lab is now."""
        running = bool(self._init_pid())
        found: dict[str, tuple[int, int]] = {}
        status = self.layout.root / "components-status.json"
        if running and status.exists():
            found = {name: (item["pid"], item["starts"]) for name, item in json.loads(status.read_text()).items()}
        address = str(self.network.node) if self.layout.network.exists() else ""
        return LabStatus(running, address, self._last_spec(), found)

    def run(self, command: Sequence[str], *, stdin: str | None = None) -> str:
        """Run `command` as root on the node and give its standard output.

        Raises:
            StepFailed: the lab is not up, or the command failed; with its standard error.
        """
        init = self._init_pid()
        if not init:
            raise StepFailed("The lab is not up, so nothing can run on its node. Bring it up first.")
        enter = ["nsenter", "--target", str(init), "--mount", "--net", "--pid", "--wd=/", "--", *command]
        return _output(enter, stdin=stdin)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl against the lab as administrator and give its standard output.

        Raises:
            StepFailed: kubectl failed; with its standard error.
        """
        kube = str(gobuild.program_path("kube"))
        return _output([kube, "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments], stdin=stdin)

    # What `up` does, in its order.

    def _programs(self, spec: LabSpec) -> dict[str, Path]:
        names = ["kube", "netpol", *recipes.SYSTEM_PROGRAMS]
        names += [program for role in spec.images for program in recipes.ROLE_PROGRAMS[role]]
        if all(gobuild.program_path(name).exists() for name in names):
            return {name: gobuild.program_path(name) for name in names}
        with step("Building the lab's programs (once; kept in the cache)"):
            return gobuild.build(names)

    def _archives(self, spec: LabSpec, programs: dict[str, Path]) -> dict[str, containerd.Archive]:
        """The archive for each image reference."""
        authority = internet.ensure_authority(self._cache / "internet")
        folder = self._cache / "images"
        found: dict[str, containerd.Archive] = {}
        for name, reference in recipes.SYSTEM_IMAGES.items():
            found[reference] = containerd.archive(recipes.system_image(name, programs), name, folder)
        for role, references in spec.images.items():
            item = containerd.archive(recipes.role_image(role, programs, authority), role, folder)
            found |= dict.fromkeys(references, item)
        return found

    def _prepare(self, spec: LabSpec, programs: dict[str, Path]) -> None:
        """Write keys, configuration and process definitions; init follows the latter by itself."""
        layout = self.layout
        for folder in (layout.pki, layout.config, layout.logs, layout.driver, layout.var):
            folder.mkdir(parents=True, exist_ok=True)
        addresses = self.network if self._init_pid() else network.load_or_choose(layout)
        for certificate in components.certificates(spec.node_name, addresses):
            pki.issue(layout.pki, certificate)
        pki.issue_key_pair(layout.pki, "service-account")
        for client in components.KUBECONFIGS:
            _write(layout.config / f"{client}.kubeconfig", pki.kubeconfig(layout.pki, client, components.API_SERVER))
        _write(layout.kubeconfig, pki.kubeconfig(layout.pki, "admin", f"https://{addresses.node}:{API_PORT}"))
        _write(layout.config / "kubelet.json", components.kubelet_config(layout))
        _write(layout.config / "resolv.conf", "")
        _write(layout.on_machine(CONTAINERD_CONFIG), components.containerd_config())
        _write(layout.on_machine(CNI_CONFIG) / "10-lab.conflist", components.cni_config())
        default = json.loads(_output(["ctr", "oci", "spec"]))
        _write(layout.on_machine(NVIDIA_BASE_SPEC), components.nvidia_base_spec(default))
        _write(layout.driver / "gpus.json", components.driver_file(spec))
        paths_of = Programs(programs["kube"], programs["netpol"], Path(sys.executable), paths.REPOSITORY)
        defined = components.definitions(layout, addresses, spec, paths_of)
        write_definitions(layout.root / "components.json", defined)
        write_definitions(layout.root / "forwards.json", forwards.definitions(addresses) if self._forward else [])
        _write(layout.spec, spec.to_json())

    def _start(self) -> None:
        self._clear()
        if self._forward:
            forwards.check_free()
        with step("Starting the lab's node"):
            log = (self.layout.logs / "lab.log").open("ab")
            kept = (paths.REPOSITORY, Path(sys.prefix), Path(sys.base_prefix), self._cache, paths.cache_dir())
            process = subprocess.Popen(
                [sys.executable, "-m", "lab.supervisor", str(self.layout.root), *map(str, (self.layout.root, *kept))],
                cwd="/",
                env={**os.environ, "PYTHONPATH": str(paths.REPOSITORY)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
            log.close()

            def started() -> bool:
                if process.poll() is not None:
                    raise StepFailed(f"The lab's supervisor ended at once. The end of its log:\n{self._log_tail()}")
                return bool(self._init_pid()) and self._answers_ctr()

            self._wait(started, 30.0, "containerd does not answer")

    def _answers_ctr(self) -> bool:
        try:
            self.run([*containerd.CTR, "version"])
        except StepFailed:
            return False
        return True

    def _bring_in(self, archives: dict[str, containerd.Archive]) -> None:
        there = containerd.present(lambda command: self.run(command))
        missing = {
            reference
            for reference, item in archives.items()
            if there.get(containerd.normalise(reference)) != item.digest
        }
        if missing:
            with step(f"Importing {len(missing)} images"):
                containerd.bring_in(archives, lambda command: self.run(command))

    def _apply(self, spec: LabSpec, before: LabSpec | None) -> None:
        self._wait(self._api_ready, 60.0, "the API server is not ready")
        images = recipes.SYSTEM_IMAGES
        rendered = manifests.render(self.network, images, internet.HOSTS, self._traefik_crds())
        digest = manifests.digest(rendered + spec.to_json())
        if self.layout.applied.exists() and self.layout.applied.read_text() == digest:
            return
        with step("Applying what k3s packages: CoreDNS, local-path, Traefik, RuntimeClass"):
            server_side = (
                "apply",
                "--server-side",
                "--force-conflicts",
                f"--field-manager={_FIELD_MANAGER}",
                "-f",
                "-",
            )
            self.kubectl(*server_side, stdin=rendered)
            self._wait(lambda: self._has_node(spec.node_name), 30.0, f"node {spec.node_name} does not register")
            self.kubectl(*server_side, stdin=json.dumps(_node_labels(spec)))
            self._drop_other_nodes(spec.node_name)
            address = {"status": {"loadBalancer": {"ingress": [{"ip": str(self.network.node)}]}}}
            patch = ("--subresource=status", "--type=merge", f"--patch={json.dumps(address)}")
            self.kubectl("patch", "service", "traefik", "--namespace=kube-system", *patch)
        write_atomically(self.layout.applied, digest)

    def _traefik_crds(self) -> str:
        key = gobuild.program_path("traefik").parent.name
        copy = self._cache / f"{key}-crds.yaml"
        if not copy.exists():
            folder = gobuild.module_folder("traefik", "github.com/traefik/traefik/v3")
            source = folder / "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"
            write_atomically(copy, source.read_text())
        return copy.read_text()

    def _api_ready(self) -> bool:
        try:
            return self.kubectl("get", "--raw=/readyz") == "ok"
        except StepFailed:
            return False

    def _has_node(self, name: str) -> bool:
        return f"node/{name}" in self.kubectl("get", "nodes", "--output=name").split()

    def _drop_other_nodes(self, name: str) -> None:
        """Delete nodes that the lab was before: nothing else would, and their pods would hang in Terminating."""
        for other in self.kubectl("get", "nodes", "--output=name").split():
            node = other.removeprefix("node/")
            if node != name:
                where = f"--field-selector=spec.nodeName={node}"
                now = ("--force", "--grace-period=0", "--wait=false")
                self.kubectl("delete", "pods", "--all-namespaces", where, *now)
                self.kubectl("delete", "node", node)

    def _wait_ready(self, spec: LabSpec) -> None:
        if not self._not_ready(spec):
            return
        with step("Waiting until the node and its system pods are ready"):
            self._wait(
                lambda: not self._not_ready(spec),
                _READY_SECONDS,
                lambda: f"not ready: {', '.join(self._not_ready(spec))}",
            )

    def _not_ready(self, spec: LabSpec) -> list[str]:
        """Names of what is not ready of the node and the system's deployments."""
        listed = json.loads(self.kubectl("get", "nodes,deployments.apps", "--namespace=kube-system", "--output=json"))
        ready = {_name(item) for item in listed["items"] if _is_ready(item)}
        wanted = [f"node/{spec.node_name}", *(f"deployment/{name}" for name in manifests.DEPLOYMENTS)]
        return [name for name in wanted if name not in ready]

    # What `down` does.

    def _stop(self) -> None:
        pid = self._supervisor_pid()
        if pid:
            os.kill(pid, signal.SIGTERM)
            self._wait(lambda: not self._supervisor_pid(), 40.0, "the supervisor does not end")

    def _clear(self) -> None:
        """Wait for what a lab that was killed leaves for a moment, and remove what it leaves for good."""
        layout = self.layout
        if layout.supervisor.exists():
            self._wait(lambda: not self._recorded_init(), 20.0, "a process of the lab that ran before does not end")
        network.disconnect(layout.interface)
        left = cgroups.remove(layout.cgroup)
        if left:
            raise StepFailed(
                f"Processes of the lab that ran before are left in {left[0]}, so it cannot start anew. End them first."
            )

    # Facts.

    def _supervisor_pid(self) -> int:
        """The supervisor's process id, 0 when none runs; the lock that it holds tells."""
        try:
            file = self.layout.supervisor.open()
        except FileNotFoundError:
            return 0
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(_json_or_empty(file.read()).get("pid", 0))
            return 0

    def _init_pid(self) -> int:
        """Process id of the running lab's init on this machine, 0 when the lab does not run."""
        return self._recorded_init() if self._supervisor_pid() else 0

    def _recorded_init(self) -> int:
        """Process id of the init that the supervisor last started, 0 when that process is gone."""
        record = _json_or_empty(self.layout.supervisor.read_text())
        pid = int(record.get("init", 0))
        try:
            return pid if pid and start_time(pid) == record["init_started"] else 0
        except FileNotFoundError:
            return 0

    def _last_spec(self) -> LabSpec | None:
        return LabSpec.from_file(self.layout.spec) if self.layout.spec.exists() else None

    def _log_tail(self) -> str:
        return "\n".join((self.layout.logs / "lab.log").read_text(errors="replace").splitlines()[-10:])

    def _wait(self, condition: Callable[[], bool], seconds: float, problem: str | Callable[[], str]) -> None:
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                text = problem if isinstance(problem, str) else problem()
                raise StepFailed(
                    f"The lab: {text} after {seconds:.0f} s. Logs are in {self.layout.logs}; the end of lab.log:\n"
                    f"{self._log_tail()}"
                )
            time.sleep(0.1)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let one command at a time change the lab; another one waits."""
        with self.layout.lock.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with step("Waiting for another command that changes this lab"):
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _node_labels(spec: LabSpec) -> dict[str, Any]:
    labels = {
        "node-role.kubernetes.io/control-plane": "true",
        "node.kubernetes.io/instance-type": "k3s",
        **spec.node.labels,
    }
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": spec.node_name, "labels": labels}}


def _name(item: dict[str, Any]) -> str:
    return f"{item['kind'].lower()}/{item['metadata']['name']}"


def _is_ready(item: dict[str, Any]) -> bool:
    status = item.get("status", {})
    if item["kind"] == "Deployment":
        current = status.get("observedGeneration") == item["metadata"]["generation"]
        return (
            current and status.get("updatedReplicas", 0) == status.get("readyReplicas", 0) == item["spec"]["replicas"]
        )
    return any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in status.get("conditions", ())
    )


def _json_or_empty(text: str) -> dict[str, Any]:
    """The JSON object in `text`; empty when it was cut off, as by a kill in the middle of writing it."""
    try:
        found = json.loads(text)
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _write(path: Path, text: str) -> None:
    """Write what may hold secrets, if it differs."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    path.chmod(0o600)


def _output(command: list[str], *, stdin: str | None = None) -> str:
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StepFailed(f"{' '.join(command[:4])} ... failed with {done.returncode}: {done.stderr.strip()}")
    return done.stdout
