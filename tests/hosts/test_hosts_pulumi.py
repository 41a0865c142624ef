"""GpuHost through the real CLI and the command plugin: a bare host becomes a node, an unknown one is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from machine import Machine
from mirror import Mirror
from preparing import TOKEN, Raw, node_settings

from toolchain.paths import REPOSITORY

_PROGRAM = f"""
import sys
sys.path.insert(0, {str(REPOSITORY)!r})
import pulumi
from components.gpu_host import GpuHost
from planning.nodes import plan_nodes
from settings.loader import load

host = GpuHost("workstation", plan_nodes(load().nodes, [])["workstation"].host)
if host.kubeconfig is not None:
    pulumi.export("kubeconfig", host.kubeconfig)
"""
_ADMIN = "planted-admin-key"


@dataclass(frozen=True)
class Stack:
    """A stack `test` of a project of its own, run in the network of a host."""

    folder: Path
    host: Machine

    def pulumi(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real CLI."""
        done = subprocess.run(
            self.host.enter(str(REPOSITORY / "bin/pulumi"), *arguments, "--stack", "test"),
            cwd=self.folder,
            env={
                **{
                    name: value
                    for name, value in os.environ.items()
                    if not name.startswith(("PULUMI_", "KUBE", "SSH_"))
                },
                "PULUMI_BACKEND_URL": f"file://{self.folder / 'backend'}",
                "PULUMI_CONFIG_PASSPHRASE": "test",
                "XDG_STATE_HOME": str(self.folder / "state"),
            },
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def configure(self, node: Raw, **secrets: str) -> None:
        """Write `node` to the stack file, and `secrets` by path below it as a person would."""
        models = {"help": {"engine": "ollama", "pull": ["qwen3:4b"]}}
        values = {"llm-serving:nodes": {"workstation": node}, "llm-serving:models": models}
        file = self.folder / "Pulumi.test.yaml"
        before = yaml.safe_load(file.read_text()) if file.exists() else {}
        file.write_text(yaml.safe_dump({**(before or {}), "config": values}))
        for path, value in secrets.items():
            key = f"llm-serving:nodes.workstation.{path.replace('__', '.')}"
            self.pulumi("config", "set", "--secret", "--path", key, stdin=value)

    def steps(self) -> dict[str, str]:
        """What a preview would do, by the resource's name; what stays the same is left out."""
        preview: dict[str, Any] = json.loads(self.pulumi("preview", "--json").stdout)
        return {step["urn"].rpartition("::")[2]: step["op"] for step in preview["steps"] if step["op"] != "same"}

    def stored(self) -> str:
        """All that is on disk of the stack."""
        return "".join(path.read_text() for path in (self.folder / "backend").rglob("*.json*"))


@pytest.fixture
def stack(host: Machine, site: Mirror, tmp_path: Path) -> Stack:
    """A stack of one host that is reached with a key of the stack file."""
    folder = tmp_path / "project"
    (folder / "backend").mkdir(parents=True)
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
    (folder / "Pulumi.yaml").write_text(yaml.safe_dump({"name": "llm-serving", "runtime": runtime}))
    (folder / "__main__.py").write_text(_PROGRAM)
    made = Stack(folder, host)
    made.pulumi("stack", "select", "--create")
    node = node_settings(host, site)
    del node["host"]["ssh"]["privateKey"]
    made.configure(node, host__ssh__privateKey=host.private_key)
    return made


def test_from_a_bare_host_to_a_node_and_back(stack: Stack, host: Machine) -> None:
    names = ["facts", "toolkit", "k3s", "kubeconfig"]
    assert {name for name in stack.steps() if "-" in name} == {f"workstation-{name}" for name in names} | {
        "llm-serving-test"
    }
    assert host.log() == [], "a preview has touched the host"
    said = stack.pulumi("up", "--yes").stdout
    assert "==> workstation is Ready" in said
    outputs = json.loads(stack.pulumi("stack", "output", "--json", "--show-secrets").stdout)
    assert outputs["kubeconfig"] == f"server: https://127.0.0.1:6443\nclient-key-data: {_ADMIN}"
    for secret in (_ADMIN, host.private_key.splitlines()[1]):
        assert secret not in said
        assert secret not in stack.stored()
    # Nothing is to be done any more, and the host stays as it is when the stack goes.
    assert stack.steps() == {}
    files = host.written()
    stack.pulumi("up", "--yes", "--expect-no-changes")
    stack.pulumi("destroy", "--yes")
    assert host.written() == files


def test_a_host_that_is_not_as_planned_stops_before_anything_is_installed(stack: Stack, host: Machine) -> None:
    host.ssh("echo 'NVIDIA GeForce RTX 3090, 24576, 580.95.05, GPU-1' >/etc/standin/gpus.csv")
    files = host.written()
    done = stack.pulumi("up", "--yes", check=False)
    assert done.returncode != 0
    assert "the stack file says 1 x rtx-4090 (24564 MiB) and the driver shows 1: NVIDIA GeForce RTX 3090" in done.stdout
    assert "repair: Correct nodes.workstation.gpus" in done.stdout
    # A failure shows the command, which is short, and not the script.
    assert "set -euo pipefail" not in done.stdout
    assert host.written() == files


def test_a_host_with_another_key_is_refused(stack: Stack, host: Machine, site: Mirror, tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "other")], check=True)
    node = node_settings(host, site)
    node["host"]["ssh"]["hostKey"] = " ".join((tmp_path / "other.pub").read_text().split()[:2])
    del node["host"]["ssh"]["privateKey"]
    stack.configure(node, host__ssh__privateKey=host.private_key)
    done = stack.pulumi("up", "--yes", check=False)
    assert done.returncode != 0
    assert "host key" in (done.stdout + done.stderr).lower()
    assert host.log() == []


def test_an_agents_token_is_shown_and_stored_nowhere(stack: Stack, host: Machine, site: Mirror) -> None:
    node = node_settings(host, site)
    node["k3s"] |= {"role": "agent", "server": "https://gpu-a.lan:6443"}
    del node["host"]["ssh"]["privateKey"]
    stack.configure(node, host__ssh__privateKey=host.private_key, k3s__token=TOKEN)
    said = stack.pulumi("up", "--yes", "--diff").stdout
    assert host.read("/etc/rancher/k3s/llm-serving-token") == f"{TOKEN}\n"
    for shown in (said, stack.stored(), (stack.folder / "Pulumi.test.yaml").read_text()):
        assert TOKEN not in shown


def test_uninstalling_is_done_when_it_was_asked_for(stack: Stack, host: Machine, site: Mirror) -> None:
    node = node_settings(host, site)
    node["k3s"]["uninstallOnDestroy"] = True
    del node["host"]["ssh"]["privateKey"]
    stack.configure(node, host__ssh__privateKey=host.private_key)
    stack.pulumi("up", "--yes")
    stack.pulumi("destroy", "--yes")
    left = [path for path in host.written() if "k3s" in path or "llm-serving" in path]
    assert left == []
