"""What Pulumi's own commands say and do after a deployment was killed: docs/faults.md tells it to people."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from api_server import ApiServer
from pulumi import automation
from workspace import Workspace

from tests.fault_proxy import FaultProxy
from tests.killing import descendants, kill

OBJECT = "/api/v1/namespaces/default/configmaps/begun"
PROGRAM = """
import pulumi_kubernetes as k8s
k8s.core.v1.ConfigMap("begun", metadata={"name": "begun", "namespace": "default"}, data={"a": "1"})
"""


@pytest.fixture
def proxy(cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultProxy]:
    """Stands before the cluster."""
    kubeconfig: Path = tmp_path_factory.mktemp("proxy") / "kubeconfig"
    with cluster.proxied(kubeconfig) as made:
        yield made


def test_a_create_that_was_cut_off_is_taken_over_by_an_upsert_and_by_nothing_less(
    cli: automation.PulumiCommand, make: Callable[..., Workspace], proxy: FaultProxy, cluster: ApiServer
) -> None:
    workspace = make(KUBECONFIG=str(proxy.kubeconfig)).program(PROGRAM)
    variables = workspace.stack.workspace.env_vars
    proxy.choose = lambda name: "after" if name.startswith("POST") else None
    command = [cli.command, "up", "--yes", "--skip-preview", "--stack", "dev"]
    with subprocess.Popen(command, cwd=workspace.folder, env={**os.environ, **variables}) as run:
        assert proxy.wait(lambda: run.poll() is not None, 200)
        kill(list(descendants(run.pid)))
    proxy.let_go()
    proxy.choose = lambda _: None

    locked = workspace.up_fails()
    assert "the stack is currently locked by 1 lock(s)" in locked
    assert "delete the lock file with `pulumi cancel`" in locked
    workspace.stack.cancel()
    workspace.refresh()  # does not find what it was not told of, without a person at the terminal
    refused = workspace.up_fails()
    assert "begun, interrupted while creating" in refused
    assert "pulumi refresh` will need to be run interactively to clear pending CREATE operations" in refused
    assert 'configmaps "begun" already exists' in refused
    uid = cluster.get(OBJECT)["metadata"]["uid"]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_K8S_UPSERT_EXISTING_OBJECTS", "true")
        workspace.up()
    assert pending(workspace) == ["creating"]  # what is there by now is still called interrupted
    workspace.stack.refresh(clear_pending_creates=True)
    assert pending(workspace) == []
    assert workspace.preview().steps == {}
    assert cluster.get(OBJECT)["metadata"]["uid"] == uid
    workspace.destroy()
    assert cluster.get(OBJECT) is None


def pending(workspace: Workspace) -> list[str]:
    """The operations that the state holds as begun and not ended."""
    deployment = workspace.stack.export_stack().deployment or {}
    return [str(operation["type"]) for operation in deployment.get("pending_operations") or ()]
