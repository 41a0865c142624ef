"""Models served by Ollama."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from settings.base import Name, Size, StrictModel
from settings.server import GpuServerSettings

# [registry/][namespace/]model[:tag], as types/model/name.go of Ollama has it.
_MODEL_NAME = re.compile(r"([\w][\w.:-]{0,349}/)?([\w][\w-]{0,79}/)?[\w][\w.-]{0,79}(:[\w][\w.-]{0,79})?", re.ASCII)


def _model_name(name: str) -> str:
    if not _MODEL_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not an Ollama model name; write e.g. 'qwen3:4b'.")
    return name


def _scalar(value: object) -> object:
    # Before the union: it would tell the same mistake once for each of its members.
    if not isinstance(value, int | float | str):
        raise ValueError(f"{value!r} is neither a number, a truth value nor a text, as Ollama's parameters are.")
    return _quotable(value) if isinstance(value, str) else value


def _quotable(text: str) -> str:
    if '"""' in text:
        raise ValueError('contains """, which ends the text in a Modelfile; leave the quotes out.')
    return text


ModelName = Annotated[str, AfterValidator(_model_name)]
ParameterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Scalar = Annotated[int | float | bool | str, BeforeValidator(_scalar)]
SystemPrompt = Annotated[str, Field(min_length=1), AfterValidator(_quotable)]


class ModelfileSettings(StrictModel):
    """A custom model, made from another one as a Modelfile would make it."""

    from_: ModelName = Field(alias="from", description="Model that this one is made from (FROM).")
    system: SystemPrompt | None = Field(default=None, description="System prompt (SYSTEM).")
    parameters: dict[ParameterName, Scalar] = Field(
        default_factory=dict, description="Run-time parameters by name (PARAMETER), e.g. temperature: 0.7."
    )


class OllamaSettings(GpuServerSettings):
    """One Ollama server with its models, on one GPU or on a slice of it."""

    engine: Literal["ollama"] = Field(description="The engine that serves the models.")
    image: str = Field(
        default="docker.io/ollama/ollama:0.32.15",
        min_length=1,
        description="Container image of Ollama, with a release tag or a digest.",
    )
    pull: Annotated[list[ModelName], Field(min_length=1)] = Field(
        description="Models that are on disk before the server is called ready, e.g. 'qwen3:4b'."
    )
    modelfiles: dict[Name, ModelfileSettings] = Field(
        default_factory=dict, description="Custom models, keyed by the name they are served under."
    )
    context_length: Annotated[int, Field(ge=128)] = Field(
        default=8192, description="Context in tokens where a request sets none (OLLAMA_CONTEXT_LENGTH)."
    )
    keep_alive_seconds: Annotated[int, Field(ge=-1)] = Field(
        default=300, description="Seconds that an idle model stays loaded; -1 keeps it for ever."
    )
    storage: Size = Field(default="50Gi", description="Volume that keeps the models.")

    @model_validator(mode="after")
    def _custom_models_have_a_base(self) -> OllamaSettings:
        for name, modelfile in self.modelfiles.items():
            if modelfile.from_ not in self.pull:
                raise ValueError(
                    f"modelfiles.{name}.from: {modelfile.from_!r} is not pulled by this server, so the model could "
                    f"not be made. Add it to pull."
                )
        return self
