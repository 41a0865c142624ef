"""Every example is previewed, checked by the policies as production is, brought up and asked."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from lab_stack import Stack

from lab.lab import Lab
from toolchain.paths import REPOSITORY

EXAMPLES = sorted((REPOSITORY / "examples").glob("Pulumi.*.yaml"))


@pytest.fixture(scope="module", params=EXAMPLES, ids=lambda file: file.name)
def example(request: pytest.FixtureRequest, lab: Lab, project: Path) -> Iterator[Stack]:
    """An example, used as its readers are told to: copied to the project and brought up."""
    file: Path = request.param
    stack = Stack(lab, project, name=file.name.removeprefix("Pulumi.").removesuffix(".yaml"))
    shutil.copy(file, stack.file)
    yield stack
    stack.make("down")


def test_it_comes_up_and_answers(example: Stack) -> None:
    said = example.make("up")
    answers = [line.removeprefix("It answers: ") for line in said.splitlines() if line.startswith("It answers: ")]
    assert answers, said
    assert all(answer.strip() for answer in answers), said
    # Without a file of levels what is an error is refused: what it breaks would have stopped it.
    assert "Policies:" in said, said
    assert "[mandatory]" not in said, said


def test_a_second_preview_changes_nothing(example: Stack) -> None:
    assert example.steps() == []


def test_it_is_what_its_file_says(example: Stack) -> None:
    if example.name == "one-card-vllm":
        chat = example.get("deployment", "chat")["spec"]
        [container] = chat["template"]["spec"]["containers"]
        assert chat["strategy"] == {"type": "Recreate"}
        assert {"--max-model-len=8192", "--enforce-eager", "--gpu-memory-utilization=0.9"} <= set(container["args"])
        shm = next(v["emptyDir"] for v in chat["template"]["spec"]["volumes"] if v["name"] == "shm")
        assert shm == {"medium": "Memory", "sizeLimit": "4Gi"}
    else:
        shown = example.lab.kubectl(
            "exec", "-n", "llm", "deploy/assistant", "--", "ollama", "show", "reviewer", "--modelfile"
        )
        assert "You review changes of Kubernetes manifests." in shown
        assert "PARAMETER num_ctx 16384" in shown
