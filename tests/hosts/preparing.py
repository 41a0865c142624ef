"""A host prepared as the plan of a stack file says, step by step over SSH and without Pulumi."""

from __future__ import annotations

import shlex
import subprocess
from typing import Any

from machine import Machine
from mirror import Mirror

from planning.hosts import HostPlan, HostStep
from planning.nodes import plan_nodes
from settings.loader import parse
from toolchain.paths import REPOSITORY

TOKEN = "planted-token-of-the-cluster"

Raw = dict[str, Any]


def node_settings(host: Machine, site: Mirror, **node: Any) -> Raw:
    """A node of a stack file, on `host`, with everything from the mirror; `node` goes before."""
    ssh = {"host": "127.0.0.1", "user": "root", "privateKey": "agent", "hostKey": host.host_key}
    return {
        "gpus": {"model": "rtx-4090"},
        "host": {"ssh": ssh},
        "containerToolkit": {"repository": "http://127.0.0.1:8000/nvidia", "keyFingerprint": site.fingerprint},
        "k3s": {"mirror": "http://127.0.0.1:8000/k3s"},
        **node,
    }


def plan_of(node: Raw) -> HostPlan:
    """The plan of the host of a node called `workstation`."""
    models = {"help": {"engine": "ollama", "pull": ["qwen3:4b"]}}
    settings = parse(
        {"nodes": {"workstation": node}, "models": models}, source="Pulumi.test.yaml", decrypted=("nodes",)
    )
    problems: list[str] = []
    planned = plan_nodes(settings.nodes, problems)["workstation"].host
    assert planned is not None
    assert problems == []
    return planned


def run(host: Machine, step: HostStep, *, undo: bool = False) -> subprocess.CompletedProcess[str]:
    """Run one step as the component does: its command, with the scripts as standard input."""
    texts = [(REPOSITORY / "hosts" / file).read_text() for file in ("lib.sh", step.script)]
    if step.secret is not None:
        texts.insert(0, f"SECRET={shlex.quote(step.secret.get_secret_value())}\n")
    command = step.undo if undo else step.command
    assert command is not None
    return host.ssh(command, stdin="".join(texts), check=False)


def prepare(host: Machine, node: Raw) -> list[str]:
    """Run all steps, which must succeed; returns what they said, one text each."""
    said = []
    for step in plan_of(node).steps:
        done = run(host, step)
        assert done.returncode == 0, f"{step.name}: {done.stdout}{done.stderr}"
        said.append(done.stdout)
    return said


def refused(host: Machine, node: Raw) -> str:
    """Run the steps up to the first that fails, and give what that said."""
    for step in plan_of(node).steps:
        done = run(host, step)
        if done.returncode != 0:
            return done.stderr
    raise AssertionError("every step has succeeded")
