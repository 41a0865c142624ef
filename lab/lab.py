"""The lab: a real Kubernetes on this machine, in namespaces of its own, with GPUs that are only numbers."""

from __future__ import annotations

import fcntl
import functools
import json
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lab import cluster, containerd, files, forwards, manifests, network, packages, recipes, wheels
from lab.components import Registry
from lab.layout import WORKER, WORKER_READY, Layout
from lab.network import Network
from lab.node import Node, environment, output
from lab.node_components import Programs
from lab.processes import entering, write_atomically
from lab.spec import LabSpec
from lab.standins import internet, ollama_models
from toolchain import gobuild, paths
from toolchain.steps import StepFailed, step

_OTHER_COMMAND = "Waiting for another command that changes this lab"
_OTHER_LAB = "Waiting for another lab that makes images or models"
_API_SECONDS = 60.0
_NODE_SECONDS = 30.0
_READY_SECONDS = 120.0


@dataclass(frozen=True)
class LabStatus:
    """What a lab is at the moment.

    Attributes:
        running: whether its init lives.
        address: the node's address on this machine; empty before the first start.
        spec: what it was last brought up with.
        components: by name: process id on the node (0: not running) and how often it was started.
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
        self._node = Node(self.layout)

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
        with locked(self.layout.lock, _OTHER_COMMAND):
            last = self._last_spec()
            spec = spec or last or LabSpec()
            if self._forward and not (self._node.init_pid() and self.layout.is_forwarding()):
                forwards.check_free()
            programs = self._programs(spec)
            archives = self._archives(spec, programs)
            if last and _moved(last, spec):
                self._forget()
            elif last and last.first != spec.first and self._node.init_pid():
                # Under its new name the kubelet would start pods beside those that it has not yet ended.
                self._stop()
            self._prepare(spec, programs)
            if not self._node.init_pid():
                self._start()
            self._bring_in(spec, archives)
            self._apply(spec)
            self._wait_ready(spec)
            return self.status()

    def down(self, *, keep_state: bool = False) -> None:
        """Stop the lab, and unless `keep_state` delete its state folder with all that was in the cluster.

        Raises:
            StepFailed: a process of the lab does not end.
        """
        if not self.layout.root.exists():
            return
        with locked(self.layout.lock, _OTHER_COMMAND):
            self._stop()
            if not keep_state:
                shutil.rmtree(self.layout.root)

    def status(self) -> LabStatus:
        """What the lab is now."""
        running = bool(self._node.init_pid())
        found: dict[str, tuple[int, int]] = {}
        spec = self._last_spec()
        if running:
            found = _components(self.layout)
            for worker in spec.workers if spec else ():
                items = _components(self.layout.of(worker)).items()
                found |= {f"{worker}/{name}": item for name, item in items}
        address = str(self.network.node) if self.layout.network.exists() else ""
        return LabStatus(running, address, spec, found)

    def run(self, command: Sequence[str], *, stdin: str | None = None, node: str = "") -> str:
        """Run `command` as root on `node` (the first one by default) and give its standard output.

        Raises:
            StepFailed: the lab is not up, or the command failed; with its standard error.
        """
        return self._node.run([*self._enter(node), *command], stdin=stdin)

    def _enter(self, node: str) -> Sequence[str]:
        """What leads from the first node to `node`."""
        spec = self._last_spec()
        if not node or not spec or node == spec.first:
            return ()
        unshare = _components(self.layout).get(f"{WORKER}{node}", (0, 0))[0]
        children = self._node.run(["cat", f"/proc/{unshare}/task/{unshare}/children"]).split() if unshare else []
        if not children:
            raise StepFailed(f"Node {node} does not run; its log is in {self.layout.logs}.")
        # Before it has file systems of its own, what is entered is the first node's, and its containerd would answer.
        self._node.run(["test", "-e", f"/proc/{children[0]}/root{WORKER_READY}"])
        return entering(children[0])

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """Run kubectl against the lab as administrator and give its standard output.

        Raises:
            StepFailed: kubectl failed; with its standard error.
        """
        kube = str(gobuild.program_path("kube"))
        command = [kube, "kubectl", f"--kubeconfig={self.kubeconfig}", *arguments]
        return output(command, stdin=stdin, environment=environment())

    @staticmethod
    def program_names(spec: LabSpec) -> list[str]:
        """What `up` with `spec` builds where it is missing."""
        by_role = [recipes.ROLE_PROGRAMS[role] for role in spec.images]
        return ["kube", "netpol", *recipes.SYSTEM_PROGRAMS, *(name for names in by_role for name in names)]

    def _programs(self, spec: LabSpec) -> dict[str, Path]:
        names = self.program_names(spec)
        found = {name: gobuild.program_path(name) for name in names}
        if not all(path.exists() for path in found.values()):
            with step("Building the lab's programs (once; they are kept in the cache folder)"):
                found = gobuild.build(names)
        unpacked = {recipes.ROLE_WHEELS[role] for role in spec.images if role in recipes.ROLE_WHEELS}
        with locked(self._cache / "lock", _OTHER_LAB):
            return found | {name: wheels.ensure(name, self._cache / "wheels") for name in sorted(unpacked)}

    def _archives(self, spec: LabSpec, programs: dict[str, Path]) -> dict[str, containerd.Archive]:
        """The archive for each image reference."""
        folder = self._cache / "images"
        found: dict[str, containerd.Archive] = {}
        with locked(self._cache / "lock", _OTHER_LAB):
            authority = internet.ensure_authority(self._cache / "internet")
            for name, reference in recipes.SYSTEM_IMAGES.items():
                found[reference] = containerd.archive(recipes.system_image(name, programs), name, folder)
            model = ollama_models.model_file(ollama_models.Name.parse("model"), self._cache / "models")
            for role, references in spec.images.items():
                item = containerd.archive(recipes.role_image(role, programs, authority, model), role, folder)
                found |= dict.fromkeys(references, item)
        return found

    def _prepare(self, spec: LabSpec, programs: dict[str, Path]) -> None:
        """Write the lab's files; a running init follows the process definitions by itself."""
        files.write(
            self.layout,
            self.network if self._node.init_pid() else network.load_or_choose(self.layout),
            spec,
            Programs(programs["kube"], programs["netpol"], Path(sys.executable)),
            self._registry(spec),
            kept=self._kept(),
            forward=self._forward,
        )

    def _registry(self, spec: LabSpec) -> Registry:
        folder = self._cache / "models"
        with locked(self._cache / "lock", _OTHER_LAB):
            files = {
                name: ollama_models.model_file(ollama_models.Name.parse(name), folder) for name in spec.ollama_models
            }
        return Registry(self._cache / "internet", files)

    def _start(self) -> None:
        with step("Starting the lab's node"):
            packages.ensure_kernel()
            self._node.clear()
            self._node.start(self._kept())

    def _kept(self) -> tuple[Path, ...]:
        """Folders of the machine that every node must see."""
        programs = (paths.cache_dir(), paths.REPOSITORY, Path(sys.prefix), Path(sys.base_prefix))
        return (self.layout.root, self._cache, *programs)

    def _forget(self) -> None:
        """Stop the lab and delete its state, so that nodes may change places."""
        self._stop()
        with step("Deleting what was in the cluster, since a node changes its place in the spec"):
            for path in self.layout.root.iterdir():
                if path != self.layout.lock:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _stop(self) -> None:
        with step("Stopping the lab's node"):
            self._node.stop()
            self._node.clear()

    def _bring_in(self, spec: LabSpec, archives: dict[str, containerd.Archive]) -> None:
        missing: dict[str, dict[str, containerd.Archive]] = {}
        for name in spec.nodes:
            self._wait_for_containerd(name)
            missing[name] = containerd.missing(archives, self._on(name))
        incomplete = [name for name in missing if missing[name]]
        if incomplete:
            with step(f"Importing images to {', '.join(incomplete)}"), ThreadPoolExecutor() as pool:
                list(pool.map(lambda name: containerd.bring_in(missing[name], self._on(name)), incomplete))

    def _wait_for_containerd(self, node: str) -> None:
        run = self._on(node)
        self._node.wait(lambda: containerd.answers(run), _NODE_SECONDS, lambda: f"containerd of {node} does not answer")

    def _on(self, node: str) -> containerd.Run:
        return functools.partial(self.run, node=node)

    def _apply(self, spec: LabSpec) -> None:
        self._node.wait(lambda: cluster.is_ready(self.kubectl), _API_SECONDS, lambda: "the API server is not ready")
        rendered = manifests.render(self.network, recipes.SYSTEM_IMAGES, internet.HOSTS, self._traefik_crds())
        digest = manifests.digest(rendered + spec.to_json())
        if self.layout.applied.exists() and self.layout.applied.read_text() == digest:
            return
        with step("Applying what k3s packages: CoreDNS, local-path, Traefik, RuntimeClass"):
            cluster.apply(self.kubectl, rendered)
            cluster.publish_edge(self.kubectl, str(self.network.node))
            self._node.wait(
                lambda: cluster.has_nodes(self.kubectl, spec), _NODE_SECONDS, lambda: "a node is not registered"
            )
            cluster.set_up_nodes(self.kubectl, spec, self.network)
        write_atomically(self.layout.applied, digest)

    def _traefik_crds(self) -> str:
        """Traefik's own definitions of its resources, from the sources that it is built from."""
        copy = self._cache / f"{gobuild.program_path('traefik').parent.name}-crds.yaml"
        if not copy.exists():
            folder = gobuild.module_folder("traefik", "github.com/traefik/traefik/v3")
            source = folder / "docs/content/reference/dynamic-configuration/kubernetes-crd-definition-v1.yml"
            write_atomically(copy, source.read_text())
        return copy.read_text()

    def _wait_ready(self, spec: LabSpec) -> None:
        since = self._node.started_at()

        def missing() -> list[str]:
            stopped = [name for name, (pid, _) in self.status().components.items() if not pid]
            return stopped or cluster.not_ready(self.kubectl, spec, since)

        if missing():
            with step("Waiting until the node and its system pods are ready"):
                self._node.wait(lambda: not missing(), _READY_SECONDS, lambda: f"{', '.join(missing())} not ready")

    def _last_spec(self) -> LabSpec | None:
        return LabSpec.from_file(self.layout.spec) if self.layout.spec.exists() else None


def _components(layout: Layout) -> dict[str, tuple[int, int]]:
    """Process id (0: does not run) and number of starts, by component of one node."""
    if not layout.status.exists():
        return {}
    items = json.loads(layout.status.read_text()).items()
    return {name: (item["pid"], item["starts"]) for name, item in items}


def _moved(before: LabSpec, after: LabSpec) -> bool:
    """Whether a node has another place than before: addresses of its pods follow from it, and cannot be changed."""
    places = list(before.nodes)
    return any(name in places and places.index(name) != index for index, name in enumerate(after.nodes))


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file `path`, so that one process at a time does what follows; `waiting` is said if it must wait."""
    while True:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with step(waiting):
                    fcntl.flock(lock, fcntl.LOCK_EX)
            if path.exists() and path.samefile(f"/proc/self/fd/{lock.fileno()}"):
                yield
                return
        # Who held it has deleted the folder meanwhile: this was the lock of a lab that is no more.
