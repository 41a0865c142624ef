"""llmctl chat: whom it asks, what of the conversation it sends, and how it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from on_mocks import raw_of, settings_of
from small_stacks import node, planned, vllm

from cli import chat as talking
from cli import edge as asking
from cli.chat import Message, converse, find_model
from cli.deployment import Deployment
from cli.edge import Access, Endpoint, Prompt
from planning.plan import Plan, plan
from toolchain.paths import REPOSITORY
from toolchain.steps import StepFailed

PLAN = plan(settings_of(raw_of(REPOSITORY / "Pulumi.dev.yaml")))


@pytest.mark.parametrize(
    ("wanted", "url", "model"),
    [
        ("chat", "http://localhost/v1", "chat"),
        ("jini", "http://localhost/ollama/v1", "jini"),
        ("qwen3:4b", "http://localhost/ollama/v1", "qwen3:4b"),
        ("assistant", "http://localhost/ollama/v1", "qwen3:4b"),
    ],
)
def test_a_model_is_asked_where_it_is_served(wanted: str, url: str, model: str) -> None:
    endpoint, found = find_model(PLAN, wanted)
    assert (endpoint.url, found) == (url, model)


def test_a_model_that_is_none_is_told_with_those_that_are() -> None:
    with pytest.raises(StepFailed) as refused:
        find_model(PLAN, "chta")
    assert str(refused.value) == (
        "there are the models qwen3:4b, jini, assistant, chat; no route leads to 'chta'; did you mean 'chat'?"
    )


def test_a_stack_without_a_way_in_is_told_so() -> None:
    with pytest.raises(StepFailed, match=r"ingress\.routes"):
        find_model(planned({"a": node()}, {"chat": vllm()}), "chat")


# --- a conversation ---


@dataclass
class Model:
    """Answers with what is given, and notes what it was asked."""

    answers: list[str | BaseException]
    asked: list[list[Message]] = field(default_factory=list)

    def __call__(self, conversation: Sequence[Message]) -> Iterator[str]:
        self.asked.append(list(conversation))
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            yield "begun "
            raise answer
        yield from answer.split(" ")


def person(*lines: str | BaseException) -> Callable[[str], str]:
    """Writes the lines one after another, and then Ctrl-D."""
    left = iter((*lines, EOFError()))

    def read(_: str) -> str:
        line = next(left)
        if isinstance(line, BaseException):
            raise line
        return line

    return read


def test_each_question_comes_with_all_that_was_said_before(capsys: pytest.CaptureFixture[str]) -> None:
    model = Model(["one", "two"])
    converse(model, [{"role": "system", "content": "S"}], read=person("a", "b"))
    assert [[m["content"] for m in asked] for asked in model.asked] == [["S", "a"], ["S", "a", "one", "b"]]
    assert [m["role"] for m in model.asked[1]] == ["system", "user", "assistant", "user"]
    assert capsys.readouterr().out == "one\ntwo\n\n"


def test_ctrl_c_stops_an_answer_and_keeps_what_there_is() -> None:
    model = Model([KeyboardInterrupt(), "two"])
    converse(model, read=person("a", "b"))
    assert [m["content"] for m in model.asked[1]] == ["a", "begun ", "b"]


def test_ctrl_c_at_the_prompt_and_empty_lines_ask_nothing() -> None:
    model = Model(["one"])
    converse(model, read=person(KeyboardInterrupt(), "", "  ", "a"))
    assert [m["content"] for m in model.asked[0]] == ["a"]


def test_a_question_that_fails_does_not_end_the_conversation(capsys: pytest.CaptureFixture[str]) -> None:
    model = Model(["one", StepFailed("503"), "three"])
    converse(model, read=person("a", "b", "c"))
    assert [m["content"] for m in model.asked[2]] == ["a", "one", "c"]
    assert "503" in capsys.readouterr().err


# --- one question ---


class Deployed(Deployment):
    """The dev stack as it would be, without a cluster."""

    def plan(self) -> Plan:
        return PLAN

    def access(self) -> Access:
        return Access(address="198.18.0.2")


@dataclass
class Edge:
    """Stands in for the edge, and notes what is asked of it."""

    answer: str
    asked: list[tuple[str, Prompt, str | None, Access | None, int | None]] = field(default_factory=list)

    def __call__(
        self,
        endpoint: Endpoint,
        prompt: Prompt,
        *,
        model: str | None = None,
        access: Access | None = None,
        max_tokens: int | None = 32,
    ) -> Iterator[str]:
        self.asked.append((endpoint.server, prompt, model, access, max_tokens))
        if endpoint.server == self.answer:
            raise StepFailed(f"{endpoint.server} did not answer")
        yield self.answer


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Edge:
    made = Edge("hello")
    for module in (talking, asking):
        monkeypatch.setattr(module, "stream_chat", made)
    return made


DEV = Deployed(stack="dev", lab=None)


def test_one_question_is_asked_with_what_the_model_is_told(edge: Edge, capsys: pytest.CaptureFixture[str]) -> None:
    talking.chat(DEV, "jini", prompt="Q", system="S")
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "Q"}]
    # No limit: the answer may be as long as the model likes.
    assert edge.asked == [("assistant", messages, "jini", Access(address="198.18.0.2"), None)]
    assert capsys.readouterr().out == "hello\n"


def test_the_edge_is_asked_where_it_is_said_to_be(edge: Edge) -> None:
    talking.chat(DEV, "chat", prompt="Q", address="192.0.2.1")
    assert edge.asked[0][3] == Access(address="192.0.2.1")


def test_an_answer_without_a_word_is_a_failure(edge: Edge) -> None:
    edge.answer = " "
    with pytest.raises(StepFailed, match="chat answered without a word"):
        talking.chat(DEV, "chat", prompt="Q")


def test_an_empty_question_is_not_asked(edge: Edge) -> None:
    with pytest.raises(StepFailed, match="the prompt is empty"):
        talking.chat(DEV, "chat", prompt=" \n")
    assert edge.asked == []


def test_every_server_is_asked_also_when_one_fails(edge: Edge) -> None:
    edge.answer = "assistant"
    with pytest.raises(StepFailed, match=r"^assistant did not answer$"):
        talking.smoke(DEV)
    assert {server for server, *_ in edge.asked} == {"assistant", "chat"}
