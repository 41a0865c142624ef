"""Our grammar of Modelfiles against Ollama's own parser (0.11.4, the newest that is to be had as a module)."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from settings.modelfile import ModelfileSettings, modelfile_text, parse_modelfile
from settings.modelfile_grammar import Command, read_commands
from settings.ollama_facts import DROPPED_PARAMETERS, PARAMETERS
from settings.problems import SeveralErrors
from tests.modelfile_texts import ONE_MISTAKE, modelfiles, texts
from toolchain import gobuild

NEWER = {"draft", "renderer", "parser", "requires"}
"""Instructions that 0.11.4 does not know; they are read as SYSTEM is (ollama/ollama, parser/parser.go of 0.33)."""

NEWER_PARAMETERS = {"draft_num_predict"}

STRICTER = {
    "says nothing more": "an empty value has no effect, or fails when the model is made",
    "comes again": "all but the last would be lost without a word",
    'contains """': "where such a text ends is hard to see",
    "leaves out of a Modelfile": "characters would be lost without a word",
    "is not an Ollama model name": "its server looks at names, not the parser",
    "is no path of a GGUF file": "its files are looked for when the model is made",
}
"""What we refuse and Ollama's parser does not, and why."""


class OllamaParser:
    """Asks Ollama's own parser, which runs as a program of its own."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program

    def ask(self, text: str) -> dict[str, Any]:
        """Commands and parameters of `text`, and what is wrong with it ('' for nothing)."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(text) + "\n")
        self._program.stdin.flush()
        answer: dict[str, Any] = json.loads(self._program.stdout.readline())
        return answer


@pytest.fixture(scope="session")
def ollama() -> Iterator[OllamaParser]:
    """The parser, ready to be asked."""
    program = str(gobuild.build(["ollama-parser"])["ollama-parser"])
    with subprocess.Popen(
        [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as running:
        yield OllamaParser(running)
        assert running.stdin is not None
        running.stdin.close()


def as_ollama_has_it(command: Command) -> list[str]:
    """Name and arguments of `command` as the parser's commands have them."""
    match command.instruction:
        case "from":
            return ["model", command.value]
        case "parameter":
            return [command.key, command.value]
        case "message":
            return ["message", f"{command.key}: {command.value}"]
        case other:
            return [other, command.value]


def float32(value: float) -> float:
    """`value` as Go's float32 keeps it."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def parameters_of(modelfile: ModelfileSettings) -> dict[str, Any]:
    """Parameters of the request that `ollama create` sends."""
    return {
        name: float32(value) if PARAMETERS[name] == "float" else list(value) if isinstance(value, tuple) else value
        for name, value in modelfile.parameters.items()
        if name not in DROPPED_PARAMETERS
    }


def agree(ollama: OllamaParser, text: str) -> None:
    """Fail where the two do not read `text` alike."""
    commands, problems = read_commands(text)
    if any(command.instruction in NEWER or command.key in NEWER_PARAMETERS for command in commands):
        return
    real = ollama.ask(text)
    if not problems and real["commands"] is not None:
        assert [as_ollama_has_it(command) for command in commands] == real["commands"]
    try:
        read = parse_modelfile(text)
    except SeveralErrors as error:
        told = [problem for _, problem in error.problems]
        ours_alone = all(any(reason in problem for reason in STRICTER) for problem in told)
        assert real["error"] or ours_alone, told
        return
    assert real["error"] == ""
    found: dict[str, Any] = real["parameters"] or {}
    expected = parameters_of(read)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert (float32(found[name]) if PARAMETERS[name] == "float" else found[name]) == value, name


@pytest.mark.parametrize("text", ONE_MISTAKE)
def test_what_is_a_mistake_to_us_is_one_to_ollama(ollama: OllamaParser, text: str) -> None:
    agree(ollama, text)


@pytest.mark.parametrize(
    "text",
    [
        "FROM x",
        "from x\r\nSYSTEM a\r\n",
        '\ufeffFROM x\nSYSTEM "a\nb"',
        'FROM x\nSYSTEM "a" b "c"\n',
        'FROM x\nSYSTEM "a" b\nSYSTEM c',
        'FROM x\nSYSTEM """a"""   \nLICENSE b',
        'FROM x\nSYSTEM """a"""" """\n',
        'FROM x\nMESSAGE user """a: b"""\nMESSAGE system : c',
        "FROM x\n  # comment\nSYSTEM a # none",
        "FROM x\nPARAMETER stop a\nPARAMETER stop b\nPARAMETER temperature 1e-3\nPARAMETER seed +7",
        "FROM x\nPARAMETER use_mmap T\nPARAMETER mirostat 2\nPARAMETER penalize_newline maybe",
        "FROM x\nPARAMETER top_p .5\nPARAMETER min_p 5.\nPARAMETER num_ctx 0x10",
        "FROM a\nFROM b",
        "# nothing",
        "FROM x\nSYSTEM\ta\tb",
    ],
)
def test_a_line_is_read_as_ollama_reads_it(ollama: OllamaParser, text: str) -> None:
    agree(ollama, text)


@given(text=texts)
@settings(max_examples=1500)
@example(text='FROM x\nSYSTEM """a\n"""b\n"""')
def test_any_text_is_read_as_ollama_reads_it(ollama: OllamaParser, text: str) -> None:
    agree(ollama, text)


@given(text=st.text(st.characters(max_codepoint=0x2FF, exclude_categories=["Cs"]), max_size=80))
def test_any_characters_are_read_as_ollama_reads_them(ollama: OllamaParser, text: str) -> None:
    agree(ollama, f"FROM x\nSYSTEM {text}")


@given(modelfile=modelfiles)
@settings(max_examples=300)
def test_what_we_write_ollama_reads_as_it_is_meant(ollama: OllamaParser, modelfile: ModelfileSettings) -> None:
    known = {name: value for name, value in modelfile.parameters.items() if name not in NEWER_PARAMETERS}
    older = modelfile.model_copy(update=dict.fromkeys(NEWER) | {"parameters": known})
    agree(ollama, modelfile_text(older))
    commands = dict(ollama.ask(modelfile_text(older))["commands"])
    assert commands["model"] == older.from_
    assert commands.get("system") == older.system
    assert commands.get("template") == older.template
