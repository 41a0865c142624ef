"""Every example is previewed, checked by the policies as production is, brought up and asked."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from http import HTTPStatus
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
    look = LOOKS.get(example.name)
    assert look, f"nothing is said here of what {example.file.name} comes to"
    look(example)


def _one_card_vllm(example: Stack) -> None:
    chat = example.get("deployment", "chat")["spec"]
    [container] = chat["template"]["spec"]["containers"]
    assert chat["strategy"] == {"type": "Recreate"}
    assert {"--max-model-len=8192", "--enforce-eager", "--gpu-memory-utilization=0.9"} <= set(container["args"])
    shm = next(v["emptyDir"] for v in chat["template"]["spec"]["volumes"] if v["name"] == "shm")
    assert shm == {"medium": "Memory", "sizeLimit": "4Gi"}


def _one_card_ollama(example: Stack) -> None:
    shown = example.lab.kubectl(
        "exec", "-n", "llm", "deploy/assistant", "--", "ollama", "show", "reviewer", "--modelfile"
    )
    assert "You review changes of Kubernetes manifests." in shown
    assert "PARAMETER num_ctx 16384" in shown
    translator = example.post("/api/show", {"model": "translator"}).json()
    assert translator["system"].splitlines()[1] == "Say the translation and nothing else."
    assert translator["messages"] == [
        {"role": "user", "content": "안녕하세요."},
        {"role": "assistant", "content": "Hello."},
    ]


def _two_cards_ollama(example: Stack) -> None:
    """Each server has its card and its models, and only those."""
    for path, model in (("/v1", "qwen3:4b"), ("/expert/v1", "qwen3:30b")):
        answer = example.post(f"{path}/chat/completions", _asking(model))
        assert answer.status_code == HTTPStatus.OK, answer.text
    assert example.post("/v1/chat/completions", _asking("qwen3:30b")).status_code == HTTPStatus.NOT_FOUND


def _llamacpp_and_tgi(example: Stack) -> None:
    """Both answer under the path of their own, and give their metrics; nothing else of them is open."""
    small, chat = "/v1/small", "/v1"
    for path, model in ((small, "small"), (chat, "chat")):
        answer = example.post(f"{path}/chat/completions", _asking(model))
        assert answer.status_code == HTTPStatus.OK, answer.text
        assert answer.json()["choices"][0]["message"]["content"], path
        assert answer.headers["X-Request-ID"]
    for path in (f"{small}/slots", f"{small}/props", f"{small}/metrics", f"{chat}/embeddings"):
        assert example.post(path, {}).status_code == HTTPStatus.NOT_FOUND, path
    for server, metric in (("small", "llamacpp:requests_processing"), ("chat", "tgi_queue_size")):
        proxy = f"/api/v1/namespaces/llm/services/{server}:http/proxy/metrics"
        assert metric in example.lab.kubectl("get", "--raw", proxy), server


def _chat_with_embeddings(example: Stack) -> None:
    answer = example.post("/v1/documents/embeddings", {"model": "embeddings", "input": ["a document", "a question"]})
    assert answer.status_code == HTTPStatus.OK, answer.text
    first, second = (item["embedding"] for item in answer.json()["data"])
    assert len(first) == len(second) > 0
    assert first != second


def _asking(model: str) -> dict[str, object]:
    return {"model": model, "max_tokens": 16, "messages": [{"role": "user", "content": "Say hello."}]}


LOOKS: dict[str, Callable[[Stack], None]] = {
    "one-card-vllm": _one_card_vllm,
    "one-card-ollama": _one_card_ollama,
    "two-cards-ollama": _two_cards_ollama,
    "llamacpp-and-tgi": _llamacpp_and_tgi,
    "chat-with-embeddings": _chat_with_embeddings,
}
"""By the example's name."""
