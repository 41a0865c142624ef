"""Models served by Ollama."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from settings.architecture import ModelFacts
from settings.base import Image, Name, Size, StrictModel
from settings.modelfile import Modelfile, ModelName
from settings.ollama_facts import (
    GONE_VARIABLES,
    LIBRARY_VARIABLES,
    LLAMA_SERVER_VARIABLES,
    OTHER_VARIABLES,
    PLANNED_VARIABLES,
    REFUSED_VARIABLES,
    VARIABLES,
    VARIABLES_BY_SETTING,
)
from settings.problems import SeveralErrors, did_you_mean, nearest
from settings.secret_texts import variable_problem
from settings.server import GpuServerSettings

KvCacheType = Literal["f16", "q8_0", "q4_0"]

# What gin-contrib/cors takes: everything, or an address with one '*' at most. Anything else ends the server at start.
_ORIGIN = re.compile(
    r"\*|(https?|(chrome|safari|moz|ms-browser)-extension)://(?:[\w.:-]|\*(?!.*\*))+",
    re.ASCII,
)
_KNOWN_VARIABLES = VARIABLES | LLAMA_SERVER_VARIABLES | OTHER_VARIABLES
_TAG = re.compile(r":[^/:]+$")


def _origin(origin: str) -> str:
    if not _ORIGIN.fullmatch(origin):
        raise ValueError(
            f"{origin!r} is no origin, and Ollama would end at start. Write scheme and host, e.g. "
            "'https://chat.example.com', with one '*' at most."
        )
    return origin


def _folder(path: str) -> str:
    if not re.fullmatch(r"(/[\w.+-]+)+", path, re.ASCII) or ".." in path:
        raise ValueError(f"{path!r} is no absolute path of a folder; write e.g. '/data/gguf'.")
    return path


def _variable(name: str) -> str:
    if name in VARIABLES_BY_SETTING:
        raise ValueError(f"has a setting of its own, which the plan counts with. Write {VARIABLES_BY_SETTING[name]}.")
    if name in PLANNED_VARIABLES:
        raise ValueError("follows from the plan, so it would be overwritten. Leave it out.")
    if name in REFUSED_VARIABLES:
        raise ValueError(f"{REFUSED_VARIABLES[name]}. Leave it out.")
    if name in GONE_VARIABLES:
        raise ValueError(f"Ollama reads no such variable: {GONE_VARIABLES[name]}.")
    if (told := variable_problem(name, "")) is not None:
        raise ValueError(told)
    # What begins as a library's own is not looked at further: none of them tells what it reads.
    if name in _KNOWN_VARIABLES or name.startswith(LIBRARY_VARIABLES):
        return name
    if name.startswith("LLAMA_"):
        raise ValueError(
            "changes what the plan counts with, or how Ollama speaks with its llama-server. Leave it out, or take the "
            "engine llamacpp, which has settings for it."
        )
    # Without the prefix, by which all of them are alike.
    known = {known.removeprefix("OLLAMA_"): known for known in (*_KNOWN_VARIABLES, *VARIABLES_BY_SETTING)}
    near = nearest(name.removeprefix("OLLAMA_"), known)
    meant = f"; did you mean {known[near]!r}?" if near else ". `ollama serve --help` lists those that it reads."
    raise ValueError(f"Ollama reads no such variable, and would ignore it without a word{meant}")


def _value(value: str) -> str:
    if (told := variable_problem("", value)) is not None:
        raise ValueError(told)
    return value


def full_name(name: str) -> str:
    """`name` with its tag, in small letters: by this Ollama tells models apart."""
    return (name if _TAG.search(name) else f"{name}:latest").lower()


class ModelFilesSettings(StrictModel):
    """Where the GGUF files are that custom models are made from. They are only read, and copied once."""

    node_path: Annotated[str, AfterValidator(_folder)] | None = Field(
        default=None, description="Folder of the server's node, e.g. '/data/gguf'."
    )
    claim: Name | None = Field(
        default=None, description="PersistentVolumeClaim in the models' namespace that somebody else has filled."
    )

    @model_validator(mode="after")
    def _one_place(self) -> ModelFilesSettings:
        if (self.node_path is None) == (self.claim is None):
            raise ValueError("needs one place where the files are: write either nodePath or claim.")
        return self


class OllamaSettings(GpuServerSettings):
    """One Ollama server with its models, on its GPUs or on a slice of one."""

    engine: Literal["ollama"] = Field(description="The engine that serves the models.")
    image: Image = Field(
        default="docker.io/ollama/ollama:0.32.15",
        description="Container image of Ollama, with a release tag or a digest.",
    )
    pull: Annotated[list[ModelName], Field(min_length=1)] = Field(
        default_factory=list,
        description="Models that are on disk before the server is called ready, e.g. 'qwen3:4b', or "
        "'hf.co/owner/repository:Q4_K_M' for a GGUF of Hugging Face.",
    )
    modelfiles: dict[Name, Modelfile] = Field(
        default_factory=dict,
        description="Custom models, keyed by the name they are served under: as settings, or as a Modelfile's text.",
    )
    files: ModelFilesSettings | None = Field(
        default=None, description="Where GGUF files are that modelfiles name as './x.gguf'; none by default."
    )
    architectures: dict[ModelName, ModelFacts] = Field(
        default_factory=dict,
        description="Facts of models that the catalogue does not know, keyed by their name in pull or modelfiles.",
    )
    context_length: Annotated[int, Field(ge=128)] = Field(
        default=8192, description="Context in tokens where a request sets none (OLLAMA_CONTEXT_LENGTH)."
    )
    num_parallel: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1,
        description="Requests that a model answers at once, each with a context of its own (OLLAMA_NUM_PARALLEL).",
    )
    flash_attention: bool | None = Field(
        default=None,
        description="Flash attention (OLLAMA_FLASH_ATTENTION); by default Ollama decides, and it is on where "
        "kvCacheType needs it.",
    )
    kv_cache_type: KvCacheType = Field(
        default="f16", description="Type of keys and values in the cache (OLLAMA_KV_CACHE_TYPE)."
    )
    keep_alive_seconds: Annotated[int, Field(ge=-1)] = Field(
        default=300, description="Seconds that an idle model stays loaded; -1 keeps it for ever (OLLAMA_KEEP_ALIVE)."
    )
    max_loaded_models: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Most models that are loaded at once (OLLAMA_MAX_LOADED_MODELS); by default three a GPU.",
    )
    max_queue: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Requests that wait before further ones get 503 (OLLAMA_MAX_QUEUE); by default Ollama's own 512.",
    )
    # llama-server's own is 8192 MiB, which nobody counts on beside a model on the GPU.
    prompt_cache_mib: Annotated[int, Field(ge=0)] = Field(
        default=2048,
        alias="promptCacheMiB",
        description="Host memory of each loaded model that keeps the caches of earlier prompts, and as much again for "
        "checkpoints where its layers forget, in MiB (LLAMA_ARG_CACHE_RAM); 0 keeps none.",
    )
    load_timeout_seconds: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Seconds without progress after which loading a model has failed (OLLAMA_LOAD_TIMEOUT); by default "
        "what the largest one needs from the node's disk, 300 at least.",
    )
    origins: list[Annotated[str, AfterValidator(_origin)]] = Field(
        default_factory=list,
        description="Web pages that may call it from a browser, besides localhost, e.g. 'https://chat.example.com' "
        "(OLLAMA_ORIGINS).",
    )
    debug: bool = Field(default=False, description="Log in detail (OLLAMA_DEBUG).")
    extra_environment: dict[Annotated[str, AfterValidator(_variable)], Annotated[str, AfterValidator(_value)]] = Field(
        default_factory=dict, description="Further variables of the server, e.g. OLLAMA_SCHED_SPREAD: '1'."
    )
    storage: Size = Field(default="50Gi", description="Volume that keeps the models.")

    @field_validator("kv_cache_type")
    @classmethod
    def _quantized_caches_need_flash_attention(cls, kind: KvCacheType, others: ValidationInfo) -> KvCacheType:
        if kind != "f16" and others.data.get("flash_attention") is False:
            raise ValueError(
                f"{kind} with flashAttention false: a quantized cache needs flash attention, so no model would load. "
                "Leave flashAttention out, or write kvCacheType: f16."
            )
        return kind

    @model_validator(mode="after")
    def _models_can_be_made(self) -> OllamaSettings:
        problems: list[tuple[str, str]] = []
        if not self.pull and not self.modelfiles:
            problems.append(
                ("pull", "is required, where there are no modelfiles: a server without models answers none.")
            )
        pulled = {full_name(name) for name in self.pull}
        for name, modelfile in self.modelfiles.items():
            problems += self._origin_problems(name, pulled)
            problems += [
                (
                    f"modelfiles.{name}.{setting}",
                    f"{path!r} is a file, but files does not say where. Write e.g. files: {{nodePath: /data/gguf}}.",
                )
                for setting, path in modelfile.files
                if self.files is None
            ]
        for name, facts in self.architectures.items():
            if name not in self.pull and name not in self.modelfiles:
                near = did_you_mean(name, [*self.pull, *self.modelfiles])
                problems.append((f"architectures.{name}", f"this server has no such model{near or '.'}"))
            if "quantization" not in facts.model_fields_set:
                problems.append(
                    (
                        f"architectures.{name}.quantization",
                        "is required for a GGUF, whose memory follows from it; write e.g. Q4_K_M.",
                    )
                )
        if problems:
            raise SeveralErrors(problems)
        return self

    def _origin_problems(self, name: str, pulled: set[str]) -> list[tuple[str, str]]:
        problems = []
        origin = self.modelfiles[name].from_
        if not origin.startswith("./") and full_name(origin) not in pulled:
            problems.append(
                (
                    f"modelfiles.{name}.from",
                    f"{origin!r} is not pulled by this server, so the model could not be made. Add it to pull.",
                )
            )
        if full_name(name) in pulled:
            problems.append(
                (
                    f"modelfiles.{name}",
                    f"{name!r} is pulled too, so one of the two would take the other's place. Give it another name.",
                )
            )
        return problems
