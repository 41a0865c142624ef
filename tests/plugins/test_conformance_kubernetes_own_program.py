"""Our own program is previewed where no cluster is: on a reviewer's machine, and before the run makes it."""

from __future__ import annotations

import collections
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from pulumi import automation
from workspace import Workspace

from toolchain.paths import REPOSITORY

PROGRAM = ("Pulumi.yaml", "Pulumi.prod.yaml", "__main__.py", "stack.py", "settings", "planning", "components", "hosts")
BARE_HOST = """\
config:
  llm-serving:nodes:
    gpu-a:
      gpus: {model: l40s, count: 1}
      host: {ssh: {host: 192.0.2.4, user: ops, privateKey: agent, hostKey: {unchecked: it is never asked in a preview}}}
  llm-serving:models:
    chat: {engine: vllm, model: Qwen/Qwen2.5-7B-Instruct-AWQ}
  llm-serving:ingress: {host: localhost, routes: {/v1: chat}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the program, since Pulumi writes to its stack file."""
    for name in PROGRAM:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, tmp_path / name)
    settings = yaml.safe_load((tmp_path / "Pulumi.yaml").read_text())
    settings["runtime"]["options"]["virtualenv"] = sys.prefix
    (tmp_path / "Pulumi.yaml").write_text(yaml.safe_dump(settings))
    (tmp_path / "Pulumi.bare.yaml").write_text(BARE_HOST)
    (tmp_path / "backend").mkdir()
    return tmp_path


class OwnProgram(Workspace):
    """A stack of our program, on a machine without any kubeconfig."""

    def __init__(self, folder: Path, cli: automation.PulumiCommand, name: str) -> None:
        self.folder = folder
        variables = {
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "KUBECONFIG": str(folder / "none"),
        }
        options = automation.LocalWorkspaceOptions(pulumi_command=cli, env_vars=variables)
        self.stack = automation.create_or_select_stack(name, work_dir=str(folder), opts=options)


@pytest.mark.parametrize(
    ("stack", "servers", "warnings"), [("prod", {"general", "korean", "fast"}, 1), ("bare", {"chat"}, 0)]
)
def test_our_program_is_previewed_whole_without_a_cluster(
    project: Path, cli: automation.PulumiCommand, stack: str, servers: set[str], warnings: int
) -> None:
    shown = OwnProgram(project, cli, stack).preview()
    assert {step.operation for step in shown.steps.values()} == {"create"}
    assert not [message for message in shown.messages if message.startswith("error")]
    unreachable = [message for message in shown.messages if "configured Kubernetes cluster is unreachable" in message]
    assert len(unreachable) == warnings
    found = collections.defaultdict(set)
    for urn in shown.steps:
        kind, _, name = urn.rpartition("::")
        found[kind.rpartition("$")[2]].add(name)
    assert servers <= found["kubernetes:apps/v1:Deployment"]
    assert found["kubernetes:node.k8s.io/v1:RuntimeClass"]
    assert bool(found["command:remote:Command"]) is (stack == "bare")
    assert bool(found["kubernetes:autoscaling/v2:HorizontalPodAutoscaler"]) is (stack == "prod")
