"""What vLLM would refuse of a model, on these GPUs, set up so: told before a pod is started.

Each rule names the file of vLLM 0.33.0 that it was read from.
"""

from __future__ import annotations

from dataclasses import dataclass

from planning.catalogue import GpuModel, LanguageModel, hub_models, language_models
from planning.vllm_release import Release, release, version_of
from planning.vllm_speculation import check_speculation
from settings.problems import did_you_mean
from settings.quantization import Quantization
from settings.vllm import CHECKPOINT_QUANTIZATIONS, LOAD_QUANTIZATIONS, VllmSettings

_LEAST_CAPABILITY = (7, 5)
"""The image is built for Turing and newer (docker/Dockerfile, torch_cuda_arch_list)."""

_BF16_CAPABILITY = (8, 0)
"""platforms/cuda.py, check_if_supports_dtype."""

_QUANTIZATION_CAPABILITY = {Quantization.MXFP4: (8, 0)}
"""Where it is more than 7.5 (model_executor/layers/quantization: get_min_capability). FP8, NVFP4, AWQ and GPTQ weights
run on any card that vLLM runs on, by Marlin's kernels where the card computes in none of them."""

_FP8_KV_CAPABILITY = (8, 0)
"""FlashInfer's least; below 8.9 it alone reads an FP8 cache (v1/attention/backends: flashinfer.py, triton_attn.py)."""

_FP8_CAPABILITY = (8, 9)
_NVFP4_KV_CAPABILITY = (8, 0)
_16_BIT = (Quantization.BF16, Quantization.FP16, Quantization.FP32)
_FAMILIES: dict[str, tuple[Quantization, ...]] = {
    "awq": (Quantization.AWQ,),
    "awq_marlin": (Quantization.AWQ,),
    "gptq": (Quantization.GPTQ, Quantization.GPTQ_INT8),
    "gptq_marlin": (Quantization.GPTQ, Quantization.GPTQ_INT8),
    "modelopt": (Quantization.FP8,),
    "modelopt_fp4": (Quantization.NVFP4,),
    "fp8": (Quantization.FP8,),
    "mxfp4": (Quantization.MXFP4,),
}
"""Checkpoints that each name of vLLM stands for; `compressed-tensors` is any."""

_16_BIT_AS_WELL = ("experts_int8", "mxfp4")
"""Of the names of checkpoints, those that 16-bit weights may be made into."""


