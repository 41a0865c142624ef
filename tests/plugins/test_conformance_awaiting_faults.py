"""An API server that goes away in the middle of a run, comes back or stays away; an answer that is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from pulumi import automation
from workspace import Workspace

from tests.fault_proxy import FaultProxy

IMPORTS = "import pulumi\nimport pulumi_kubernetes as k8s\n"
MAPS = "/api/v1/namespaces/default/configmaps"
SLOW_JOB = (
    'job = k8s.batch.v1.Job("slow", metadata={"name": "slow"}, spec={"suspend": True, "template": {"spec":'
    ' {"restartPolicy": "Never", "containers": [{"name": "j", "image": "good"}]}}})\n'
)


def config_map(name: str, after: str = "") -> str:
    """A program's line for a ConfigMap, made after the resource in the variable `after`."""
    opts = f", opts=pulumi.ResourceOptions(depends_on={after})" if after else ""
    return f'k8s.core.v1.ConfigMap("{name}", metadata={{"name": "{name}"}}, data={{"a": "1"}}{opts})\n'


def in_the_background(workspace: Workspace) -> tuple[threading.Thread, list[str]]:
    """Start an update; the list has what it has shown when the thread has ended, after `ok` or `failed`."""
    shown: list[str] = []

    def run() -> None:
        try:
            done = workspace.stack.up()
            shown.extend(["ok", done.stdout + done.stderr])
        except automation.CommandError as error:
            shown.extend(["failed", str(error)])

    thread = threading.Thread(target=run)
    thread.start()
    return thread, shown


def until(holds: Callable[[], Any], seconds: float = 90.0) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not so after {seconds} s"
        time.sleep(0.1)  # before the cluster is asked again


def test_a_run_goes_on_when_the_api_server_comes_back(workspace: Workspace, cluster: ApiServer) -> None:
    jobs = "/apis/batch/v1/namespaces/default/jobs"
    workspace.program(IMPORTS + SLOW_JOB + config_map("after", "job"))
    thread, shown = in_the_background(workspace)
    until(lambda: cluster.get(f"{jobs}/slow"))
    uid = cluster.get(f"{jobs}/slow")["metadata"]["uid"]
    cluster.stop()
    time.sleep(2)  # the run asks in vain
    cluster.start()
    cluster.merge(f"{jobs}/slow", {"spec": {"suspend": False}})
    thread.join(120)
    assert shown[0] == "ok", shown[1]
    assert cluster.get(f"{jobs}/slow")["metadata"]["uid"] == uid
    assert workspace.state()["kubernetes:batch/v1:Job::slow"]["outputs"]["status"]["succeeded"] == 1
    assert cluster.get(f"{MAPS}/after")["data"] == {"a": "1"}


@pytest.fixture
def proxied(
    make: Callable[..., Workspace], cluster: ApiServer, tmp_path: Path
) -> Iterator[tuple[Workspace, FaultProxy]]:
    """A workspace whose API server is behind a proxy, and is given up after 3 s."""
    with cluster.proxied(tmp_path / "proxied") as proxy:
        workspace = make(KUBECONFIG=str(proxy.kubeconfig), KUBERNETES_RETRY_SECONDS="3")
        yield workspace, proxy
        workspace.destroy()


def lose(proxy: FaultProxy, name: str) -> Callable[[], bool]:
    """Have the answer to the creation of the ConfigMap `name` lost; true when it is made and its answer held back."""
    proxy.choose = lambda request: "after" if request == f"POST {MAPS}/{name}" else None
    return lambda: bool(proxy.stopped)


def test_an_object_whose_creation_was_not_answered_is_taken_for_the_runs_own(
    proxied: tuple[Workspace, FaultProxy], cluster: ApiServer
) -> None:
    workspace, proxy = proxied
    made = lose(proxy, "lost")
    thread, shown = in_the_background(workspace.program(IMPORTS + config_map("lost")))
    until(made)
    uid = cluster.get(f"{MAPS}/lost")["metadata"]["uid"]
    proxy.choose = lambda _: None
    proxy.let_go()
    thread.join(120)
    assert shown[0] == "ok", shown[1]
    outputs = workspace.state()["kubernetes:core/v1:ConfigMap::lost"]["outputs"]
    assert outputs["metadata"]["uid"] == uid == cluster.get(f"{MAPS}/lost")["metadata"]["uid"]


def test_a_server_that_stays_away_ends_the_run_clearly_and_the_next_one_finishes_it(
    proxied: tuple[Workspace, FaultProxy], cluster: ApiServer
) -> None:
    workspace, proxy = proxied
    program = IMPORTS + config_map("first") + 'lost = k8s.core.v1.ConfigMap("lost", data={"a": "1"})\n'
    program += config_map("never", "lost")
    proxy.choose = lambda request: "after" if request.startswith(f"POST {MAPS}/lost-") else None
    thread, shown = in_the_background(workspace.program(program))
    until(lambda: proxy.stopped and cluster.get(f"{MAPS}/first"))
    time.sleep(1)  # the first one's answer is under way
    proxy.vanish()
    thread.join(120)
    assert shown[0] == "failed"
    assert "cannot be reached" in shown[1]
    assert "Trying again for up to 3 s." in shown[1]
    assert "Gave up after 3 s." in shown[1]
    state = workspace.state()
    assert state["kubernetes:core/v1:ConfigMap::first"]["outputs"]["metadata"]["uid"]
    name = state["kubernetes:core/v1:ConfigMap::lost"]["outputs"]["metadata"]["name"]
    assert "The next update finds it or makes it." in state["kubernetes:core/v1:ConfigMap::lost"]["initErrors"][1]
    assert "kubernetes:core/v1:ConfigMap::never" not in state

    proxy.choose = lambda _: None
    proxy.return_()
    uid = cluster.get(f"{MAPS}/{name}")["metadata"]["uid"]
    workspace.up()
    found = workspace.state()["kubernetes:core/v1:ConfigMap::lost"]
    assert found["outputs"]["metadata"]["uid"] == uid
    assert "initErrors" not in found
    names = [item["metadata"]["name"] for item in cluster.get(MAPS)["items"]]
    assert [item for item in names if item.startswith("lost-")] == [name]
    assert cluster.get(f"{MAPS}/never")["data"] == {"a": "1"}
