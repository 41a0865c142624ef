"""What would fit where a model does not: more GPUs, or a smaller checkpoint of the same model."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from planning.catalogue import Architecture, LanguageModel, hub_models
from planning.memory import VllmLoad, vllm_memory

_GIB = 2**30
_GPUS = (1, 2, 4, 8, 16)
"""Numbers that servers come with; NodeSettings takes no more than 16."""


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """Two ways out, each by itself enough."""

    gpus: int | None
    """Fewest GPUs of the same kind on which the same checkpoint fits; None where no number of one node does."""

    checkpoint: LanguageModel | None
    """The most exact smaller checkpoint of the same model that fits on the GPUs as they are; None for none known."""

    def repair(self, *, available_gpus: int) -> str:
        """What to do, e.g. `Write gpus: 8, or take owner/name-AWQ (awq, 37 GiB).`

        Args:
            available_gpus: GPUs of one node that a pod could have.
        """
        ways = []
        if self.gpus is not None:
            node = "" if self.gpus <= available_gpus else f" (a node with {self.gpus} such GPUs is needed)"
            ways.append(f"write gpus: {self.gpus}{node}")
        if (smaller := self.checkpoint) is not None:
            size = f"{smaller.files_bytes / _GIB:.0f} GiB"
            ways.append(f"take {smaller.name} ({smaller.quantization.value}, {size})")
        told = ", or ".join(ways) or "choose a model with smaller weights, or larger GPUs"
        return f"{told[0].upper()}{told[1:]}."


def fitting_alternatives(
    model: LanguageModel, load: VllmLoad, *, limit_mib: int, gpus: Iterable[int] = _GPUS
) -> Alternatives:
    """What would hold `load`, where one vLLM server may take `limit_mib` of each GPU.

    Args:
        model: the checkpoint that does not fit.
        load: how it is to be served; context and batch sizes stay as they are.
        gpus: numbers of GPUs to try besides that of `load`, e.g. those of the nodes that there are.
    """
    have = load.tensor_parallel * load.pipeline_parallel
    enough = (
        count
        for count in sorted(set(gpus))
        if count > have
        and model.architecture.attention_heads % count == 0
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
        gpus=next(enough, None),
        checkpoint=max(smaller, key=lambda other: (other.files_bytes, other.name), default=None),
    )


def _fits(model: LanguageModel, load: VllmLoad, limit_mib: int) -> bool:
    memory = vllm_memory(model, load, limit_mib=limit_mib)
    if memory.gpu.weights_mib + memory.gpu.other_mib > memory.gpu.limit_mib:
        return False
    return memory.largest_context is None or memory.largest_context >= load.max_model_len


def _same_model(one: Architecture, other: Architecture) -> bool:
    """Whether they are of one shape; how far positions reach may differ between checkpoints."""
    return one.model_copy(update={"context_tokens": other.context_tokens}) == other
