"""Context and batch sizes of a vLLM server: the profile's, or what is written in place of each."""

from __future__ import annotations

from dataclasses import dataclass

from planning.catalogue import GpuModel, LanguageModel
from settings.vllm import Profile, VllmSettings

_GIB_IN_MIB = 1024
_A100 = "A100"
_GB10 = (12, 1)
"""Compute capability of the GB10, which has the memory of a large card without its speed."""


@dataclass(frozen=True, kw_only=True)
class Batching:
    """Context and batch sizes, in tokens and sequences."""

    max_model_len: int
    max_num_seqs: int
    max_num_batched_tokens: int | None = None
    """Left to vLLM where neither the profile nor the stack file says."""


PROFILES: dict[Profile, Batching] = {
    "throughput": Batching(max_model_len=4096, max_num_seqs=512, max_num_batched_tokens=16384),
    "latency": Batching(max_model_len=2048, max_num_seqs=16, max_num_batched_tokens=2048),
    "longContext": Batching(max_model_len=16384, max_num_seqs=64),
    "balanced": Batching(max_model_len=8192, max_num_seqs=128, max_num_batched_tokens=8192),
}


def plan_batching(
    name: str, settings: VllmSettings, model: LanguageModel | None, *, problems: list[str], warnings: list[str]
) -> Batching:
    """The sizes of server `name`; those that vLLM would refuse together are added to `problems`.

    Args:
        model: what is known of the model; a profile's context is no longer than the model's own.
    """
    profile = PROFILES[settings.profile]
    context = settings.max_model_len
    if context is None:
        longest = model.architecture.context_tokens if model and not settings.hf_overrides else profile.max_model_len
        context = min(profile.max_model_len, longest)
    seqs = profile.max_num_seqs if settings.max_num_seqs is None else settings.max_num_seqs
    tokens = settings.max_num_batched_tokens
    if tokens is None and profile.max_num_batched_tokens is not None:
        # The profile's value gives way to what is written.
        least = context if settings.chunked_prefill is False else 1
        tokens = max(profile.max_num_batched_tokens, seqs, least)
    elif tokens is not None:
        _check_tokens(name, settings, tokens, seqs, context, problems)
    queued = settings.max_num_queued_reqs
    if queued is not None and queued < seqs:
        warnings.append(
            f"models.{name}.maxNumQueuedReqs: {queued} counts requests that run too, so of the {seqs} sequences that "
            f"may run at once (maxNumSeqs) {seqs - queued} never do. Write more than {seqs}, or maxNumSeqs: {queued}."
        )
    return Batching(max_model_len=context, max_num_seqs=seqs, max_num_batched_tokens=tokens)


def _check_tokens(name: str, settings: VllmSettings, tokens: int, seqs: int, context: int, problems: list[str]) -> None:
    """vllm/config/scheduler.py, verify_max_model_len."""
    if tokens < seqs and settings.max_num_seqs is None:  # written both, the settings tell it
        problems.append(
            f"models.{name}.maxNumBatchedTokens: {tokens} tokens a step for the {seqs} sequences of profile "
            f"{settings.profile}, each of which takes one at least, so vLLM would refuse to start. Write {seqs} or "
            f"more, or maxNumSeqs: {tokens}."
        )
    if settings.chunked_prefill is False and tokens < context:
        problems.append(
            f"models.{name}.maxNumBatchedTokens: {tokens} tokens a step, but without chunkedPrefill a prompt of "
            f"maxModelLen {context} is computed in one, so vLLM would refuse to start. Write {context} or more, or "
            "leave chunkedPrefill out."
        )


def default_batched_tokens(gpu: GpuModel) -> int:
    """What vLLM computes in a step where nothing says it (vllm/engine/arg_utils.py, get_batch_defaults)."""
    if gpu.memory_mib >= 160 * _GIB_IN_MIB:
        return 16384
    slow = gpu.compute_capability == _GB10 or any(_A100 in product for product in gpu.products)
    return 8192 if gpu.memory_mib >= 70 * _GIB_IN_MIB and not slow else 2048
