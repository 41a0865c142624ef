"""The dev stack's deployment, killed at every request that it writes: the next run goes on, and nothing is lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from api_server import ApiServer

from tests.fault_proxy import FaultProxy, Moment
from tests.killing import descendants, is_cli, is_kubernetes_plugin, kill, lives
from tests.written_objects import objects_of, steps, written_objects
from toolchain.paths import REPOSITORY

PROGRAM = ("Pulumi.yaml", "Pulumi.dev.yaml", "__main__.py", "stack.py", "settings", "planning", "components")
RUN_SECONDS = 300.0
ORPHAN_SECONDS = 30.0
"""Within which what is left of a killed run ends by itself."""

ALSO_BEFORE = re.compile("/(namespaces/llm|nodes/workstation .*|deployments/assistant)$")
"""Stopped before they are made, too: a run that dies then leaves nothing but a note, which is the same for all of a
kind. A namespace, a Patch and a workload are the kinds."""

MOST_RUNS = 60
STEPS = 27
"""Requests that write when the dev stack is deployed undisturbed."""

# What `llmctl up` does once the cluster is there. Without preview and policies, which write nothing and take as long as
# all the rest; and no model is asked, for no pod runs here.
DEPLOY = """
import pathlib, sys
from cli.deployment import Deployment
deployment = Deployment(stack="dev", assume_yes=True, folder=pathlib.Path(sys.argv[1]), lab=None)
deployment._policy = lambda _: ["--skip-preview", "--parallel", "32"]
deployment.deploy(deployment.plan())
"""
NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "workstation"},
    "status": {"allocatable": {"nvidia.com/gpu": "2"}, "capacity": {"nvidia.com/gpu": "2"}},
}


class Site:
    """The dev stack on a cluster behind a proxy."""

    def __init__(self, cluster: ApiServer, proxy: FaultProxy, folder: Path) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.folder = folder

    def start(self) -> subprocess.Popen[bytes]:
        """Begin a deployment."""
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", DEPLOY, str(self.folder)],
                cwd=REPOSITORY,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def said(self) -> str:
        """What the deployments have said."""
        return (self.folder / "log").read_text()

    def pulumi(self, *arguments: str) -> str:
        """Run the real CLI for the stack."""
        done = subprocess.run(
            [REPOSITORY / "bin" / "pulumi", *arguments, "--stack", "dev"],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.proxy.kubeconfig)}


Disturb = Callable[[Site, subprocess.Popen[bytes], set[Moment]], None]


@pytest.fixture
def site(cluster: ApiServer, tmp_path: Path) -> Iterator[Site]:
    """A copy of the program, with a node for it; all is taken away again."""
    for name in PROGRAM:
        source = REPOSITORY / name
        copy = shutil.copytree if source.is_dir() else shutil.copy2
        copy(source, tmp_path / name)
    runtime = tmp_path / "components" / "gpu_runtime.py"
    text = runtime.read_text()
    assert '"min_ready_seconds": 15,' in text, "nothing to take out"
    runtime.write_text(text.replace('"min_ready_seconds": 15,', ""))  # the pods here are no plugins to wait for
    stack_file = tmp_path / "Pulumi.dev.yaml"
    document = yaml.safe_load(stack_file.read_text())
    document["config"]["llm-serving:storage"] = {"className": "local-path"}  # the cluster here has no default class
    document.pop("encryptionsalt", None)  # of a stack that was brought up from the checkout, with its own passphrase
    stack_file.write_text(yaml.safe_dump(document))
    (tmp_path / ".venv").symlink_to(REPOSITORY / ".venv")
    cluster.post("/api/v1/nodes", NODE)
    with cluster.proxied(tmp_path / "kubeconfig") as proxy:
        yield Site(cluster, proxy, tmp_path)
    cluster.request("DELETE", "/api/v1/nodes/workstation")


def kill_cli(site: Site, run: subprocess.Popen[bytes], moments: set[Moment]) -> None:
    """The CLI alone, or all processes of the run: those that are left must end by themselves."""
    there = descendants(run.pid)
    kill([pid for pid, command in there.items() if "before" in moments or is_cli(command)])
    site.proxy.let_go()
    run.wait(ORPHAN_SECONDS)
    deadline = time.monotonic() + ORPHAN_SECONDS
    while left := [command for pid, command in there.items() if lives(pid)]:
        assert time.monotonic() < deadline, f"still at work: {left}"
        time.sleep(0.1)  # before they are looked at again


def kill_plugin(site: Site, run: subprocess.Popen[bytes], _: set[Moment]) -> None:
    """The Kubernetes plugin, in the middle of its calls."""
    found = [pid for pid, command in descendants(run.pid).items() if is_kubernetes_plugin(command)]
    assert found
    kill(found)
    site.proxy.let_go()


def kill_cluster(site: Site, _: subprocess.Popen[bytes], __: set[Moment]) -> None:
    """The API server, as its clients see that: its connections are cut, and for a moment nobody listens."""
    site.proxy.vanish()
    time.sleep(1.0)  # long enough for clients to be refused at least once
    site.proxy.return_()


@pytest.mark.parametrize("disturb", [kill_cli, kill_plugin, kill_cluster])
@pytest.mark.usefixtures("cli")
def test_a_deployment_killed_at_every_request_reaches_its_goal_by_being_run_again(site: Site, disturb: Disturb) -> None:
    others = written_objects(site.cluster.get)
    done: list[tuple[str, Moment]] = []

    def next_moment(request: str) -> Moment | None:
        also_before = disturb is kill_cli and bool(ALSO_BEFORE.search(request))
        moments: tuple[Moment, ...] = ("before", "after") if also_before else ("after",)
        return next((moment for moment in moments if (request, moment) not in done), None)

    site.proxy.choose = next_moment
    for _ in range(MOST_RUNS):
        disturbed = False
        run = site.start()
        while held := site.proxy.wait(lambda run=run: run.poll() is not None, RUN_SECONDS):  # type: ignore[misc]  # mypy infers no type for a lambda's default
            done += held
            disturbed = True
            disturb(site, run, {moment for _, moment in held})
        if not disturbed:
            break
    assert run.returncode == 0, site.said()
    assert len({request for request, _ in done}) >= STEPS
    assert "already exists" not in site.said()

    site.proxy.choose = lambda _: None
    assert steps(json.loads(site.pulumi("preview", "--json"))) == []
    state = json.loads(site.pulumi("stack", "export"))
    assert "pending_operations" not in state["deployment"]
    assert written_objects(site.cluster.get) - others == objects_of(state)
    node = site.cluster.get("/api/v1/nodes/workstation")["metadata"]
    assert node["labels"]["llm-serving/gpu-model"] == "rtx-4090"
    assert node["annotations"]["llm-serving/planned-gpus"] == "2"

    site.pulumi("destroy", "--yes", "--skip-preview")
    assert written_objects(site.cluster.get) == others
    node = site.cluster.get("/api/v1/nodes/workstation")["metadata"]
    written = {**node.get("labels", {}), **node.get("annotations", {})}
    assert [name for name in written if name.startswith("llm-serving/")] == []
