"""A model served by vLLM."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, JsonValue, model_validator

from settings.architecture import ModelFacts
from settings.autoscale import AutoscaleSettings
from settings.base import Image, Size
from settings.server import GpuServerSettings
from settings.vllm_lora import AdapterName, LoraAdapterSettings
from settings.vllm_speculative import SpeculativeSettings
from settings.vllm_structured_outputs import StructuredOutputsSettings

Profile = Literal["throughput", "latency", "longContext", "balanced"]

Dtype = Literal["auto", "bfloat16", "float16", "float32"]
"""Without vLLM's own synonyms: half is float16, and float is float32."""

KvCacheDtype = Literal[
    "auto",
    "float16",
    "bfloat16",
    "fp8",
    "fp8_e4m3",
    "fp8_e5m2",
    "fp8_per_token_head",
    "int8_per_token_head",
    "int4_per_token_head",
    "nvfp4",
]

CHECKPOINT_QUANTIZATIONS = (
    "awq",
    "awq_marlin",
    "gptq",
    "gptq_marlin",
    "compressed-tensors",
    "modelopt",
    "modelopt_fp4",
    "experts_int8",
    "mxfp4",
)
LOAD_QUANTIZATIONS = (
    "fp8",
    "fp8_per_tensor",
    "fp8_per_block",
    "fp8_per_channel",
    "mxfp8",
    "int8_per_channel_weight_only",
    "nvfp4_per_token",
)
_GONE_QUANTIZATIONS = {
    "bitsandbytes": "it needs a plugin that vLLM's image has not. Write fp8_per_tensor, or serve an AWQ or GPTQ "
    "checkpoint",
    "gguf": "it needs a plugin that vLLM's image has not. Serve GGUF files with engine: llamacpp or ollama",
    "squeezellm": "it is gone from vLLM. Serve an AWQ or GPTQ checkpoint",
}


def _quantization(value: object) -> object:
    known = (*LOAD_QUANTIZATIONS, *CHECKPOINT_QUANTIZATIONS)
    if isinstance(value, str) and value in _GONE_QUANTIZATIONS:
        raise ValueError(f"{value!r}: {_GONE_QUANTIZATIONS[value]}.")
    if isinstance(value, str) and value not in known:
        raise ValueError(f"{value!r} is not one of {', '.join(known)}. A checkpoint's own is found without it.")
    return value


Quantize = Annotated[str, BeforeValidator(_quantization)]


