"""A model served by llama.cpp's own server."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from settings.architecture import ModelFacts
from settings.base import Image, Name, Size
from settings.meant import without_hub
from settings.server import GpuServerSettings

CLAIM_FOLDER = "/models"
"""Where the pod has the volume of `claim`."""

_HUB = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(:[A-Za-z0-9_]+)?", re.ASCII)
_FILE = re.compile(rf"{CLAIM_FOLDER}/[\w./-]+\.gguf", re.ASCII)
_HUB_FILE = re.compile(r"[\w.-]+(/[\w.-]+)*\.gguf", re.ASCII)

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

Value = bool | int | float | str
FlagName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]


def _gguf(model: str) -> str:
    if not _HUB.fullmatch(model) and (not _FILE.fullmatch(model) or ".." in model):
        if repository := without_hub(model):
            raise ValueError(f"{model!r} has the host of Hugging Face, which llama-server adds. Write {repository!r}.")
        raise ValueError(
            f"{model!r} is neither a repository of Hugging Face with the quantization, such as "
            f"'Qwen/Qwen3-8B-GGUF:Q4_K_M', nor a file of the claim, such as '{CLAIM_FOLDER}/own.gguf'."
        )
    return model


def _hub_file(file: str) -> str:
    if not _HUB_FILE.fullmatch(file) or ".." in file:
        raise ValueError(f"{file!r} is not a GGUF file of a repository; write e.g. 'Qwen3-8B-Q4_K_M.gguf'.")
    return file


class LlamaCppSettings(GpuServerSettings):
    """One llama.cpp server: one GGUF file on whole GPUs, or on a share of a time-sliced one."""

    engine: Literal["llamacpp"] = Field(description="The engine that serves the model.")
    model: Annotated[str, AfterValidator(_gguf)] = Field(
        description=(
            "Hugging Face repository with the quantization, e.g. 'Qwen/Qwen3-8B-GGUF:Q4_K_M', or a GGUF file of the "
            "claim, e.g. '/models/own.gguf'."
        )
    )
    file: Annotated[str, AfterValidator(_hub_file)] | None = Field(
        default=None, description="File of the repository, where the quantization does not name one alone."
    )
    claim: Name | None = Field(
        default=None,
        description="PersistentVolumeClaim of the models' namespace that has the file, mounted read-only at /models.",
    )
    architecture: ModelFacts | None = Field(
        default=None, description="Facts of a model that the catalogue does not know, or of a changed one."
    )
    image: Image = Field(
        default="ghcr.io/ggml-org/llama.cpp:server-cuda-b10438",
        description="Container image of llama.cpp's server, with a release tag or a digest.",
    )
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="Identical pods.")
    context_length: Annotated[int, Field(ge=128)] = Field(
        default=8192, description="Longest prompt with answer of one request, in tokens."
    )
    parallel: Annotated[int, Field(ge=1, le=256)] = Field(
        default=4, description="Requests at once; each has a cache of contextLength tokens of its own (--parallel)."
    )
    gpu_layers: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Layers on the GPU, with the output layer as one; the CPU computes the others. All by default.",
    )
    cache_type_k: CacheType = Field(default="f16", description="How keys are kept in the cache (--cache-type-k).")
    cache_type_v: CacheType = Field(default="f16", description="How values are kept in the cache (--cache-type-v).")
    flash_attention: bool | None = Field(
        default=None, description="Flash attention (--flash-attn); by default where GPU and model can."
    )
    batch_size: Annotated[int, Field(ge=1)] = Field(
        default=2048, description="Tokens of prompts that are taken at once (--batch-size)."
    )
    ubatch_size: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Tokens that are computed at once (--ubatch-size); 512 by default, contextLength with embeddings.",
    )
    embeddings: bool = Field(
        default=False, description="Make embeddings, with a model that is for them (--embeddings)."
    )
    pooling: Literal["none", "mean", "cls", "last", "rank"] | None = Field(
        default=None,
        description="How an embedding is made of those of its tokens; as the model's file says by default.",
    )
    jinja: bool = Field(default=True, description="Use the model's own chat template, which tool calls need (--jinja).")
    chat_template: str | None = Field(
        default=None,
        min_length=1,
        description="Name of a built-in chat template, or a template; the model's by default.",
    )
    split_mode: Literal["none", "layer", "row", "tensor"] = Field(
        default="layer", description="How several GPUs share the model (--split-mode)."
    )
    tensor_split: list[Annotated[float, Field(ge=0)]] | None = Field(
        default=None, description="Parts of the model by GPU, e.g. [3, 1]; as much as each has free by default."
    )
    # Without mlock: a pod that has no privileges may lock next to nothing.
    load_mode: Literal["auto", "none", "mmap", "dio"] = Field(
        default="auto", description="How the file is read: mapped into memory, read, or read past the page cache (dio)."
    )
    threads: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="CPU threads that generate; all of the node's cores by default."
    )
    # llama-server's own is 8192 MiB, which nobody counts on beside a model on the GPU.
    prompt_cache_mib: Annotated[int, Field(ge=0)] = Field(
        default=2048,
        alias="promptCacheMiB",
        description="Host memory that keeps the caches of earlier prompts, and as much again for checkpoints where "
        "its layers forget, in MiB (--cache-ram); 0 keeps none.",
    )
    cache: Size | None = Field(
        default=None, description="Volume that keeps what was downloaded; by default from the model."
    )
    extra_args: dict[FlagName, Value] = Field(
        default_factory=dict,
        description="Further flags of llama-server by name without dashes, e.g. {cache-reuse: 256, warmup: false}.",
    )

    @property
    def is_local(self) -> bool:
        """Whether the model is a file of the claim."""
        return self.model.startswith(f"{CLAIM_FOLDER}/")

    @model_validator(mode="after")
    def _one_file(self) -> LlamaCppSettings:
        if self.is_local and (self.claim is None or self.file is not None):
            raise ValueError(
                f"model {self.model!r} is a file of the volume that `claim` names, and of no repository. Write claim: "
                "NAME, and leave `file` out."
            )
        if not self.is_local and self.claim is not None:
            raise ValueError(
                f"claim {self.claim!r} beside model {self.model!r}, which is downloaded, so nobody would read the "
                f"claim. Leave it out, or write model: {CLAIM_FOLDER}/NAME.gguf."
            )
        if not self.is_local and (self.file is None) != (":" in self.model):
            raise ValueError(
                f"model {self.model!r} {'and' if self.file else 'without'} file: llama-server takes the file that the "
                "quantization names, or the one of `file`. Write 'OWNER/NAME:Q4_K_M', or file: NAME.gguf beside "
                "'OWNER/NAME'."
            )
        return self

    @model_validator(mode="after")
    def _flash_attention_for_quantized_values(self) -> LlamaCppSettings:
        if self.flash_attention is False and self.cache_type_v not in ("f32", "f16", "bf16"):
            raise ValueError(
                f"cacheTypeV {self.cache_type_v} with flashAttention false: without it values cannot be quantized, so "
                "the model would not be loaded. Leave flashAttention out, or write cacheTypeV: f16."
            )
        return self

    @model_validator(mode="after")
    def _batches(self) -> LlamaCppSettings:
        if self.ubatch_size is not None and self.ubatch_size > self.batch_size and not self.embeddings:
            raise ValueError(
                f"ubatchSize {self.ubatch_size} is above batchSize {self.batch_size}, so llama-server would lower it. "
                f"Write {self.batch_size} or less."
            )
        return self

    @model_validator(mode="after")
    def _parts_of_all_gpus(self) -> LlamaCppSettings:
        if self.tensor_split is not None and len(self.tensor_split) != self.gpus:
            raise ValueError(
                f"tensorSplit has {len(self.tensor_split)} parts and gpus is {self.gpus}: each GPU needs its part. "
                "Write as many, or leave tensorSplit out."
            )
        if self.split_mode == "none" and self.gpus > 1:
            raise ValueError(
                f"splitMode none with gpus {self.gpus}: all but one would stay idle. Write gpus: 1, or another mode."
            )
        if self.gpu_share is not None and self.gpu_share < 1 and self.gpus > 1:
            raise ValueError(
                f"gpuShare {self.gpu_share} with gpus {self.gpus}: parts of several GPUs cannot be had together. Set "
                "gpus: 1, or leave gpuShare out."
            )
        return self
