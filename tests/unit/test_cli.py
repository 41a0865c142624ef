"""llmctl: what it asks of the lab, and how it ends when something is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from on_mocks import Raw, settings_of
from small_stacks import node, planned, vllm

from cli.__main__ import app
from cli.deployment import Deployment
from cli.lab_spec import lab_spec
from cli.pulumi import PREPARED, Pulumi
from lab.lab import Lab
from lab.spec import LabSpec, NodeSpec
from planning.plan import plan
from toolchain.paths import REPOSITORY
from toolchain.steps import StepFailed

# --- the lab ---


def test_the_lab_has_what_the_dev_stack_counts_on(dev: Raw) -> None:
    assert lab_spec(plan(settings_of(dev))) == LabSpec(
        nodes={"workstation": NodeSpec(gpus=1, gpu_model="rtx-4090", gpu_memory_mib=24564)},
        images={
            "vllm": ("docker.io/vllm/vllm-openai:v0.33.0",),
            "ollama": ("docker.io/ollama/ollama:0.32.15",),
            "gateway": ("docker.io/nginxinc/nginx-unprivileged:1.29-alpine",),
            "devicePlugin": ("nvcr.io/nvidia/k8s-device-plugin:v0.20.0",),
        },
        ollama_models=("qwen3:4b",),
    )


def test_an_image_that_no_server_runs_is_not_stood_in_for() -> None:
    models = {"a": vllm(image="example.com/vllm:v1"), "b": vllm(image="example.com/vllm:v1")}
    spec = lab_spec(planned({"n": node(count=2)}, models))
    assert spec.images == {
        "vllm": ("example.com/vllm:v1",),
        "devicePlugin": ("nvcr.io/nvidia/k8s-device-plugin:v0.20.0",),
    }
    assert spec.ollama_models == ()


def test_a_stack_of_more_nodes_than_the_lab_has_is_sent_to_a_cluster_of_ones_own() -> None:
    two = planned({name: node() for name in "abcde"}, {"chat": vllm()})
    with pytest.raises(StepFailed, match=r"^The lab cannot stand in for this stack: .*\bKUBECONFIG\.$"):
        lab_spec(two)


# --- one stack, one cluster ---


class Recorded(Pulumi):
    """A stack whose state says by which kubeconfig it was deployed."""

    def __init__(self, kubeconfig: object) -> None:
        super().__init__("prod", environment={})
        self.kubeconfig = kubeconfig
        self.asked: list[str] = []

    def output(self, *arguments: str) -> str:
        self.asked.append(" ".join(arguments[:2]))
        if arguments[:2] == ("stack", "ls"):
            return json.dumps([{"name": "organization/llm-serving/prod"}])
        provider = {"type": "pulumi:providers:kubernetes", "inputs": {"kubeconfig": self.kubeconfig}}
        return json.dumps({"deployment": {"resources": [provider]}})


@pytest.mark.parametrize("command", ["up", "down"])
@pytest.mark.parametrize("on_lab", [True, False])
def test_a_stack_of_another_cluster_is_left_alone(
    command: str, on_lab: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A state that is used for another cluster, or thrown away with the lab, would leave the first one to nobody."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    (tmp_path / "kubeconfig").touch()
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    lab = Lab()
    pulumi = Recorded("/etc/rancher/k3s/k3s.yaml" if on_lab else str(lab.kubeconfig))
    monkeypatch.setattr(Deployment, "pulumi", pulumi)
    with pytest.raises(StepFailed, match="is deployed to the"):
        getattr(Deployment(stack="prod", lab=lab if on_lab else None), command)()
    assert set(pulumi.asked) == {"stack ls", "stack export"}


def test_a_cluster_that_the_stack_has_made_is_told_from_others() -> None:
    assert Recorded({"4dabf18193072939515e22adb298388d": "x", "ciphertext": "y"}).cluster() == PREPARED
    assert Recorded(None).cluster() is None


# --- the program ---

COMMANDS = sorted(typer.main.get_group(app).commands)


def llmctl(*arguments: str, program: tuple[str, ...] = ("-m", "cli")) -> subprocess.CompletedProcess[str]:
    """Run the program as a person would, without a lab, be one up or not: KUBECONFIG names no cluster."""
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "KUBECONFIG": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_help_names_every_command() -> None:
    done = llmctl("--help")
    assert done.returncode == 0
    assert COMMANDS
    for command in COMMANDS:
        assert f" {command} " in done.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    done = llmctl(command, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--stack" in done.stdout or command in ("advise", "catalogue", "policy", "report", "schema"), (
        "only these need no stack"
    )


def test_a_stack_that_is_not_there_is_told_without_a_traceback() -> None:
    done = llmctl("up", "--stack", "nowhere")
    assert done.returncode == 1
    assert "Pulumi.nowhere.yaml has 1 problem:\n  cannot be read: No such file or directory." in done.stderr
    assert "Traceback" not in done.stderr


def test_a_kubeconfig_that_is_not_there_is_told_before_anything_starts() -> None:
    done = llmctl("up", "--yes")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "KUBECONFIG names /nonexistent, which is not there, so there is no cluster to deploy to. Correct it, or unset "
        "it to use the lab."
    )
    assert "pulumi" not in done.stderr + done.stdout


IN_FOLDER = (
    "import sys, functools, pathlib, cli.__main__ as m\n"
    "m.Deployment = functools.partial(m.Deployment, folder=pathlib.Path(sys.argv.pop(1)))\n"
    "m.app()"
)
"""The program for the stack files of the folder that its first argument names."""


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (
            "config:\n  llm-serving:nodes: {}\n  llm-serving:models: {chat: {engine: vlm}}\n",
            [
                "Pulumi.bad.yaml has 3 problems:",
                "  line 2: nodes: at least one is required.",
                "  line 3: models.chat.engine: 'vlm' is not one of vllm, ollama, llamacpp, tgi; did you mean 'vllm'?",
                "  line 3: models.chat.model: is required, and there is no default for it.",
            ],
        ),
        (
            "config:\n  llm-serving:nodes: {a: {gpus: {model: l4}}}\n"
            "  llm-serving:models: {chat: {engine: vllm, model: a/b, gpus: 2}}\n",
            [
                "The stack cannot be planned, 1 problem:",
                "  line 3: models.chat.gpus: 2 GPUs for one pod, but the largest node that is not time-sliced has "
                "1: the pod would stay Pending for ever. Lower gpus, or add such a node.",
            ],
        ),
    ],
    ids=["settings", "plan"],
)
def test_a_bad_stack_file_is_told_without_a_traceback(tmp_path: Path, written: str, expected: list[str]) -> None:
    (tmp_path / "Pulumi.bad.yaml").write_text(written)
    done = llmctl(str(tmp_path), "up", "--stack", "bad", "--yes", program=("-c", IN_FOLDER))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-len(expected) :] == expected
    assert "Traceback" not in done.stderr