class VllmSettings(GpuServerSettings):
    """One vLLM server: one model on whole GPUs, or on a share of a time-sliced one."""

    engine: Literal["vllm"] = Field(description="The engine that serves the model.")
    model: str = Field(
        # A colon too: that a name is Ollama's is told with the repository that is meant.
        pattern=r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?(:[\w.-]+)?$",
        description="Hugging Face repository, e.g. 'Qwen/Qwen2.5-7B-Instruct-AWQ'.",
    )
    revision: Annotated[str, Field(pattern=r"^[\w][\w./-]*$", max_length=200)] | None = Field(
        default=None,
        description="Commit, tag or branch of the repository; only a commit is the same tomorrow. The newest by "
        "default.",
    )
    architecture: ModelFacts | None = Field(
        default=None, description="Facts of a model that the catalogue does not know, or of a changed one."
    )
    image: Image = Field(
        default="docker.io/vllm/vllm-openai:v0.33.0",
        description="Container image of vLLM, with a release tag or a digest.",
    )

    # How many GPUs and pods.
    gpus: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, description="GPUs of one replica; the model is split over them by tensor parallelism."
    )
    tensor_parallel: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="GPUs that each layer is split over; by default all that pipelineParallel leaves."
    )
    pipeline_parallel: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=1, description="Stages that the layers are split into, one after the other."
    )
    replicas: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="Identical pods.")
    autoscale: AutoscaleSettings | None = Field(
        default=None, description="Lets the load decide how many replicas there are; a fixed number by default."
    )

    # What it is tuned for.
    profile: Profile = Field(
        default="balanced", description="What the server is tuned for; sets context and batch sizes."
    )
    max_model_len: Annotated[int, Field(ge=128)] | None = Field(
        default=None,
        description="Longest prompt with answer, in tokens; by default the profile's value, or the model's own "
        "context where that is shorter.",
    )
    max_num_seqs: Annotated[int, Field(ge=1, le=65536)] | None = Field(
        default=None, description="Sequences that run at once; the profile's value by default."
    )
    max_num_batched_tokens: Annotated[int, Field(ge=1, le=2**24)] | None = Field(
        default=None, description="Tokens that one step computes; the profile's value by default."
    )
    max_num_queued_reqs: Annotated[int, Field(ge=1, le=10**6)] | None = Field(
        default=None,
        description="Requests that may wait or run before more get HTTP 503; without a limit by default.",
    )
    prefix_caching: bool | None = Field(
        default=None, description="Keep what common beginnings of prompts have made; vLLM decides by default."
    )
    chunked_prefill: bool | None = Field(
        default=None, description="Compute long prompts in parts, between answers; vLLM decides by default."
    )
    enforce_eager: bool | None = Field(
        default=None, description="Run without CUDA graphs; by default only on WSL2 nodes, which may need it."
    )
    attention_backend: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")] | None = Field(
        default=None, description="Kernels of attention, e.g. FLASHINFER; vLLM chooses by default."
    )

    # Memory of the GPU.
    gpu_memory_utilization: Annotated[float, Field(gt=0, le=0.95)] = Field(
        default=0.90, description="Part of its share of a GPU's memory that vLLM may reserve (0 to 0.95)."
    )
    dtype: Dtype = Field(default="auto", description="Type of weights that are not quantized, and of activations.")
    quantization: Quantize | None = Field(
        default=None,
        description="What vLLM makes of 16-bit weights while it loads them, e.g. fp8_per_tensor; a checkpoint's own is "
        "found without it.",
    )
    kv_cache_dtype: KvCacheDtype = Field(
        default="auto", description="Type of keys and values in the cache; the model's own by default."
    )

    # What it can do for clients.
    lora_adapters: dict[AdapterName, LoraAdapterSettings] = Field(
        default_factory=dict, description="LoRA adapters, keyed by the name that clients write as model."
    )
    max_loras: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None, description="Adapters that one batch may hold, each with GPU memory; all of them by default."
    )
    speculative: SpeculativeSettings | None = Field(default=None, description="Speculative decoding; none by default.")
    structured_outputs: StructuredOutputsSettings = Field(
        default_factory=StructuredOutputsSettings,
        description="How answers are held to a JSON schema, a grammar or a regular expression.",
    )
    tool_call_parser: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = Field(
        default=None, description="How the model writes tool calls, e.g. hermes; without it tools are not offered."
    )
    reasoning_parser: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = Field(
        default=None, description="How the model marks its reasoning, e.g. qwen3; it stays in the answer without it."
    )
    chat_template: str | None = Field(
        # An argument of a program has at most 128 KiB (MAX_ARG_STRLEN of Linux), and a character up to 4 bytes.
        default=None,
        min_length=1,
        max_length=32_000,
        description="Jinja template of chats; the model's own by default.",
    )
    runner: Literal["auto", "generate", "pooling"] = Field(
        default="auto", description="What the model is for: text, or vectors and scores; by default what it says."
    )

    # Everything else.
    trust_remote_code: bool = Field(
        default=False, description="Run Python code that comes with the model's repository."
    )
    hf_overrides: dict[str, JsonValue] = Field(
        default_factory=dict, description="Entries of the model's config.json that are replaced, e.g. rope_parameters."
    )
    seed: Annotated[int, Field(ge=0, lt=2**32)] | None = Field(
        default=None, description="Seed of random numbers; vLLM's own by default."
    )
    extra_args: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="Further flags of `vllm serve`, without dashes: true or false for switches, a list where a flag "
        "takes several values, a mapping where it takes JSON.",
    )
    extra_environment: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], str] = Field(
        default_factory=dict, description="Further environment variables of the container; no secrets."
    )
    shm: Size | None = Field(default=None, description="Size of /dev/shm; by default what the number of workers needs.")
    cache: Size | None = Field(
        default=None, description="Volume that keeps downloads and compiled kernels; by default from the model."
    )

    @property
    def tensor_parallel_size(self) -> int:
        """GPUs that each layer is split over, as written or as pipelineParallel leaves them."""
        return self.tensor_parallel or max(1, self.gpus // self.pipeline_parallel)

    @model_validator(mode="after")
    def _every_gpu_has_a_worker(self) -> VllmSettings:
        tensor, pipeline = self.tensor_parallel_size, self.pipeline_parallel
        if tensor * pipeline != self.gpus:
            meant = f"tensorParallel {tensor} x pipelineParallel {pipeline}"
            raise ValueError(
                f"gpus {self.gpus} != {meant}: vLLM starts one worker for each shard, so "
                + ("some would find no GPU" if tensor * pipeline > self.gpus else "GPUs would lie idle")
                + f". Write gpus: {tensor * pipeline}, or other parts."
            )
        return self

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

    @model_validator(mode="after")
    def _adapters_have_room(self) -> VllmSettings:
        if self.max_loras is not None and not self.lora_adapters:
            raise ValueError(
                f"maxLoras {self.max_loras} without loraAdapters: there is nothing to hold. Write loraAdapters, or "
                "leave maxLoras out."
            )
        return self

    @model_validator(mode="after")
    def _batches_hold_their_sequences(self) -> VllmSettings:
        tokens, seqs = self.max_num_batched_tokens, self.max_num_seqs
        if tokens is not None and seqs is not None and tokens < seqs:
            raise ValueError(
                f"maxNumBatchedTokens {tokens} is below maxNumSeqs {seqs}: each sequence takes at least one token a "
                f"step, so vLLM would refuse to start. Write {seqs} or more."
            )
        return self
