"""Whether a model, its context and its load fit what a vLLM server may take of its GPUs, and what is done where not."""

from __future__ import annotations

from dataclasses import dataclass

from planning.alternatives import Alternatives, fitting_alternatives
from planning.catalogue import GpuModel, LanguageModel
from planning.memory import VllmLoad, VllmMemory
from planning.vllm_checks import reads_fp8_cache
from planning.vllm_flags import CACHE_RELIEF, WEIGHTS_RELIEF, written_of
from planning.vllm_load import kv_cache_bits
from planning.vllm_release import Release
from settings.node import NodeSettings
from settings.vllm import VllmSettings

_SIXTEEN_BIT_CACHES = ("auto", "float16", "bfloat16")


def utilization(settings: VllmSettings, share: float) -> float:
    """Part of a card that vLLM may reserve, where `share` of it is the server's."""
    return round(share * settings.gpu_memory_utilization, 3)


@dataclass(frozen=True, kw_only=True)
class VllmFit:
    """One server whose model is known; what does not fit goes to `problems`, and to `warnings` where a flag that is not
    counted may make it fit.
    """

    name: str
    settings: VllmSettings
    node: NodeSettings
    gpu: GpuModel
    model: LanguageModel
    load: VllmLoad
    memory: VllmMemory
    known: Release | None
    problems: list[str]
    warnings: list[str]

    def check(self) -> None:
        """The context against the model's own, weights and buffers against the limit, the context against the cache."""
        self._check_context()
        gpu, context = self.memory.gpu, self.load.max_model_len
        if gpu.weights_mib + gpu.other_mib > gpu.limit_mib:
            self._tell(
                f"models.{self.name}: weights {gpu.weights_mib} MiB and {gpu.other_mib} MiB of buffers exceed the "
                f"{gpu.limit_mib} MiB that it may take of each GPU, so it would run out of memory while it loads",
                WEIGHTS_RELIEF,
                self._alternatives(),
            )
        elif (largest := self.memory.largest_context) is not None and largest < context:
            self._tell(
                f"models.{self.name}.maxModelLen: a context of {context} tokens needs more KV cache than the "
                f"{gpu.kv_cache_mib} MiB that weights leave, so vLLM would refuse to start",
                CACHE_RELIEF,
                self._alternatives(),
                context=largest if self._stretched else min(largest, self.model.architecture.context_tokens),
            )

    @property
    def _stretched(self) -> bool:
        """Whether the stack file says itself how far the model's positions reach."""
        settings = self.settings
        return bool(settings.hf_overrides) or settings.extra_environment.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN") == "1"

    def _check_context(self) -> None:
        """vllm/config/model.py, _get_and_verify_max_len."""
        context, longest = self.load.max_model_len, self.model.architecture.context_tokens
        if context > longest and not self._stretched:
            self.problems.append(
                f"models.{self.name}.maxModelLen: {context} tokens, but {self.settings.model} was made for {longest}, "
                f"so vLLM would refuse to start. Write {longest} or less, or stretch its positions with hfOverrides "
                "(rope_parameters) where its authors say how."
            )

    def _alternatives(self) -> Alternatives:
        share = self.settings.gpu_share
        shared = self.node.gpus.time_slices > 1 or (share is not None and share < 1)
        return fitting_alternatives(
            self.model,
            self.load,
            limit_mib=self.memory.gpu.limit_mib,
            # A shared card is one for each pod: settings and placement refuse several, so only more of it is left.
            limit_of=self._limit_mib if shared else None,
            fp8_bits=self._fp8_bits(),
        )

    def _fp8_bits(self) -> float | None:
        """Bits of one element of a cache in FP8; None where that is no smaller, or vLLM could not read it."""
        settings, shape = self.settings, self.model.architecture
        latent, backend = shape.latent_attention is not None, settings.attention_backend
        if settings.kv_cache_dtype in _SIXTEEN_BIT_CACHES and reads_fp8_cache(self.gpu, backend, latent=latent):
            return kv_cache_bits("fp8", settings, shape.head_dim)
        return None

    def _limit_mib(self, share: float) -> int:
        return int(self.gpu.memory_mib * utilization(self.settings, share))

    def _tell(self, told: str, relief: tuple[str, ...], found: Alternatives, *, context: int | None = None) -> None:
        repair = found.repair(available_gpus=self.node.gpus.count, context=context)
        if written := written_of(relief, self.settings.extra_args, self.known):
            flags = " and ".join(f"extraArgs.{flag}" for flag in written)
            self.warnings.append(f"{told}, unless {flags}, which is not counted, leaves enough. {repair}")
        else:
            self.problems.append(f"{told}. {repair}")
