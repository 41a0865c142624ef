"""A model served by Hugging Face's Text Generation Inference."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.architecture import ModelFacts
from settings.base import Image, Size
from settings.server import GpuServerSettings

Quantize = Literal[
    "awq",
    "compressed-tensors",
    "eetq",
    "exl2",
    "gptq",
    "marlin",
    "bitsandbytes",
    "bitsandbytes-nf4",
    "bitsandbytes-fp4",
    "fp8",
]
Value = bool | int | float | str
FlagName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class TgiSettings(GpuServerSettings):
    """One server of Text Generation Inference: one model on whole GPUs."""

    engine: Literal["tgi"] = Field(description="The engine that serves the model.")
    model: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$",
        description="Hugging Face repository, e.g. 'Qwen/Qwen2.5-7B-Instruct-AWQ'.",
    )
    revision: str | None = Field(
        default=None,
        pattern=r"^[\w][\w./-]*$",
        description="Commit, tag or branch of the repository; its main branch by default.",
    )
    architecture: ModelFacts | None = Field(
        default=None, description="Facts of a model that the catalogue does not know, or of a changed one."
    )
    # From 3.1.1 on the image's Python lies below /root, so that no other user can start it.
    image: Image = Field(
        default="ghcr.io/huggingface/text-generation-inference:3.0.1",
        description="Container image of TGI, with a release tag or a digest; it must start as any user.",
    )
    gpus: Annotated[int, Field(ge=1, le=16)] = Field(
        default=1, description="GPUs of one replica; each has a shard of the model (--num-shard)."
    )
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="Identical pods.")
    quantize: Quantize | None = Field(
        default=None, description="How weights are quantized; as the checkpoint says by default (--quantize)."
    )
    dtype: Literal["float16", "bfloat16"] | None = Field(
        default=None, description="Type of the weights that are computed with; the checkpoint's by default."
    )
    kv_cache_dtype: Literal["fp8_e4m3fn", "fp8_e5m2"] | None = Field(
        default=None, description="Type of keys and values in the cache; that of the weights by default."
    )
    max_total_tokens: Annotated[int, Field(ge=128)] = Field(
        default=8192, description="Longest prompt with answer of one request, in tokens (--max-total-tokens)."
    )
    max_input_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Longest prompt, in tokens; one less than maxTotalTokens by default."
    )
    max_batch_prefill_tokens: Annotated[int, Field(ge=1)] = Field(
        default=4096, description="Tokens of prompts that are computed at once (--max-batch-prefill-tokens)."
    )
    max_concurrent_requests: Annotated[int, Field(ge=1)] = Field(
        default=128, description="Requests that are taken, waiting ones too; further ones are refused with 429."
    )
    cuda_memory_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        default=0.95, description="Part of a GPU's memory that TGI may take (0 to 1); it leaves 5% of that free."
    )
    cuda_graphs: bool = Field(
        default=True, description="Use CUDA graphs, for batches of 1 to 32 requests (--cuda-graphs)."
    )
    shm: Size | None = Field(default=None, description="Size of /dev/shm; by default what the number of shards needs.")
    cache: Size | None = Field(
        default=None, description="Volume that keeps what was downloaded; by default from the model."
    )
    extra_args: dict[FlagName, Value] = Field(
        default_factory=dict,
        description="Further flags of text-generation-launcher by name without dashes, e.g. {max-best-of: 4}.",
    )

    @model_validator(mode="after")
    def _room_for_an_answer(self) -> TgiSettings:
        if self.max_input_tokens is not None and self.max_input_tokens >= self.max_total_tokens:
            raise ValueError(
                f"maxInputTokens {self.max_input_tokens} is not below maxTotalTokens {self.max_total_tokens}, so there "
                f"would be no room for an answer and TGI would not start. Write {self.max_total_tokens - 1} or less."
            )
        return self

    @model_validator(mode="after")
    def _one_way_to_weigh(self) -> TgiSettings:
        if self.quantize is not None and self.dtype is not None:
            raise ValueError(f"quantize {self.quantize} with dtype {self.dtype}: TGI takes one of them. Leave one out.")
        if self.quantize == "exl2" and self.gpus > 1:
            raise ValueError(
                f"quantize exl2 with gpus {self.gpus}: TGI cannot divide such a model, and would not start. Write "
                "gpus: 1."
            )
        if self.gpu_share is not None and self.gpu_share < 1 and self.gpus > 1:
            raise ValueError(
                f"gpuShare {self.gpu_share} with gpus {self.gpus}: shards need whole GPUs, since the slowest holds up "
                "all others. Set gpus: 1, or leave gpuShare out."
            )
        return self
