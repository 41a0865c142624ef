"""What would fit where a model does not: more GPUs, more of a shared one, a smaller cache or checkpoint."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from planning.catalogue import Architecture, LanguageModel, hub_models
from planning.memory import VllmLoad, vllm_memory

_GIB = 2**30
_LEAST_CONTEXT = 128
"""As settings.vllm has it (maxModelLen)."""

_GPUS = (1, 2, 4, 8, 16)
"""Numbers that servers come with; NodeSettings takes no more than 16."""


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """Ways out, each by itself enough."""

    fp8_cache: bool
    """Whether a KV cache in FP8 fits where one in 16 bits does not."""

    share: float | None
    """Smallest part of a shared GPU, in hundredths, in which the same checkpoint fits; None for a GPU that is not
    shared, or where all of it is not enough."""

    gpus: int | None
    """Fewest GPUs of the same kind on which the same checkpoint fits; None where no number of one node does, or where
    it shares its GPU."""

    checkpoint: LanguageModel | None
    """The most exact smaller checkpoint of the same model that fits on the GPUs as they are; None for none known."""

    def repair(self, *, available_gpus: int, context: int | None = None) -> str:
        """What to do, e.g. `Write gpus: 8, or take owner/name-AWQ (awq, 37 GiB).`

        Args:
            available_gpus: GPUs of one node that a pod could have.
            context: the largest that fits as it is; None where none does.
        """
        written = []
        if context is not None and context >= _LEAST_CONTEXT:
            written.append(f"{context} or less")
        if self.fp8_cache:
            written.append("kvCacheDtype: fp8")
        if self.share is not None:
            rest = f"leaves {1 - self.share:.2g} of the card to others" if self.share < 1 else "is the whole card"
            written.append(f"gpuShare: {self.share:g} (which {rest})")
        if self.gpus is not None:
            node = "" if self.gpus <= available_gpus else f" (a node with {self.gpus} such GPUs is needed)"
            written.append(f"gpus: {self.gpus}{node}")
        ways = [f"write {', or '.join(written)}"] if written else []
        if (smaller := self.checkpoint) is not None:
            size = f"{smaller.files_bytes / _GIB:.0f} GiB"
            ways.append(f"take {smaller.name} ({smaller.quantization.value}, {size})")
        told = ", or ".join(ways) or "choose a model with smaller weights, or larger GPUs"
        return f"{told[0].upper()}{told[1:]}."


def fitting_alternatives(
    model: LanguageModel,
    load: VllmLoad,
    *,
    limit_mib: int,
    gpus: Iterable[int] = _GPUS,
    limit_of: Callable[[float], int] | None = None,
    fp8_bits: float | None = None,
) -> Alternatives:
    """What would hold `load`, where one vLLM server may take `limit_mib` of each GPU.

    Args:
        model: the checkpoint that does not fit.
        load: how it is to be served; context and batch sizes stay as they are.
        gpus: numbers of GPUs to try besides that of `load`, e.g. those of the nodes that there are.
        limit_of: of a shared GPU, what the server may take of it with a share; several of them it cannot have.
        fp8_bits: of one element of a cache in FP8; None where that is no way out.
    """
    have = load.tensor_parallel * load.pipeline_parallel
    enough = (
        count
        for count in sorted(set(gpus))
        if limit_of is None
        and count > have
        and _divisible(model.architecture, count)
        and _fits(model, replace(load, tensor_parallel=count, pipeline_parallel=1), limit_mib)
    )
    # What vLLM makes of weights while it loads them is said of the checkpoint that is written, not of another.
    as_published = replace(load, quantized_at_load=None)
    smaller = [
        other
        for other in hub_models().values()
        if other.files_bytes < model.files_bytes
        and other.uses == model.uses
        and _same_model(other.architecture, model.architecture)
        and _fits(other, as_published, limit_mib)
    ]
    return Alternatives(
        fp8_cache=fp8_bits is not None and _fits(model, replace(load, kv_cache_bits=fp8_bits), limit_mib),
        share=_least_share(model, load, limit_of) if limit_of else None,
        gpus=next(enough, None),
        checkpoint=max(smaller, key=lambda other: (other.files_bytes, other.name), default=None),
    )


def _least_share(model: LanguageModel, load: VllmLoad, limit_of: Callable[[float], int]) -> float | None:
    """Smallest share of one GPU that holds `load`; what fits a smaller one fits a larger one."""
    shares = [hundredth / 100 for hundredth in range(1, 101)]
    found = bisect_left(shares, True, key=lambda share: _fits(model, load, limit_of(share)))
    return shares[found] if found < len(shares) else None


def _divisible(shape: Architecture, gpus: int) -> bool:
    """Whether vLLM divides the heads over so many GPUs (planning.vllm_checks tells where it does not)."""
    latent = shape.latent_attention is not None
    return shape.attention_heads % gpus == 0 and (latent or shape.kv_heads % gpus == 0 or gpus % shape.kv_heads == 0)


def _fits(model: LanguageModel, load: VllmLoad, limit_mib: int) -> bool:
    memory = vllm_memory(model, load, limit_mib=limit_mib)
    if memory.gpu.weights_mib + memory.gpu.other_mib > memory.gpu.limit_mib:
        return False
    return memory.largest_context is None or memory.largest_context >= load.max_model_len


def _same_model(one: Architecture, other: Architecture) -> bool:
    """Whether they are of one shape; how far positions reach may differ between checkpoints."""
    return one.model_copy(update={"context_tokens": other.context_tokens}) == other
