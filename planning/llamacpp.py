"""One llama.cpp server: its command line, environment, sizes and budgets."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from planning.catalogue import LanguageModel, Quantization, declared_model, gguf_model, gpu_models, hub_models
from planning.catalogue.gguf_names import GGUF_TYPES
from planning.engine_flags import extra_arguments, flag_table
from planning.llamacpp_arguments import PORT, llamacpp_arguments, llamacpp_environment
from planning.llamacpp_flags import REFUSED, SETTINGS
from planning.llamacpp_memory import ELEMENT_BITS, llamacpp_load, llamacpp_memory, uncounted_flags
from planning.memory import MIB
from planning.pods import GIB, HostMemory, host_memory, shutdown
from planning.prompt_caches import checkpoints, prompt_bytes
from planning.rollout import Rollout
from planning.server_plan import OneModelPlan
from planning.startup import startup
from planning.volumes import check_cache
from settings.base import quantity_bytes
from settings.llamacpp import CLAIM_FOLDER, LlamaCppSettings
from settings.node import NodeSettings
from settings.storage import StorageSettings

__all__ = ["CLAIM_FOLDER", "PORT", "LlamaCppPlan", "plan_llamacpp"]

_DRAIN_SECONDS = 60
_UBATCH_TOKENS = 512
"""llama.cpp's own --ubatch-size."""

_UNKNOWN_FILES_BYTES = 5 * 10**9
"""Stands for a file that the catalogue does not know; only budgets and volumes are made of it."""

_QUANTIZATION_IN_NAME = re.compile(r"(?<![A-Za-z0-9])(IQ\d\w*|Q\d\w*|F16|MXFP4)(?![A-Za-z0-9])", re.IGNORECASE)

_BUILD = re.compile(r":[\w.-]*?\b(b\d+)(?:@|$)")
"""In the tag of an image."""

_BLOCK = 32
"""Elements of one block of every quantized type."""

_STRETCHES = ("rope-", "yarn-", "override-kv")
"""Flags by which a model may be given a longer context than it was made for."""


@dataclass(frozen=True, kw_only=True)
class LlamaCppPlan(OneModelPlan):
    """Everything that the LlamaCppServer component is made of. Its metrics feed no autoscaler."""

    model: str
    """As the stack file names it."""

    embeds: bool
    """Whether it is there for embeddings, and not for chats."""

    claim: str | None
    """Existing claim with the model's file; None where the server downloads it."""

    spilled_layers: int
    """Layers that the CPU computes, as `gpuLayers` asks for it; 0 where the model is not known."""

    @property
    def served_names(self) -> tuple[str, ...]:
        """What clients write as `model`."""
        return (self.name,)


def plan_llamacpp(
    name: str,
    settings: LlamaCppSettings,
    *,
    nodes: tuple[str, ...],
    node: NodeSettings,
    rollout: Rollout,
    storage: StorageSettings,
    problems: list[str],
    warnings: list[str],
) -> LlamaCppPlan:
    """The plan of one server; arguments as for vLLM."""
    model = _model(settings)
    context = settings.context_length
    ubatch = settings.ubatch_size or (context if settings.embeddings else _UBATCH_TOKENS)
    share = settings.gpu_share or 1 / node.gpus.time_slices
    limit_mib = int(gpu_models()[node.gpus.model].cuda_mib * share)
    extra = extra_arguments(
        f"models.{name}.extraArgs",
        settings.extra_args,
        flag_table("llama-server"),
        settings=SETTINGS,
        refused=REFUSED,
        problems=problems,
    )
    _check_release(name, settings, warnings)
    load = llamacpp_load(settings, extra, ubatch=ubatch)
    memory, held_mib = None, 0
    if model is None:
        warnings.append(
            f"models.{name}.model: what {settings.model} takes is not known, so neither is whether it fits, and its "
            "volume is made for 5 GB. Write its architecture (`llmctl catalogue add` prints it)."
        )
    else:
        counted = llamacpp_memory(
            name, settings, model, load, extra, limit_mib=limit_mib, problems=problems, warnings=warnings
        )
        memory, held_mib = counted.memory, counted.held_mib
        uncounted_flags(name, settings, extra, warnings)
        _check_use(name, settings, model, problems)
    files_bytes = model.files_bytes if model else _UNKNOWN_FILES_BYTES
    budget = settings.prompt_cache_mib * MIB
    kept = checkpoints(model, load, budget_bytes=budget)
    prompts = prompt_bytes(model, load, checkpoints=kept, budget_bytes=budget)
    check_cache(name, settings.cache, files_bytes if model else None, problems)
    return LlamaCppPlan(
        name=name,
        model=settings.model,
        image=settings.image,
        replicas=settings.replicas,
        gpus=settings.gpus,
        nodes=nodes,
        gpu_model=node.gpus.model,
        time_slices=node.gpus.time_slices,
        arguments=llamacpp_arguments(name, settings, ubatch=ubatch, checkpoints=kept, extra=extra),
        environment=llamacpp_environment(node),
        rollout=rollout,
        startup=startup(files_bytes, storage, downloads=not settings.is_local, compiles=False),
        shutdown=shutdown(drain_seconds=_DRAIN_SECONDS),
        host_memory=_host_memory(files_bytes, held_mib, prompts),
        embeds=settings.embeddings,
        claim=settings.claim,
        cache_bytes=_cache_bytes(settings, files_bytes),
        files_bytes=model.files_bytes if model and not settings.is_local else None,
        cache_follows_model=settings.cache is None,
        memory=memory.gpu if memory else None,
        spilled_layers=memory.spilled_layers if memory else 0,
        max_model_len=context,
        concurrent_full_length_requests=settings.parallel if memory else None,
    )


