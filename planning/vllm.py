"""One vLLM server: its command line, environment, sizes and budgets."""

from __future__ import annotations

from dataclasses import dataclass

from planning.autoscaling import plan_autoscale
from planning.catalogue import declared_model, gpu_models, hub_models
from planning.memory import VllmMemory, vllm_memory
from planning.pods import GIB, host_memory, shm_bytes, shutdown
from planning.rollout import Rollout
from planning.server_plan import OneModelPlan
from planning.startup import startup
from planning.vllm_arguments import PORT, vllm_arguments
from planning.vllm_batching import plan_batching
from planning.vllm_checks import VllmChecks
from planning.vllm_environment import check_extra_environment, vllm_environment
from planning.vllm_fit import VllmFit, utilization
from planning.vllm_flags import extra_arguments
from planning.vllm_load import draft_model, lora_slots, vllm_load
from planning.vllm_release import release, version_of
from planning.volumes import check_cache
from settings.base import quantity_bytes
from settings.node import NodeSettings
from settings.storage import StorageSettings
from settings.vllm import VllmSettings

__all__ = ["PORT", "VllmPlan", "plan_vllm"]

_DRAIN_SECONDS = 60
_UNKNOWN_FILES_BYTES = 20 * 10**9
"""Stands for the weights of a model that the catalogue does not know; only budgets and volumes are made of it."""


@dataclass(frozen=True, kw_only=True)
class VllmPlan(OneModelPlan):
    """Everything that the VllmServer component is made of.

    At once it works on no more sequences than `max_num_seqs`, and refuses what is beyond maxNumQueuedReqs.
    """

    max_num_seqs: int
    cached_full_length_requests: int | None
    """Requests of `max_model_len` tokens for which a pod's cache has room; None for an encoder, which keeps none."""

    served_names: tuple[str, ...]
    """What clients may write as `model`: the server's own name, and those of its adapters."""

    @property
    def served_name(self) -> str:
        """What clients write as `model`."""
        return self.name


def plan_vllm(
    name: str,
    settings: VllmSettings,
    *,
    nodes: tuple[str, ...],
    node: NodeSettings,
    rollout: Rollout,
    storage: StorageSettings,
    problems: list[str],
    warnings: list[str],
) -> VllmPlan:
    """The plan of one server.

    Args:
        nodes: node of each replica, as placed.
        node: one of them; all have GPUs of one model and platform.
        problems: what cannot be followed is added, as `path: fact, consequence, repair`.
        warnings: what may go wrong although it can be followed is added, in the same form.
    """
    facts, gpu = settings.architecture, gpu_models()[node.gpus.model]
    model = declared_model(settings.model, facts) if facts else hub_models().get(settings.model)
    known = release() if version_of(settings.image) == release().version else None
    VllmChecks(
        name=name,
        settings=settings,
        gpu=gpu,
        gpu_name=node.gpus.model,
        model=model,
        known=known,
        problems=problems,
        warnings=warnings,
    ).check()
    reserved = utilization(settings, settings.gpu_share or 1 / node.gpus.time_slices)
    batching = plan_batching(name, settings, model, problems=problems, warnings=warnings)
    eager = settings.enforce_eager if settings.enforce_eager is not None else node.platform == "wsl2"
    memory: VllmMemory | None = None
    if model and settings.pipeline_parallel <= model.architecture.layers:  # else there is nothing to divide
        load = vllm_load(settings, batching, model, gpu, eager=eager)
        memory = vllm_memory(model, load, limit_mib=int(gpu.memory_mib * reserved))
        VllmFit(
            name=name,
            settings=settings,
            node=node,
            gpu=gpu,
            model=model,
            load=load,
            memory=memory,
            known=known,
            problems=problems,
            warnings=warnings,
        ).check()
    draft = draft_model(settings)
    files_bytes = (model.files_bytes if model else _UNKNOWN_FILES_BYTES) + (draft.files_bytes if draft else 0)
    check_cache(name, settings.cache, files_bytes if model else None, problems)
    time = startup(files_bytes, storage, downloads=True, compiles=not eager)
    at_once = min(batching.max_num_seqs, settings.max_num_queued_reqs or batching.max_num_seqs)
    cached = memory.concurrent_full_length_requests if memory else None
    autoscale = (
        plan_autoscale(
            name,
            settings.autoscale,
            startup=time,
            max_num_seqs=at_once,
            problems=problems,
        )
        if settings.autoscale
        else None
    )
    shm = quantity_bytes(settings.shm) if settings.shm else shm_bytes(settings.gpus)
    cache = quantity_bytes(settings.cache) if settings.cache else (files_bytes * 6 // 5 // GIB + 10) * GIB
    environment = vllm_environment(node, time)
    check_extra_environment(f"models.{name}.extraEnvironment", settings.extra_environment, environment, known, problems)
    arguments = vllm_arguments(
        name,
        settings,
        batching,
        model,
        lora_slots(settings),
        utilization=reserved,
        eager=eager,
        drain_seconds=_DRAIN_SECONDS,
    )
    arguments += extra_arguments(
        f"models.{name}.extraArgs", settings.extra_args, known, problems=problems, warnings=warnings
    )
    return VllmPlan(
        name=name,
        image=settings.image,
        replicas=settings.autoscale.min if settings.autoscale else settings.replicas,
        autoscale=autoscale,
        gpus=settings.gpus,
        nodes=nodes,
        gpu_model=node.gpus.model,
        time_slices=node.gpus.time_slices,
        arguments=tuple(arguments),
        environment=environment | settings.extra_environment,
        rollout=rollout,
        startup=time,
        shutdown=shutdown(drain_seconds=_DRAIN_SECONDS),
        host_memory=host_memory(workers=settings.gpus, files_bytes=files_bytes, shm=shm),
        shm_bytes=shm,
        cache_bytes=cache,
        cache_follows_model=settings.cache is None,
        files_bytes=model.files_bytes if model else None,
        memory=memory.gpu if memory else None,
        max_model_len=batching.max_model_len,
        max_num_seqs=batching.max_num_seqs,
        cached_full_length_requests=cached,
        concurrent_full_length_requests=None if cached is None else min(cached, at_once),
        served_names=(name, *settings.lora_adapters),
    )
