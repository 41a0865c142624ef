"""What of a vLLM server's settings its memory depends on."""

from __future__ import annotations

from planning.catalogue import GpuModel, LanguageModel, hub_models
from planning.memory import LoraSlots, VllmLoad
from planning.vllm_batching import Batching, default_batched_tokens
from settings.quantization import Quantization
from settings.vllm import KvCacheDtype, VllmSettings

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What --max-lora-rank may be."""

_16_BIT = (Quantization.BF16, Quantization.FP16)
_AT_LOAD: dict[str, Quantization] = {
    "fp8": Quantization.FP8,
    "fp8_per_tensor": Quantization.FP8,
    "fp8_per_block": Quantization.FP8,
    "fp8_per_channel": Quantization.FP8,
    "mxfp8": Quantization.FP8,
    "mxfp4": Quantization.MXFP4,
}
_EXPERTS_AT_LOAD: dict[str, Quantization] = {
    "experts_int8": Quantization.INT8,
    "int8_per_channel_weight_only": Quantization.INT8,
    "nvfp4_per_token": Quantization.NVFP4,
}
"""These leave all but experts in 16 bits (vllm/config/quantization.py)."""

_HOPPER = (9, 0)
_SCALE_BITS = 32
"""Of the scale that each head of a token has, where a KV cache is quantized so."""


def lora_rank(settings: VllmSettings) -> int:
    """--max-lora-rank: the largest of the adapters, rounded up to what vLLM takes."""
    largest = max(adapter.rank for adapter in settings.lora_adapters.values())
    return next(rank for rank in RANKS if rank >= largest)


def lora_slots(settings: VllmSettings) -> LoraSlots | None:
    """Room for adapters in the GPU; None where there are none."""
    if not settings.lora_adapters:
        return None
    return LoraSlots(count=settings.max_loras or len(settings.lora_adapters), rank=lora_rank(settings))


def kv_cache_bits(dtype: KvCacheDtype, settings: VllmSettings, head_dim: int) -> float:
    """Bits of one element of keys and values, with its share of scales."""
    match dtype:
        case "auto":
            return 32 if settings.dtype == "float32" else 16
        case "float16" | "bfloat16":
            return 16
        case "fp8" | "fp8_e4m3" | "fp8_e5m2":
            return 8
        case "fp8_per_token_head" | "int8_per_token_head":
            return 8 + _SCALE_BITS / head_dim
        case "int4_per_token_head":
            return 4 + _SCALE_BITS / head_dim
        case "nvfp4":
            return Quantization.NVFP4.bits_per_weight


def quantized_at_load(settings: VllmSettings, model: LanguageModel) -> Quantization | None:
    """What vLLM itself makes of 16-bit weights; None where it keeps them as they are."""
    if model.quantization not in _16_BIT:
        return None
    if settings.quantization is None:
        return Quantization.FP32 if settings.dtype == "float32" else None
    if model.architecture.experts is not None and settings.quantization in _EXPERTS_AT_LOAD:
        return _EXPERTS_AT_LOAD[settings.quantization]
    return _AT_LOAD.get(settings.quantization)


def draft_model(settings: VllmSettings) -> LanguageModel | None:
    """What is known of the model that guesses; None where none does, or nothing is known of it."""
    return hub_models().get(settings.speculative.model or "") if settings.speculative else None


def vllm_load(
    settings: VllmSettings, batching: Batching, model: LanguageModel, gpu: GpuModel, *, eager: bool
) -> VllmLoad:
    """How one replica is set up, as far as its memory depends on it."""
    return VllmLoad(
        max_model_len=batching.max_model_len,
        max_num_seqs=batching.max_num_seqs,
        max_num_batched_tokens=batching.max_num_batched_tokens or default_batched_tokens(gpu),
        tensor_parallel=settings.tensor_parallel_size,
        pipeline_parallel=settings.pipeline_parallel,
        kv_cache_bits=kv_cache_bits(settings.kv_cache_dtype, settings, model.architecture.head_dim),
        eager=eager,
        quantized_at_load=quantized_at_load(settings, model),
        lora=lora_slots(settings),
        draft=draft_model(settings),
        symmetric_memory=gpu.compute_capability >= _HOPPER,
    )
