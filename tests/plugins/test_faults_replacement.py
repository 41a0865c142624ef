"""A replacement that was killed between its deletion and its creation: llmctl's mending, through the real CLI."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from api_server import ApiServer
from workspace import Workspace

from cli.pulumi import Adopted, Pulumi
from tests.fault_proxy import FaultProxy
from tests.killing import descendants, is_cli, is_kubernetes_plugin, kill
from toolchain.paths import REPOSITORY

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PROGRAM = """
import pulumi, pulumi_kubernetes as k8s
one = k8s.core.v1.ConfigMap("one", metadata={{"name": "one", "namespace": "default"}}, data={{"a": "{value}"}})
after = pulumi.ResourceOptions(depends_on=one)
k8s.core.v1.ConfigMap("two", metadata={{"name": "two", "namespace": "default"}}, data={{"a": "1"}}, opts=after)
"""
UP = """
import pathlib, sys
from cli.pulumi import Pulumi
Pulumi("dev", environment={}, folder=pathlib.Path(sys.argv[1])).up("--yes", "--skip-preview")
"""


def kill_all(there: dict[int, str]) -> None:
    """The machine on which the CLI ran: a note stays in the state."""
    kill(list(there))


def kill_plugin(there: dict[int, str]) -> None:
    """The plugin alone: Pulumi takes its note back, and the event log has to tell."""
    kill([pid for pid, command in there.items() if is_kubernetes_plugin(command)])


def replace_until_created(
    workspace: Workspace, proxy: FaultProxy, kills: Callable[[dict[int, str]], None], variables: dict[str, str]
) -> None:
    """Begin an update that replaces `one`, and kill it when the new one is made, before that is answered."""
    workspace.program(PROGRAM.format(value=2))
    proxy.choose = lambda name: "after" if name.startswith("POST") else None
    command = [sys.executable, "-c", UP, str(workspace.folder)]
    with subprocess.Popen(command, cwd=REPOSITORY, env={**os.environ, **variables}, start_new_session=True) as run:
        assert proxy.wait(lambda: run.poll() is not None, 200)
        there = descendants(run.pid)
        assert any(is_cli(command) for command in there.values())
        kills(there)
        proxy.let_go()
    assert run.returncode != 0
    proxy.choose = lambda _: None


@pytest.mark.parametrize("kills", [kill_all, kill_plugin])
@pytest.mark.parametrize("is_ours", [True, False], ids=["ours", "another's"])
def test_a_replacement_that_was_cut_off_is_mended_and_takes_nothing_that_is_not_ours(
    make: Callable[..., Workspace],
    cluster: ApiServer,
    tmp_path: Path,
    kills: Callable[[dict[int, str]], None],
    is_ours: bool,
) -> None:
    with cluster.proxied(tmp_path / "kubeconfig") as proxy:
        workspace = make(KUBECONFIG=str(proxy.kubeconfig)).program(PROGRAM.format(value=1))
        workspace.up()
        variables = dict(workspace.stack.workspace.env_vars)
        replace_until_created(workspace, proxy, kills, variables)
        if kills is kill_all:
            workspace.stack.cancel()
        if not is_ours:
            cluster.request("DELETE", f"{CONFIG_MAPS}/one")
            metadata = {"name": "one", "namespace": "default"}
            cluster.post(CONFIG_MAPS, {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata})
        uid = cluster.get(f"{CONFIG_MAPS}/one")["metadata"]["uid"]

        stack = Pulumi("dev", environment=variables, folder=workspace.folder)
        assert stack.adopt().looked_up == ["one"]  # this plugin itself does not find what was made by hand
        assert stack.adopt() == Adopted([], [])
        if is_ours:
            workspace.up()
            assert workspace.preview().steps == {}
            assert cluster.get(f"{CONFIG_MAPS}/one")["data"] == {"a": "2"}
        else:
            assert '"one" already exists' in workspace.up_fails()
        assert cluster.get(f"{CONFIG_MAPS}/one")["metadata"]["uid"] == uid
        workspace.destroy()
        assert (cluster.get(f"{CONFIG_MAPS}/one") is None) is is_ours
        assert cluster.get(f"{CONFIG_MAPS}/two") is None
        if not is_ours:
            cluster.request("DELETE", f"{CONFIG_MAPS}/one")
