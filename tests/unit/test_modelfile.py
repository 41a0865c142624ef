"""A Modelfile's text and its settings are one value, and everything that is wrong with either is told at once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from settings.modelfile import Message, ModelfileSettings, modelfile_text, parse_modelfile
from settings.modelfile_grammar import read_commands
from settings.ollama_facts import DROPPED_PARAMETERS, PARAMETERS, REFUSED_PARAMETERS
from settings.problems import SeveralErrors
from tests.modelfile_texts import ONE_MISTAKE, modelfiles, texts


def told(text: str) -> list[str]:
    """Everything that is wrong with `text`."""
    with pytest.raises(SeveralErrors) as caught:
        parse_modelfile(text)
    assert all(below == "" for below, _ in caught.value.problems)
    return [problem for _, problem in caught.value.problems]


def test_a_modelfile_says_what_the_settings_say() -> None:
    parameters = {"temperature": 0.7, "num_ctx": 8192, "use_mmap": True, "stop": '끝 "\n\\n'}
    written = ModelfileSettings(
        from_="qwen3:4b",
        system='You are "Jini".\nBe kind.',
        parameters=parameters,
        template="{{ .Prompt }}",
        adapter="./lora.gguf",
        messages=[Message(role="user", content="Hi"), Message(role="assistant", content='"Ho"')],
        license=["MIT", "Apache-2.0"],
        renderer="qwen3-coder",
        parser="qwen3-coder",
        requires="0.14.0",
    )
    assert modelfile_text(written) == (
        "FROM qwen3:4b\n"
        "PARAMETER temperature 0.7\n"
        "PARAMETER num_ctx 8192\n"
        "PARAMETER use_mmap true\n"
        'PARAMETER stop """끝 "\n\\n"""\n'
        'TEMPLATE """{{ .Prompt }}"""\n'
        'SYSTEM """You are "Jini".\nBe kind."""\n'
        "ADAPTER ./lora.gguf\n"
        "RENDERER qwen3-coder\n"
        "PARSER qwen3-coder\n"
        "REQUIRES 0.14.0\n"
        'LICENSE """MIT"""\n'
        'LICENSE """Apache-2.0"""\n'
        'MESSAGE user """Hi"""\n'
        'MESSAGE assistant """"Ho""""\n'
    )
    assert parse_modelfile(modelfile_text(written)) == written


@given(modelfiles)
def test_what_is_written_says_the_same_when_it_is_read(modelfile: ModelfileSettings) -> None:
    text = modelfile_text(modelfile)
    read = parse_modelfile(text)
    assert read == modelfile
    assert modelfile_text(parse_modelfile(modelfile_text(read))) == modelfile_text(read)


@given(st.text(max_size=200) | texts)
def test_any_text_is_read_or_told_what_is_wrong_with_it(text: str) -> None:
    problems: tuple[tuple[str, str], ...] = ()
    try:
        read = parse_modelfile(text)
    except SeveralErrors as error:
        problems = error.problems
    if problems:
        assert all(problem.startswith("modelfile") for _, problem in problems)
    else:
        assert parse_modelfile(modelfile_text(read)) == read


def test_every_form_of_a_line_is_read() -> None:
    text = (
        "\ufeff# A comment, and an empty line\r\n"
        "\r\n"
        "from   qwen3:4b  \r\n"
        'System "on two\nlines"\n'
        "  # A comment further in\n"
        "\tTEMPLATE {{ .Prompt }} # no comment\n"
        "PARAMETER stop <|a|>\n"
        'parameter stop "b "\n'
        "PARAMETER use_mmap F\n"
        "PARAMETER seed -1\n"
        'MESSAGE user say "hi"'
    )
    assert parse_modelfile(text) == ModelfileSettings(
        from_="qwen3:4b",
        system="on two\nlines",
        template="{{ .Prompt }} # no comment",
        parameters={"stop": ["<|a|>", "b "], "use_mmap": False, "seed": -1},
        messages=[Message(role="user", content='say "hi"')],
    )


@pytest.mark.parametrize("text", ONE_MISTAKE)
def test_a_mistake_is_told_with_its_line_and_what_to_write(text: str) -> None:
    assert told(text) == [ONE_MISTAKE[text]]


def test_all_mistakes_are_told_at_once_in_the_order_of_their_lines() -> None:
    found = told('SYTEM x\nPARAMETER num_ctx 8k\nMESSAGE bot hi\nPARAMETER top_k 1\u200b\nTEMPLATE """{{')
    assert [problem.partition(":")[0] for problem in found] == [
        "modelfile line 1",
        "modelfile line 2",
        "modelfile line 3",
        "modelfile line 4",
        "modelfile line 5",
        "modelfile",
    ]


def structured(**settings: Any) -> list[tuple[str, str]]:
    """What is wrong with settings, by path below them."""
    with pytest.raises(ValidationError) as caught:
        ModelfileSettings.model_validate({"from": "qwen3:4b", **settings}, by_alias=True)
    found = []
    for details in caught.value.errors():
        path = ".".join(map(str, details["loc"]))
        error = details["ctx"]["error"]
        several = error.problems if isinstance(error, SeveralErrors) else (("", str(error)),)
        found += [(f"{path}.{below}".strip("."), problem) for below, problem in several]
    return found


def test_settings_are_checked_as_the_text_is() -> None:
    assert structured(parameters={"temprature": 1, "num_ctx": 8192.0, "top_p": "0.9", "stop": [1], "seed": True}) == [
        ("parameters.temprature", "unknown parameter 'temprature', which Ollama refuses; did you mean 'temperature'?"),
        ("parameters.num_ctx", "8192.0 is not a whole number; write 8192."),
        ("parameters.top_p", "'0.9' is not a number, so Ollama would refuse the model; write 0.9 without quotes."),
        ("parameters.stop", "1 is not a text; write it in quotes: '1'."),
        ("parameters.seed", "True is not a whole number, so Ollama would refuse the model."),
    ]
    assert structured(template="a\u200bb") == [
        (
            "template",
            "has U+200B (zero width space), which Ollama leaves out of a Modelfile without a word. Write a plain space "
            "in its place, or take it out.",
        )
    ]


@pytest.mark.parametrize("name", sorted(REFUSED_PARAMETERS))
def test_what_is_no_parameter_is_refused_with_what_to_do(name: str) -> None:
    [problem] = told(f"FROM x\nPARAMETER {name} 1")
    assert REFUSED_PARAMETERS[name] in problem
    assert name not in PARAMETERS


@pytest.mark.parametrize("name", sorted(DROPPED_PARAMETERS))
def test_what_older_releases_took_is_taken(name: str) -> None:
    assert parse_modelfile(f"FROM x\nPARAMETER {name} 1").parameters == {name: "1"}


def test_a_long_text_is_read_in_a_moment() -> None:
    lines = '"quoted" line\n' * 20_000
    commands, problems = read_commands(f'FROM x\nSYSTEM """{lines}"""\n')
    assert (len(commands), problems) == (2, [])