@dataclass(frozen=True, kw_only=True)
class VllmChecks:
    """One server to check; what is found goes to `problems`, and what may do harm to `warnings`."""

    name: str
    settings: VllmSettings
    gpu: GpuModel
    gpu_name: str
    model: LanguageModel | None
    known: Release | None
    problems: list[str]
    warnings: list[str]

    def check(self) -> None:
        """Everything that needs no size of memory."""
        self._names()
        self._card()
        self._kv_cache()
        self._adapters()
        check_speculation(self.name, self.settings, self.model, problems=self.problems, warnings=self.warnings)
        self._doubts()
        if self.model is not None:
            self._shards(self.model)
            self._quantization(self.model)

    def _problem(self, key: str, told: str) -> None:
        self.problems.append(f"models.{self.name}{'.' if key else ''}{key}: {told}")

    def _warning(self, key: str, told: str) -> None:
        self.warnings.append(f"models.{self.name}.{key}: {told}")

    @property
    def _capability(self) -> str:
        return ".".join(str(part) for part in self.gpu.compute_capability)

    def _names(self) -> None:
        """Names that vLLM looks up at its start."""
        library = language_models().get(self.settings.model)
        if "/" not in self.settings.model and (":" in self.settings.model or library is not None):
            meant = hub_name(library) if library else None
            self._problem(
                "model",
                f"{self.settings.model} is the name of a GGUF model in Ollama's library, which vLLM does not load. "
                f"Write {'its Hugging Face repository' if meant is None else meant}, or engine: ollama.",
            )
        if self.known is None:
            return
        for key, value, names, what in (
            ("toolCallParser", self.settings.tool_call_parser, self.known.tool_call_parsers, "parser of tool calls"),
            ("reasoningParser", self.settings.reasoning_parser, self.known.reasoning_parsers, "parser of reasoning"),
            ("attentionBackend", self.settings.attention_backend, self.known.attention_backends, "attention backend"),
        ):
            if value is not None and value not in names:
                self._problem(
                    key,
                    f"{value!r} is no {what} of vLLM {self.known.version}, so it would refuse to start"
                    f"{did_you_mean(value, names) or '. It has ' + ', '.join(names) + '.'}",
                )

    def _card(self) -> None:
        if self.gpu.compute_capability < _LEAST_CAPABILITY:
            self._problem(
                "",
                f"{self.gpu_name} has compute capability {self._capability}, and vLLM's image is built for 7.5 and "
                "newer, so no kernel would run. Choose engine: llamacpp or ollama.",
            )
        if self.settings.dtype == "bfloat16" and self.gpu.compute_capability < _BF16_CAPABILITY:
            self._problem(
                "dtype",
                f"bfloat16 needs compute capability 8.0, and {self.gpu_name} has {self._capability}, so vLLM would "
                "refuse to start. Write float16, or leave it out.",
            )

    def _kv_cache(self) -> None:
        dtype, backend = self.settings.kv_cache_dtype, self.settings.attention_backend
        capability = self.gpu.compute_capability
        latent = self.model is not None and self.model.architecture.latent_attention is not None
        if dtype in ("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_per_token_head"):
            per_head = dtype == "fp8_per_token_head"  # of the Triton backend alone
            least = _FP8_CAPABILITY if latent or per_head else _FP8_KV_CAPABILITY
            if capability < least:
                self._problem(
                    "kvCacheDtype",
                    f"{dtype} needs compute capability {least[0]}.{least[1]}"
                    f"{' with latent attention (MLA)' if latent else ''}, and {self.gpu_name} has {self._capability}, "
                    "so vLLM would refuse to start. Leave it out.",
                )
            elif capability < _FP8_CAPABILITY and backend not in (None, "FLASHINFER"):
                self._problem(
                    "attentionBackend",
                    f"{backend} reads no {dtype} cache on {self.gpu_name} (compute capability {self._capability}, "
                    "below 8.9), so vLLM would refuse to start. Write FLASHINFER, or leave it out.",
                )
        if dtype == "bfloat16" and capability < _BF16_CAPABILITY:
            self._problem(
                "kvCacheDtype",
                f"bfloat16 needs compute capability 8.0, and {self.gpu_name} has {self._capability}, so vLLM would "
                "refuse to start. Write float16, or leave it out.",
            )
        if dtype == "nvfp4":
            if capability < _NVFP4_KV_CAPABILITY:
                self._problem(
                    "kvCacheDtype",
                    f"nvfp4 needs compute capability 8.0, and {self.gpu_name} has {self._capability}, so vLLM would "
                    "refuse to start. Leave it out.",
                )
            elif self.model is not None and self.model.architecture.head_dim == 64 and capability[0] in (8, 9, 12):
                self._problem(
                    "kvCacheDtype",
                    "nvfp4 with heads of 64, which FlashInfer would misread, so vLLM would refuse to start. Write fp8.",
                )
        if dtype == "fp8_e5m2" and self.model is not None and self.model.quantization is Quantization.FP8:
            self._problem(
                "kvCacheDtype",
                "fp8_e5m2 with an FP8 checkpoint, whose scales are of the other kind, so vLLM would refuse to start. "
                "Write fp8.",
            )

    def _adapters(self) -> None:
        settings = self.settings
        if self.name in settings.lora_adapters:
            self._problem(
                f"loraAdapters.{self.name}",
                "has the name of its server, so clients could not ask for the model itself. Give it another.",
            )
        slots = settings.max_loras or len(settings.lora_adapters)
        if slots > len(settings.lora_adapters):
            self._warning(
                "maxLoras",
                f"{slots} for {len(settings.lora_adapters)} adapters: the rest takes GPU memory for nothing. Write "
                f"{len(settings.lora_adapters)}, or leave it out.",
            )

    def _doubts(self) -> None:
        settings = self.settings
        if settings.trust_remote_code:
            self._warning(
                "trustRemoteCode",
                f"the pod runs code of {settings.model}, whoever changes it"
                + (". Pin what was read: revision, with a commit." if settings.revision is None else "."),
            )
        if settings.gpu_memory_utilization > 0.92:
            self._warning(
                "gpuMemoryUtilization",
                f"{settings.gpu_memory_utilization} leaves little beside: 0.88 to 0.92 is safe, 0.95 runs out of "
                "memory in use. Write 0.92 or less.",
            )
        if self.known is None:
            version, known = version_of(settings.image), release().version
            what = f"is vLLM {version}" if version else "does not say which release of vLLM it is"
            self._warning(
                "image",
                f"{settings.image} {what}, and flags, parsers and memory are known of {known} alone: what the plan "
                "writes is not checked against it, and a flag that it does not have shows when the pod starts "
                f"(0.16.0 has no --shutdown-timeout). Write v{known} as its tag, or read the log of the first start.",
            )

    def _shards(self, model: LanguageModel) -> None:
        """config/model.py, verify_with_parallel_config; distributed/utils.py, divide."""
        shape, tensor = model.architecture, self.settings.tensor_parallel_size
        heads, kv_heads = shape.attention_heads, shape.kv_heads
        key = "gpus" if self.settings.tensor_parallel is None else "tensorParallel"
        if heads % tensor:
            fitting = [count for count in range(1, 65) if heads % count == 0 and _divides(kv_heads, count)]
            self._problem(
                key,
                f"{tensor} GPUs for the {heads} attention heads of {model.name}, of which each GPU must have as many, "
                f"so vLLM would refuse to start. Write one of {', '.join(map(str, fitting))}.",
            )
        elif shape.latent_attention is None and not _divides(kv_heads, tensor):
            self._problem(
                key,
                f"{tensor} GPUs for the {kv_heads} KV heads of {model.name}, which neither divides the other, so vLLM "
                "would refuse to start. Write a number that one divides.",
            )
        if self.settings.pipeline_parallel > shape.layers:
            self._problem(
                "pipelineParallel",
                f"{self.settings.pipeline_parallel} stages for the {shape.layers} layers of {model.name}, so some "
                f"would have none. Write {shape.layers} or less.",
            )

    def _quantization(self, model: LanguageModel) -> None:
        own, asked = model.quantization, self.settings.quantization
        if own is Quantization.BNB_NF4:
            self._problem(
                "model",
                f"{model.name} is quantized by bitsandbytes, which vLLM's image has not. Serve an AWQ, GPTQ or FP8 "
                "checkpoint.",
            )
            return
        if own.is_gguf:
            self._problem(
                "model",
                f"{model.name} is of GGUF files ({own.value}), which vLLM's image does not load. Choose engine: "
                "llamacpp or ollama.",
            )
            return
        least = _QUANTIZATION_CAPABILITY.get(own, _LEAST_CAPABILITY)
        if _LEAST_CAPABILITY <= self.gpu.compute_capability < least:
            self._problem(
                "model",
                f"{own.value} weights need compute capability {least[0]}.{least[1]}, and {self.gpu_name} has "
                f"{self._capability}, so vLLM would refuse to start. Choose another checkpoint.",
            )
        if asked is None:
            return
        if own in _16_BIT:
            if asked in CHECKPOINT_QUANTIZATIONS and asked not in _16_BIT_AS_WELL:
                self._problem(
                    "quantization",
                    f"{asked} is a checkpoint's own, and {model.name} has 16-bit weights, so vLLM would find no "
                    "scales. Leave it out, or write fp8_per_tensor.",
                )
            if asked == "fp8":
                self._warning(
                    "quantization",
                    "fp8 is the old name of what is made of 16-bit weights, and will go. Write fp8_per_tensor.",
                )
        elif own not in _FAMILIES.get(asked, (() if asked in LOAD_QUANTIZATIONS else (own,))):
            self._problem(
                "quantization",
                f"{asked}, but {model.name} is {own.value} already, so vLLM would refuse to start. Leave it out: vLLM "
                "finds a checkpoint's own.",
            )


def reads_fp8_cache(gpu: GpuModel, backend: str | None, *, latent: bool) -> bool:
    """Whether vLLM reads a KV cache in FP8 there, with latent attention (MLA) or without."""
    capability = gpu.compute_capability
    if capability >= _FP8_CAPABILITY:
        return True
    return capability >= _FP8_KV_CAPABILITY and not latent and backend in (None, "FLASHINFER")


def _divides(kv_heads: int, tensor: int) -> bool:
    """Whether KV heads are divided over so many GPUs, or each is kept on several."""
    return kv_heads % tensor == 0 or tensor % kv_heads == 0


def hub_name(model: LanguageModel) -> str | None:
    """The Hugging Face repository of the model that Ollama's library has as `model`: the one in 16 bits."""
    shape = model.architecture
    same = [
        other
        for other in hub_models().values()
        if other.architecture.model_copy(update={"context_tokens": shape.context_tokens}) == shape
        and set(other.uses) == set(model.uses)
    ]
    found = min(same, key=lambda other: (other.quantization not in _16_BIT, other.name), default=None)
    return found.name if found else None
