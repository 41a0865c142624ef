"""A custom model of Ollama: a Modelfile, as settings or as the text itself. Both become the same value."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator
from pydantic.config import JsonDict

from settings.base import StrictModel
from settings.modelfile_grammar import QUOTES, Command, dropped_character, read_commands, write_commands
from settings.ollama_facts import DROPPED_PARAMETERS, PARAMETERS, REFUSED_PARAMETERS, ParameterKind
from settings.problems import SeveralErrors, did_you_mean

# [[registry/]namespace/]model[:tag], as types/model/name.go of Ollama has it.
_MODEL_NAME = re.compile(
    r"((?:\w[\w.:-]{0,349}/)?\w[\w-]{0,79}/)?\w[\w.-]{0,79}(:\w[\w.-]{0,79})?",
    re.ASCII,
)
_FILE = re.compile(r"\./(?:[\w][\w .+-]*/)*[\w][\w .+-]*\.gguf", re.ASCII)
# As golang.org/x/mod/semver reads it, with or without its 'v'.
_VERSION = re.compile(r"v?\d+(\.\d+){0,2}([-+][0-9A-Za-z.+-]+)?", re.ASCII)
_INTEGER = re.compile(r"[-+]?[0-9]+")
_DECIMAL = re.compile(r"[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
# Go's strconv.ParseBool.
_BOOLEANS = dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "FALSE", "false", "False"), False
)
_INT64 = 2**63
_FLOAT32 = 3.4e38

_SCHEMAS: dict[ParameterKind, JsonDict] = {
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "texts": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]},
}
_PROPERTIES: JsonDict = {name: _SCHEMAS[kind] for name, kind in PARAMETERS.items()}
_DROPPED_PROPERTIES: JsonDict = {name: {"deprecated": True} for name in sorted(DROPPED_PARAMETERS)}

Parameter = int | float | bool | str | tuple[str, ...]
"""The value of a parameter; a tuple for those that may come several times (stop)."""


def model_name(name: str) -> str:
    """`name`, where Ollama takes it for a model's.

    Raises:
        ValueError: it does not.
    """
    if "://" in name:
        raise ValueError(f"{name!r} is an address; write what is after '//', e.g. 'hf.co/owner/repository:Q4_K_M'.")
    if not _MODEL_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not an Ollama model name; write e.g. 'qwen3:4b'.")
    return name


def _file(path: str) -> str:
    if not _FILE.fullmatch(path) or ".." in path:
        raise ValueError(
            f"{path!r} is no path of a GGUF file below the server's `files`; write e.g. './model-Q4_K_M.gguf'."
        )
    return path


def _origin(source: str) -> str:
    looks_like_a_path = source.startswith((".", "/", "~")) or source.endswith((".gguf", ".safetensors"))
    return _file(source) if looks_like_a_path else model_name(source)


def _text(text: str) -> str:
    if QUOTES in text:
        raise ValueError(f"contains {QUOTES}, which ends the text in a Modelfile; leave the quotes out.")
    if told := dropped_character(text):
        raise ValueError(told)
    return text


def _word(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+", text, re.ASCII):
        raise ValueError(f"{text!r} is not one name; write e.g. 'qwen3'.")
    return text


def _version(text: str) -> str:
    if not _VERSION.fullmatch(text):
        raise ValueError(f"{text!r} is no version of Ollama; write e.g. '0.14.0'.")
    return text


def parameter(name: str, value: object) -> Parameter:
    """The value of PARAMETER `name`, as Ollama would take it.

    Raises:
        ValueError: there is no such parameter, or the value is of another type. `ollama create` refuses it then, after
            everything is downloaded.
    """
    if name in DROPPED_PARAMETERS:
        return _scalar(value)
    if name not in PARAMETERS:
        why = REFUSED_PARAMETERS.get(name)
        told = f": {why}." if why else did_you_mean(name, PARAMETERS) or f". There are {', '.join(PARAMETERS)}."
        raise ValueError(f"unknown parameter {name!r}, which Ollama refuses{told}")
    kind = PARAMETERS[name]
    if kind == "texts":
        texts = tuple(value) if isinstance(value, list | tuple) else (value,)
        if not texts:
            raise ValueError("an empty list says nothing; leave it out.")
        return tuple(_parameter_text(text) for text in texts)
    if kind == "bool":
        if isinstance(value, bool):
            return value
        raise ValueError(f"{value!r} is neither true nor false, so Ollama would refuse the model.")
    if isinstance(value, float) and kind == "int" and value.is_integer():
        raise ValueError(f"{value!r} is not a whole number; write {int(value)}.")
    if not isinstance(value, int if kind == "int" else int | float) or isinstance(value, bool):
        what = "a whole number" if kind == "int" else "a number"
        raise ValueError(f"{value!r} is not {what}, so Ollama would refuse the model{_number_in(value, kind)}")
    if not abs(value) < (_INT64 if kind == "int" else _FLOAT32):
        raise ValueError(f"{value!r} is too large for Ollama, so Ollama would refuse the model.")
    return value


def _number_in(value: object, kind: ParameterKind) -> str:
    if not isinstance(value, str):
        return "."
    if "#" in value:
        return "; a comment needs a line of its own."
    meant = _INTEGER if kind == "int" else _DECIMAL
    return f"; write {value} without quotes." if meant.fullmatch(value) else "."


def _scalar(value: object) -> Parameter:
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return _text(value)
    raise ValueError(f"{value!r} is neither a number, a truth value nor a text, as Ollama's parameters are.")


def _parameter_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not a text; write it in quotes: '{value}'.")
    if not value:
        raise ValueError("is empty, so every answer would end before it began; leave it out.")
    return _text(value)


ModelName = Annotated[str, AfterValidator(model_name)]
Origin = Annotated[str, AfterValidator(_origin)]
FilePath = Annotated[str, AfterValidator(_file)]
Text = Annotated[str, Field(min_length=1), AfterValidator(_text)]


class Message(StrictModel):
    """One message of a conversation that the model has had already."""

    role: Literal["system", "user", "assistant"] = Field(description="Who says it.")
    content: Text = Field(description="What is said.")


class ModelfileSettings(StrictModel):
    """A custom model, made from another one or from a file; a Modelfile's text says the same."""

    from_: Origin = Field(
        alias="from", description="What it is made from (FROM): a model of pull, or a GGUF file, './x.gguf' of files."
    )
    system: Text | None = Field(default=None, description="System prompt (SYSTEM).")
    template: Text | None = Field(default=None, description="Prompt template in Go's template language (TEMPLATE).")
    parameters: dict[str, Any] = Field(
        default_factory=dict,
        description="Run-time parameters by name (PARAMETER), e.g. temperature: 0.7; stop may be a list.",
        json_schema_extra={
            "properties": {**_PROPERTIES, **_DROPPED_PROPERTIES},
            "additionalProperties": False,
        },
    )
    adapter: FilePath | None = Field(default=None, description="LoRA adapter (ADAPTER), './x.gguf' of files.")
    draft: FilePath | None = Field(
        default=None, description="Model that guesses tokens (DRAFT), './x.gguf' of files; since Ollama 0.30."
    )
    messages: list[Message] = Field(
        default_factory=list, description="Conversation that every chat begins with (MESSAGE)."
    )
    license: list[Text] = Field(default_factory=list, description="Texts of its licences (LICENSE).")
    renderer: Annotated[str, AfterValidator(_word)] | None = Field(
        default=None, description="Built-in renderer of prompts (RENDERER), by Ollama's name."
    )
    parser: Annotated[str, AfterValidator(_word)] | None = Field(
        default=None, description="Built-in parser of answers (PARSER), by Ollama's name."
    )
    requires: Annotated[str, AfterValidator(_version)] | None = Field(
        default=None, description="Oldest version of Ollama that it runs on (REQUIRES), e.g. '0.14.0'."
    )

    @field_validator("parameters")
    @classmethod
    def _parameters_are_ollamas(cls, written: dict[str, Any]) -> dict[str, Parameter]:
        taken: dict[str, Parameter] = {}
        problems: list[tuple[str, str]] = []
        for name, value in written.items():
            try:
                taken[name] = parameter(name, value)
            except ValueError as problem:
                problems.append((name, str(problem)))
        if problems:
            raise SeveralErrors(problems)
        return taken

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Settings that name a file, with its path."""
        named = {"from": self.from_, "adapter": self.adapter, "draft": self.draft}
        return tuple((setting, path) for setting, path in named.items() if path and path.startswith("./"))


def commands_of(modelfile: ModelfileSettings) -> Iterator[Command]:
    """What `modelfile` says, command by command (without lines)."""

    def command(instruction: str, value: str, key: str = "") -> Command:
        return Command(line=0, instruction=instruction, key=key, value=value)

    yield command("from", modelfile.from_)
    for name, value in modelfile.parameters.items():
        for one in value if isinstance(value, tuple) else (value,):
            yield command("parameter", str(one).lower() if isinstance(one, bool) else str(one), name)
    for instruction in ("template", "system", "adapter", "draft", "renderer", "parser", "requires"):
        if (said := getattr(modelfile, instruction)) is not None:
            yield command(instruction, said)
    for text in modelfile.license:
        yield command("license", text)
    for message in modelfile.messages:
        yield command("message", message.content, message.role)


def modelfile_text(modelfile: ModelfileSettings) -> str:
    """The Modelfile that says what `modelfile` says."""
    return write_commands(commands_of(modelfile))


_CHECKS: dict[str, Callable[[str], str]] = {
    "from": _origin,
    "adapter": _file,
    "draft": _file,
    "renderer": _word,
    "parser": _word,
    "requires": _version,
}


def parse_modelfile(text: str) -> ModelfileSettings:
    """What the Modelfile `text` says.

    Raises:
        SeveralErrors: with every mistake, by its line in `text`.
    """
    commands, problems = read_commands(text)
    said: dict[str, Any] = {}
    parameters: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for command in commands:
        name = command.key if command.instruction == "parameter" else command.instruction
        try:
            value = _value(command)
            if command.instruction == "parameter" and isinstance(value, tuple):
                parameters[name] = (*parameters.get(name, ()), *value)
            elif command.instruction in ("license", "message"):
                kept = "messages" if command.instruction == "message" else "license"
                said[kept] = [*said.get(kept, []), value]
            elif name in lines:
                raise ValueError(f"{name} comes again, after line {lines[name]}; Ollama would take the last alone.")
            else:
                (parameters if command.instruction == "parameter" else said)[name] = value
        except ValueError as problem:
            problems.append((command.line, str(problem)))
        lines.setdefault(name, command.line)
    told = [f"modelfile line {line}: {problem}" for line, problem in sorted(problems)]
    if "from" not in lines and not any("FROM" in problem for _, problem in problems):
        told.append("modelfile: no FROM line, so it says of no model what to change. Begin with e.g. 'FROM qwen3:4b'.")
    if told:
        raise SeveralErrors(("", problem) for problem in told)
    return ModelfileSettings.model_validate({**said, "parameters": parameters}, by_alias=True)


def _value(command: Command) -> Any:
    if command.instruction == "parameter":
        return parameter(command.key, _typed(command.key, command.value))
    value = _CHECKS.get(command.instruction, _text)(command.value)
    return Message(role=command.key, content=value) if command.instruction == "message" else value  # type: ignore[arg-type]  # the grammar knows the roles


def _typed(name: str, text: str) -> int | float | bool | str:
    """What Ollama makes of the text of a parameter; the text itself where it makes nothing of it."""
    match PARAMETERS.get(name):
        case "int" if _INTEGER.fullmatch(text):
            return int(text)
        case "float" if _DECIMAL.fullmatch(text):
            return float(text)
        case "bool" if text in _BOOLEANS:
            return _BOOLEANS[text]
        case _:
            return text


def _from_text(value: Any) -> Any:
    return parse_modelfile(value) if isinstance(value, str) else value


Modelfile = Annotated[ModelfileSettings, BeforeValidator(_from_text, json_schema_input_type=str | ModelfileSettings)]
"""Settings, or the text of a Modelfile that says the same."""
