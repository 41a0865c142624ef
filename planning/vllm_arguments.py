"""The command line of a vLLM server."""

from __future__ import annotations

import json
from collections.abc import Mapping

from planning.catalogue import LanguageModel
from planning.memory import LoraSlots
from planning.vllm_batching import Batching
from settings.vllm import VllmSettings
from settings.vllm_speculative import SpeculativeSettings
from settings.vllm_structured_outputs import StructuredOutputsSettings

PORT = 8000


def vllm_arguments(
    name: str,
    settings: VllmSettings,
    batching: Batching,
    model: LanguageModel | None,
    lora: LoraSlots | None,
    *,
    utilization: float,
    eager: bool,
    drain_seconds: int,
) -> list[str]:
    """Arguments after `vllm serve`, without extraArgs: the model positional and first, since some flags swallow what
    follows them.

    Args:
        name: what clients write as `model`.
        utilization: part of the whole card that vLLM may reserve.
        drain_seconds: how long requests in flight may go on at the pod's end.
    """
    arguments = [
        settings.model,
        f"--served-model-name={name}",
        f"--port={PORT}",
        f"--tensor-parallel-size={settings.tensor_parallel_size}",
        f"--gpu-memory-utilization={utilization:g}",
        f"--max-model-len={batching.max_model_len}",
        f"--max-num-seqs={batching.max_num_seqs}",
        f"--shutdown-timeout={drain_seconds}",
        "--enable-request-id-headers",
    ]
    values = {
        "max-num-batched-tokens": batching.max_num_batched_tokens,
        "pipeline-parallel-size": settings.pipeline_parallel if settings.pipeline_parallel > 1 else None,
        "max-num-queued-reqs": settings.max_num_queued_reqs,
        "revision": settings.revision,
        "dtype": None if settings.dtype == "auto" else settings.dtype,
        "quantization": settings.quantization,
        "kv-cache-dtype": None if settings.kv_cache_dtype == "auto" else settings.kv_cache_dtype,
        "attention-backend": settings.attention_backend,
        "runner": _runner(settings, model),
        "seed": settings.seed,
        "hf-overrides": _json(settings.hf_overrides) if settings.hf_overrides else None,
        "speculative-config": _speculative(settings.speculative) if settings.speculative else None,
        "structured-outputs-config": _structured_outputs(settings.structured_outputs),
        "tool-call-parser": settings.tool_call_parser,
        "reasoning-parser": settings.reasoning_parser,
        "chat-template": settings.chat_template,
        "max-loras": lora.count if lora else None,
        "max-lora-rank": lora.rank if lora else None,
    }
    switches: dict[str, bool | None] = {
        "enforce-eager": True if eager else None,  # False is what vLLM does by itself
        "enable-prefix-caching": settings.prefix_caching,
        "enable-chunked-prefill": settings.chunked_prefill,
        "enable-lora": True if lora else None,
        "enable-auto-tool-choice": True if settings.tool_call_parser else None,
        "trust-remote-code": settings.trust_remote_code or None,
    }
    arguments += [f"--{flag}={value}" for flag, value in values.items() if value is not None]
    arguments += [_switch(flag, on=on) for flag, on in switches.items() if on is not None]
    if lora:
        arguments += [
            "--lora-modules",
            *(f"{adapter}={found.source}" for adapter, found in settings.lora_adapters.items()),
        ]
    return arguments


def _switch(flag: str, *, on: bool) -> str:
    """`--no-enable-x` is what every release takes; `--disable-x` came late (utils/argparse_utils.py)."""
    return f"--{flag}" if on else f"--no-{flag}"


def _runner(settings: VllmSettings, model: LanguageModel | None) -> str | None:
    """Said where the model's own files might say too little: many embedding models are of a chat model's class."""
    if settings.runner != "auto":
        return settings.runner
    return "pooling" if model is not None and model.is_embedding else None


def _speculative(settings: SpeculativeSettings) -> str:
    written = {
        "method": settings.method,
        "model": settings.model,
        "num_speculative_tokens": settings.num_speculative_tokens,
        "prompt_lookup_min": settings.prompt_lookup_min,
        "prompt_lookup_max": settings.prompt_lookup_max,
        "draft_tensor_parallel_size": settings.draft_tensor_parallel,
    }
    return _json({key: value for key, value in written.items() if value is not None})


def _structured_outputs(settings: StructuredOutputsSettings) -> str | None:
    written = settings.model_dump(exclude_defaults=True)
    return _json(written) if written else None


def _json(value: Mapping[str, object]) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
