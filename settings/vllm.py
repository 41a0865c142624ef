"""A model served by vLLM."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.architecture import ModelFacts
from settings.autoscale import AutoscaleSettings
from settings.base import Size
from settings.server import GpuServerSettings

Profile = Literal["throughput", "latency", "longContext", "balanced"]


class VllmSettings(GpuServerSettings):
    """One vLLM server: one model on whole GPUs, or on a share of a time-sliced one."""

    engine: Literal["vllm"] = Field(description="The engine that serves the model.")
    model: str = Field(
        pattern=r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$",
        description="Hugging Face repository, e.g. 'Qwen/Qwen2.5-7B-Instruct-AWQ'.",
    )
    architecture: ModelFacts | None = Field(
        default=None, description="Facts of a model that the catalogue does not know, or of a changed one."
    )
    image: str = Field(
        default="docker.io/vllm/vllm-openai:v0.33.0",
        min_length=1,
        description="Container image of vLLM, with a release tag or a digest.",
    )
    gpus: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, description="GPUs of one replica; the model is split over them by tensor parallelism."
    )
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="Identical pods.")
    autoscale: AutoscaleSettings | None = Field(
        default=None, description="Lets the load decide how many replicas there are; a fixed number by default."
    )
    profile: Profile = Field(
        default="balanced", description="What the server is tuned for; sets context and batch sizes."
    )
    max_model_len: Annotated[int, Field(ge=128)] | None = Field(
        default=None, description="Longest prompt with answer, in tokens; the profile's value by default."
    )
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=0.95)] = Field(
        default=0.90, description="Part of its share of a GPU's memory that vLLM may reserve (0 to 0.95)."
    )
    enforce_eager: bool | None = Field(
        default=None, description="Run without CUDA graphs; by default only on WSL2 nodes, which may need it."
    )
    shm: Size | None = Field(default=None, description="Size of /dev/shm; by default what the number of workers needs.")
    cache: Size | None = Field(
        default=None, description="Volume that keeps downloads and compiled kernels; by default from the model."
    )

    @model_validator(mode="after")
    def _share_of_one_gpu(self) -> VllmSettings:
        if self.gpu_share is not None and self.gpu_share < 1 and self.gpus > 1:
            raise ValueError(
                f"gpuShare {self.gpu_share} with gpus {self.gpus}: tensor parallelism needs whole GPUs, since the "
                "slowest worker holds up all others. Set gpus: 1, or leave gpuShare out."
            )
        return self

    @model_validator(mode="after")
    def _one_says_how_many(self) -> VllmSettings:
        if self.autoscale and "replicas" in self.model_fields_set:
            raise ValueError(
                f"replicas {self.replicas} beside autoscale: the autoscaler sets their number, and each deployment "
                "would set it back. Leave replicas out, and write autoscale.min."
            )
        return self