def _model(settings: LlamaCppSettings) -> LanguageModel | None:
    """What is known of the file: by the stack file's own facts, by the catalogue, or of the model that it is a GGUF of.

    `OWNER/NAME-GGUF` is a GGUF of the model NAME, whoever has quantized it; the shape is that of the model, and the
    size of the file follows from it and the quantization, which its name says.
    """
    quantization = _quantization(settings)
    if (facts := settings.architecture) is not None:
        if quantization is not None and "quantization" not in facts.model_fields_set:
            facts = facts.model_copy(update={"quantization": quantization})
        return declared_model(settings.model, facts)
    if quantization is None or settings.is_local:
        return None
    repository = settings.model.partition(":")[0]
    if (listed := gguf_model(f"{repository}:{quantization.value}")) is not None:
        return listed
    base = re.sub(r"-GGUF$", "", repository.partition("/")[2], flags=re.IGNORECASE).lower()
    found = next((model for name, model in hub_models().items() if name.partition("/")[2].lower() == base), None)
    if found is None:
        return None
    return replace(found, name=settings.model, quantization=quantization, measured_bytes=None, gated=False)


def _quantization(settings: LlamaCppSettings) -> Quantization | None:
    """That which the tag, or else the name of the file, says; None where that is none we know."""
    tag = settings.model.partition(":")[2]
    named = [tag] if tag else _QUANTIZATION_IN_NAME.findall(settings.file or settings.model)
    return next((GGUF_TYPES[word.lower()] for word in named if word.lower() in GGUF_TYPES), None)


def _check_release(name: str, settings: LlamaCppSettings, warnings: list[str]) -> None:
    """Flags that are held against those of another build than the image's are added to `warnings`."""
    table = flag_table("llama-server")
    build = found[1] if (found := _BUILD.search(settings.image)) else None
    if settings.extra_args and build not in (table.release, *table.taken_for):
        warnings.append(
            f"models.{name}.extraArgs: are checked against the flags of llama-server {table.release}, and "
            f"{settings.image} is {'another build' if build else 'of a build that its tag does not say'}, so what has "
            "changed between them shows when the pod starts. Read its log."
        )


def _check_use(name: str, settings: LlamaCppSettings, model: LanguageModel, problems: list[str]) -> None:
    """What the model is not made for is added to `problems`."""
    longest = model.architecture.context_tokens
    stretched = any(flag.startswith(_STRETCHES) for flag in settings.extra_args)
    if settings.context_length > longest and not stretched:
        problems.append(
            f"models.{name}.contextLength: {settings.context_length} tokens, but {settings.model} was made for "
            f"{longest}, and llama-server gives a request no more, whatever is reserved. Write {longest} or less."
        )
    size = model.architecture.head_dim
    for key, kind in (("cacheTypeK", settings.cache_type_k), ("cacheTypeV", settings.cache_type_v)):
        if ELEMENT_BITS[kind] < 16 and size % _BLOCK and model.architecture.latent_attention is None:
            problems.append(
                f"models.{name}.{key}: {kind} has blocks of {_BLOCK} elements, which do not divide a head of {size} of "
                f"{settings.model}, so llama-server would end while it loads. Write f16."
            )
    if model.is_embedding and not settings.embeddings:
        problems.append(
            f"models.{name}.embeddings: is false, and {settings.model} makes embeddings, which llama-server would "
            "refuse to give. Write embeddings: true."
        )


def _host_memory(files_bytes: int, held_mib: int, prompts: int) -> HostMemory:
    """As for all engines, with what stays in host memory: layers of the CPU, and what is kept of prompts."""
    usual, held = host_memory(workers=1, files_bytes=files_bytes, shm=0), held_mib * MIB
    return HostMemory(
        request_bytes=usual.request_bytes + held,
        limit_bytes=usual.limit_bytes + held + prompts,
        filled_bytes=prompts,
    )


def _cache_bytes(settings: LlamaCppSettings, files_bytes: int) -> int:
    if settings.cache is not None:
        return quantity_bytes(settings.cache)
    return GIB if settings.is_local else (files_bytes * 6 // 5 // GIB + 2) * GIB
