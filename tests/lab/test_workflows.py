"""The steps of GitHub's workflows, run as written against the lab. The tests build on each other."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_stack import Stack

from tests.workflow_steps import Runner
from toolchain.paths import cache_dir

_PREVIEW_STEPS = ("Way to the cluster", "Preview", "Comment")

_IDENTITY = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]


@pytest.fixture(scope="module")
def deployed(stack: Stack) -> Iterator[Stack]:
    """The dev stack, deployed, with production's levels of policies: what is an error is refused."""
    levels = stack.folder / "policies" / "levels"
    kept = (levels / "dev.yaml").read_text()
    stack.edit("chat", {"profile": "balanced"})  # as it is committed, whatever other tests made of it
    stack.make("up")
    for command in (["init", "--quiet"], ["add", "."], [*_IDENTITY, "commit", "--quiet", "--message", "reviewed"]):
        subprocess.run(["git", *command], cwd=stack.folder, check=True)
    (levels / "dev.yaml").write_text((levels / "prod.yaml").read_text())
    yield stack
    (levels / "dev.yaml").write_text(kept)
    # The workflow rolled out by a kubeconfig of its own, and the stack stays with it.
    stack.make("down", KUBECONFIG=str(_home(stack) / ".llm-serving-dev.kubeconfig"))


def runner(stack: Stack, folder: Path) -> Runner:
    """A runner in the stack's checkout, with what its environment has on GitHub."""
    values = {
        "matrix.stack": stack.name,
        "vars.PULUMI_BACKEND_URL": "",
        "vars.LLM_ADDRESS": str(stack.lab.network.node),
        "secrets.KUBECONFIG": stack.lab.kubeconfig.read_text(),
        "secrets.PULUMI_ACCESS_TOKEN": "",
        "secrets.PULUMI_CONFIG_PASSPHRASE": (_home(stack) / "pulumi" / "passphrase").read_text().strip(),
        "github.token": "t",
        "github.event.pull_request.number": "7",
    }
    # A home of its own, in which all runners keep the kubeconfig at the same place; the cache is everybody's.
    home = {"HOME": str(_home(stack)), "XDG_CACHE_HOME": str(cache_dir().parent)}
    return Runner(stack.folder, folder, values, home)


def _home(stack: Stack) -> Path:
    return stack.lab.layout.root.parent


def previewed(stack: Stack, folder: Path) -> Runner:
    """What the preview's job has done by the time that it comments."""
    made = runner(stack, folder)
    for step in _PREVIEW_STEPS:
        made.run("preview", "preview", step)
    return made


def test_a_refused_change_is_commented_on_and_has_no_plan(deployed: Stack, tmp_path: Path) -> None:
    deployed.edit("chat", {"image": "docker.io/vllm/vllm-openai:latest"})
    made = previewed(deployed, tmp_path)
    deployed.edit("chat", {"image": None})
    comment = (tmp_path / "comment.md").read_text()
    assert "**refused by 1 mandatory policy finding**" in comment
    assert "**mandatory** `image-tag-mutable`, `Deployment chat`" in comment
    assert len(made.gh_calls) == 2
    assert made.outputs["status"] != "0"
    assert not (tmp_path / "plan.json").exists()


def test_a_file_that_is_wrong_is_commented_on(deployed: Stack, tmp_path: Path) -> None:
    deployed.edit("chat", {"gpus": 3})
    made = previewed(deployed, tmp_path)
    deployed.edit("chat", {"gpus": None})
    assert made.outputs["status"] != "0"
    assert "`models.chat" in (tmp_path / "comment.md").read_text()


def test_what_was_reviewed_is_rolled_out_and_asked(deployed: Stack, tmp_path: Path) -> None:
    before = deployed.get("deployment", "chat")["metadata"]["generation"]
    deployed.edit("chat", {"profile": "latency"})
    made = previewed(deployed, tmp_path / "preview")
    assert made.outputs["status"] == "0"
    assert "`chat`: **outage**" in (tmp_path / "preview" / "comment.md").read_text()
    assert deployed.get("deployment", "chat")["metadata"]["generation"] == before, "a preview changes nothing"

    rollout = runner(deployed, tmp_path / "rollout")
    (rollout.temp / "answers" / "run").write_text("99\n")
    (rollout.temp / "answers" / "plan.json").write_text((tmp_path / "preview" / "plan.json").read_text())
    rollout.run("rollout", "plan", "Find the plan that was reviewed")
    assert rollout.outputs == {"found": "true"}
    rollout.run("rollout", "rollout", "Way to the cluster")
    rollout.run("rollout", "rollout", "Roll out what was planned")
    [container] = deployed.get("deployment", "chat")["spec"]["template"]["spec"]["containers"]
    assert "--max-num-seqs=16" in container["args"]


def test_every_model_is_asked_and_found_ready(deployed: Stack, tmp_path: Path) -> None:
    asked = runner(deployed, tmp_path)
    asked.run("rollout", "rollout", "Way to the cluster")
    said = asked.run("rollout", "rollout", "Ask every model").stdout
    assert "chat" in said
    assert "assistant" in said


def test_a_plan_that_the_program_has_left_is_refused(deployed: Stack, tmp_path: Path) -> None:
    deployed.edit("chat", {"profile": "throughput"})
    made = previewed(deployed, tmp_path / "preview")
    assert made.outputs["status"] == "0"
    deployed.edit("chat", {"profile": "longContext"})
    rollout = runner(deployed, tmp_path / "rollout")
    (rollout.temp / "plan").mkdir()
    (rollout.temp / "plan" / "plan.json").write_text((tmp_path / "preview" / "plan.json").read_text())
    before = deployed.get("deployment", "chat")["metadata"]["generation"]
    rollout.run("rollout", "rollout", "Way to the cluster")
    refused = rollout.run("rollout", "rollout", "Roll out what was planned", check=False)
    deployed.edit("chat", {"profile": "latency"})
    assert refused.returncode != 0
    assert "Deployment::chat violates plan" in refused.stdout + refused.stderr
    assert deployed.get("deployment", "chat")["metadata"]["generation"] == before


def test_without_a_plan_there_is_a_new_preview_for_the_approver(deployed: Stack, tmp_path: Path) -> None:
    deployed.edit("chat", {"profile": "balanced"})
    made = runner(deployed, tmp_path)
    for step in ("Find the plan that was reviewed", "Way to the cluster", "Preview again"):
        made.run("rollout", "plan", step)
    deployed.edit("chat", {"profile": "latency"})
    assert made.outputs == {"found": "false"}
    summary = (tmp_path / "summary").read_text()
    assert "Nobody has reviewed" in summary
    assert "## Preview of `dev`: 1 to update" in summary
    assert json.loads((tmp_path / "plan" / "plan.json").read_text())
