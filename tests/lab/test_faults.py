"""`make up` of the dev stack in the lab, killed at chosen moments and run again: it reaches its goal all the same.

Every request of it with every kind of kill is tests/plugins/test_faults.py's. Here pods really run, models are asked,
and a cluster that is killed is the whole of it.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_stack import Stack, eventually

from cli.deployment import Deployment
from cli.lab_spec import lab_spec
from lab.lab import Lab
from lab.layout import API_PORT
from tests.fault_proxy import FaultProxy, Moment, fault_proxy
from tests.killing import descendants, is_cli, is_kubernetes_plugin, kill, lives
from tests.written_objects import objects_of, steps, written_objects

RUN_SECONDS = 400.0


class Site:
    """The dev stack on the lab's cluster behind a proxy."""

    def __init__(self, stack: Stack, proxy: FaultProxy) -> None:
        self.stack = stack
        self.proxy = proxy
        self.log = proxy.kubeconfig.with_name("log")
        self.environment = {
            "STACK": stack.name,
            "KUBECONFIG": str(proxy.kubeconfig),
            "LLM_ADDRESS": str(stack.lab.network.node),
        }

    def up_until(self, request: str, moment: Moment) -> subprocess.Popen[bytes]:
        """Begin `make up`, and return when `request` is stopped at `moment`."""
        self.proxy.choose = lambda name: moment if request in name else None
        with self.log.open("ab") as log:
            run = subprocess.Popen(
                ["make", "up"],
                cwd=self.stack.folder,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        held = self.proxy.wait(lambda: run.poll() is not None, RUN_SECONDS)
        assert [name for name, _ in held if request in name], self.log.read_text()
        self.proxy.choose = lambda _: None
        return run

    def pulumi(self, *arguments: str) -> str:
        """Run the real CLI for the stack."""
        return subprocess.run(
            [self.stack.folder / "bin" / "pulumi", *arguments, "--stack", self.stack.name],
            cwd=self.stack.folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout

    def up(self) -> str:
        """Run `make up` to its end."""
        return self.stack.make("up", **self.environment)


@pytest.fixture(scope="module")
def site(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The lab as the dev stack needs it, without the stack."""
    lab = stack.lab
    lab.up(lab_spec(Deployment(stack=stack.name, folder=stack.folder, lab=lab).plan()))
    context = ssl.create_default_context(cafile=str(lab.layout.pki / "ca.crt"))
    context.load_cert_chain(lab.layout.pki / "admin.crt", lab.layout.pki / "admin.key")
    kubeconfig: Path = tmp_path_factory.mktemp("proxy") / "kubeconfig"
    with fault_proxy(f"https://{lab.network.node}:{API_PORT}", kubeconfig, context=context) as proxy:
        made = Site(stack, proxy)
        yield made
        stack.make("down", **made.environment)


def test_an_up_whose_processes_were_all_killed_leaves_none(site: Site) -> None:
    run = site.up_until("jobs/assistant-pull", "after")
    there = descendants(run.pid)
    assert any(is_cli(command) for command in there.values())
    kill(list(there))
    site.proxy.let_go()
    run.wait(60)
    eventually(lambda: not any(lives(pid) for pid in there), 60, f"the end of {there}")


def test_an_up_whose_plugin_was_killed_ends_with_an_error(site: Site) -> None:
    run = site.up_until("deployments/assistant", "after")
    kill([pid for pid, command in descendants(run.pid).items() if is_kubernetes_plugin(command)])
    site.proxy.let_go()
    assert run.wait(RUN_SECONDS) != 0


def test_an_up_whose_cluster_was_killed_ends_when_the_cluster_is_back(site: Site) -> None:
    """Well or not: that hangs on how long the cluster takes."""
    run = site.up_until("deployments/llm-gateway", "after")
    lab = site.stack.lab
    kill([json.loads(lab.layout.supervisor.read_text())["pid"]])
    site.proxy.let_go()
    lab.up()
    run.wait(RUN_SECONDS)
    # The plugin of the run before was killed when the API server had done what it asked for.
    assert "an earlier run was interrupted while it created assistant: looked up again" in site.log.read_text()


def test_the_next_up_reaches_the_goal_and_every_model_answers(site: Site) -> None:
    said = site.up()
    answers = [line.removeprefix("It answers: ") for line in said.splitlines() if line.startswith("It answers: ")]
    assert len(answers) == 2, said
    assert all(answer.strip() for answer in answers)


def test_nothing_is_lost_and_nothing_is_there_twice(site: Site) -> None:
    lab: Lab = site.stack.lab
    assert steps(json.loads(site.pulumi("preview", "--json"))) == []
    state = json.loads(site.pulumi("stack", "export"))
    assert "pending_operations" not in state["deployment"]
    assert written_objects(lambda path: json.loads(lab.kubectl("get", "--raw", path))) == objects_of(state)
    node = site.stack.get("node", "workstation")["metadata"]
    assert node["labels"]["llm-serving/gpu-model"] == "rtx-4090"
    assert node["annotations"]["llm-serving/planned-gpus"] == "2"
