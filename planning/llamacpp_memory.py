"""What one llama.cpp server takes of each of its GPUs, and what is told of flags that change it uncounted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from planning.catalogue import LanguageModel
from planning.engine_flags import Argument
from planning.memory import LlamaCppLoad, LlamaCppMemory, llama_cpp_memory
from settings.llamacpp import CacheType, LlamaCppSettings

ELEMENT_BITS: dict[CacheType, float] = {
    # Blocks of 32 elements with their scales (ggml-common.h): q8_0 has 34 bytes, q5_1 24, q5_0 22, q4_1 20, others 18.
    "f32": 32,
    "f16": 16,
    "bf16": 16,
    "q8_0": 8.5,
    "q5_1": 6,
    "q5_0": 5.5,
    "q4_1": 5,
    "q4_0": 4.5,
    "iq4_nl": 4.5,
}
"""Bits of one element of the cache, with its share of scales."""

_TAKES_OFF = {
    "--cpu-moe",
    "--n-cpu-moe",
    "--override-tensor",
    "--no-kv-offload",
    "--no-mmproj",
    "--no-mmproj-auto",
    "--no-mmproj-offload",
    "--rpc",
}
"""Flags by which less is on the GPUs than is counted: parts are left out, in host memory, or on other machines."""

_PUTS_ON = {
    "--spec-draft-hf",
    "--hf-repo-draft",
    "--spec-draft-model",
    "--model-draft",
    "--mmproj",
    "--mmproj-url",
    "--lora",
    "--lora-scaled",
    "--control-vector",
    "--control-vector-scaled",
    "--device",
}
"""Flags by which more is on a GPU than is counted: of other files, or what another GPU is not to hold."""

_NOTHING = ("0", "none")
"""Values with which such a flag does nothing."""


@dataclass(frozen=True, kw_only=True)
class Counted:
    """What is known of the memory of one server."""

    memory: LlamaCppMemory
    held_mib: int
    """Host memory of what is not on GPUs, beside what every server has there."""


def llamacpp_load(settings: LlamaCppSettings, extra: Sequence[Argument], *, ubatch: int) -> LlamaCppLoad:
    """How the model is loaded with `settings` and the flags of `extra`, `ubatch` tokens computed at once."""
    switches = {argument.name for argument in extra if argument.value is None}
    return LlamaCppLoad(
        context_tokens=settings.context_length * settings.parallel,
        key_bits=ELEMENT_BITS[settings.cache_type_k],
        value_bits=ELEMENT_BITS[settings.cache_type_v],
        ubatch_tokens=ubatch,
        gpus=settings.gpus,
        gpu_parts=tuple(settings.tensor_split or ()),
        sequences=settings.parallel,
        unified_cache="--kv-unified" in switches,
        flash_attention=settings.flash_attention is not False,
        full_window_cache="--swa-full" in switches,
        margin_mib=0,
    )


def llamacpp_memory(
    name: str,
    settings: LlamaCppSettings,
    model: LanguageModel,
    load: LlamaCppLoad,
    extra: Sequence[Argument],
    *,
    limit_mib: int,
    problems: list[str],
    warnings: list[str],
) -> Counted:
    """What the layers that are asked for take; what does not fit is added to `problems`.

    llama-server is told how many layers go to the GPU, and would end where they do not fit. Where a flag takes parts
    off the GPUs nobody knows here whether they do, so that it is added to `warnings`.
    """
    everything = model.architecture.layers + 1
    asked = everything if settings.gpu_layers is None else min(settings.gpu_layers, everything)
    memory = llama_cpp_memory(model, replace(load, gpu_layers=asked), limit_mib=limit_mib)
    held = memory.host_mib if memory.spilled_layers else 0
    excess = memory.gpu.total_mib - limit_mib
    if excess <= 0:
        return Counted(memory=memory, held_mib=held)
    exceeds = (
        f"models.{name}: weights {memory.gpu.weights_mib} MiB, {memory.gpu.kv_cache_mib} MiB of cache for "
        f"{settings.parallel} x {settings.context_length} tokens and {memory.gpu.other_mib} MiB of buffers exceed "
        f"the {limit_mib} MiB that it may take of each GPU"
    )
    if taking_off := _written(extra, _TAKES_OFF):
        flags = " and ".join(f"extraArgs.{_key(argument, settings)}" for argument in taking_off)
        warnings.append(
            f"{exceeds}, which holds only where {flags} takes {excess} MiB off it; llama-server would else end while "
            "it loads. Watch the first start."
        )
        # What must be off the GPU is taken for weights in host memory.
        fitting = replace(memory.gpu, weights_mib=max(0, memory.gpu.weights_mib - excess))
        return Counted(memory=replace(memory, gpu=fitting), held_mib=held + excess * settings.gpus)
    problems.append(
        f"{exceeds}, so llama-server would end while it loads. Write "
        f"{' or '.join(_ways(settings, model, load, memory, limit_mib=limit_mib))}; or take a smaller quantization."
    )
    return Counted(memory=memory, held_mib=held)


def _ways(
    settings: LlamaCppSettings, model: LanguageModel, load: LlamaCppLoad, memory: LlamaCppMemory, *, limit_mib: int
) -> list[str]:
    """Settings with which the model fits."""
    everything = model.architecture.layers + 1
    largest = memory.largest_context // settings.parallel
    ways = [f"contextLength: {largest}"] if largest >= 128 else []  # the least that settings take
    even = llama_cpp_memory(model, replace(load, gpu_parts=()), limit_mib=limit_mib)
    if load.gpu_parts and not even.spilled_layers:
        ways.append(f"tensorSplit: {[1] * settings.gpus}")
    fitting = everything - llama_cpp_memory(model, load, limit_mib=limit_mib).spilled_layers
    ways.append(f"gpuLayers: {fitting}, with which the CPU computes the other {everything - fitting}")
    return ways


def uncounted_flags(name: str, settings: LlamaCppSettings, extra: Sequence[Argument], warnings: list[str]) -> None:
    """Flags of the server `name` that change what is on the GPUs, which nobody counts, are added to `warnings`."""
    path = f"models.{name}.extraArgs"
    for argument in _written(extra, _TAKES_OFF):
        warnings.append(
            f"{path}.{_key(argument, settings)}: takes parts of the model off the pod's GPUs, which the plan "
            "does not count: less of their memory is taken than it says, and more elsewhere. Watch the first start."
        )
    for argument in _written(extra, _PUTS_ON):
        warnings.append(
            f"{path}.{_key(argument, settings)}: puts more on a GPU than the plan counts, and llama-server "
            "would end while it loads where that does not fit. Leave room for it, and watch the first start."
        )


def _written(extra: Sequence[Argument], flags: set[str]) -> list[Argument]:
    return [argument for argument in extra if argument.name in flags and argument.value not in _NOTHING]


def _key(argument: Argument, settings: LlamaCppSettings) -> str:
    """What the stack file calls it: `no-x: true` and `x: false` are one flag."""
    key = argument.name.removeprefix("--")
    return key if key in settings.extra_args else key.removeprefix("no-")
