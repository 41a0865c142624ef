"""One Ollama server: environment, models to have on disk, custom models, budgets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from planning.catalogue import gpu_models
from planning.memory import LlamaCppMemory
from planning.ollama_host_memory import ollama_checkpoints, ollama_host_memory
from planning.ollama_memory import (
    UNKNOWN_FILES_BYTES,
    ServedModel,
    layer_problems,
    serial_warnings,
    served_models,
    spill_warnings,
)
from planning.ollama_sharing import share_warnings, sharing_warnings
from planning.platforms import platform_environment
from planning.pods import shutdown
from planning.rollout import Rollout
from planning.server_plan import GpuServerPlan
from planning.startup import Startup, startup
from settings.base import quantity_bytes
from settings.modelfile import ModelfileSettings, modelfile_text
from settings.node import NodeSettings
from settings.ollama import OllamaSettings
from settings.storage import StorageSettings

PORT = 11434
FILES_PATH = "/files"
"""Where the Job that makes custom models has the files that they are made from."""

_DRAIN_SECONDS = 30
_LOAD_TIMEOUT_SECONDS = 300
"""Ollama's own (envconfig/config.go)."""


@dataclass(frozen=True, kw_only=True)
class FilesPlan:
    """Where the files are that custom models are made from."""

    claim: str
    """PersistentVolumeClaim that the Job mounts."""

    node_path: str | None
    """Folder of the node that the claim stands for; None where somebody else has made the claim."""

    node: str
    """The node of that folder."""


@dataclass(frozen=True, kw_only=True)
class OllamaPlan(GpuServerPlan):
    """Everything that the OllamaServer component is made of. One process serves, and queues by itself."""

    pull: tuple[str, ...]
    modelfiles: dict[str, str]
    """Text of each Modelfile by the name of the model that it makes."""

    files: FilesPlan | None
    storage_bytes: int
    download_budget_seconds: int
    gpu_memory_limit_mib: int
    loads: dict[str, LlamaCppMemory]
    """Memory of each model that is known, by the name that it is served under."""

    max_model_len: int
    """Context of one request that says none, in tokens, of the model that has most."""

    concurrent_full_length_requests: int | None
    """Requests that each model answers at once, those for embeddings left out beside others; None where none is known.
    """

    @property
    def served_names(self) -> tuple[str, ...]:
        """What clients may write as `model`."""
        return (*self.pull, *self.modelfiles)

    @property
    def models_key(self) -> str:
        """Eight hexadecimal digits that change whenever the models to have on disk do."""
        told: list[object] = [self.image, self.pull, self.modelfiles]
        if self.files is not None:
            told.append(self.files.claim)
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:8]


def plan_ollama(
    name: str,
    settings: OllamaSettings,
    *,
    nodes: tuple[str, ...],
    node: NodeSettings,
    rollout: Rollout,
    storage: StorageSettings,
    problems: list[str],
    warnings: list[str],
) -> OllamaPlan:
    """The plan of one server; arguments as for vLLM."""
    gpu = gpu_models()[node.gpus.model]
    share = settings.gpu_share or 1 / node.gpus.time_slices
    limit_mib = int(gpu.cuda_mib * share)
    served = served_models(name, settings, limit_mib=limit_mib, problems=problems, warnings=warnings)
    for model in served.values():
        problems += layer_problems(name, model, limit_mib=limit_mib)
    # Custom models that are loaded as their origin is are told with it.
    for model in reversed({(model.model, model.load): model for model in reversed(served.values())}.values()):
        warnings += spill_warnings(name, model, settings, gpu=gpu, limit_mib=limit_mib)
    warnings += serial_warnings(name, settings, served.values())
    warnings += sharing_warnings(name, settings, served, limit_mib=limit_mib)
    if node.gpus.time_slices > 1:
        warnings += share_warnings(name, settings, served, card_mib=gpu.cuda_mib, limit_mib=limit_mib)
    fetched = [_files_bytes(model) for model in served.values() if _has_files(model.name, settings)]
    _check_storage(name, settings, sum(fetched), problems)
    # Ollama loads a model when it is first asked for: the server itself is up as soon as its process is.
    time = startup(max(fetched), storage, downloads=False, compiles=False)
    loads = {model.name: model.memory for model in served.values() if model.memory is not None}
    kept = ollama_checkpoints(settings, served)
    largest = max((memory.gpu for memory in loads.values()), key=lambda memory: memory.total_mib, default=None)
    return OllamaPlan(
        name=name,
        image=settings.image,
        gpus=settings.gpus,
        nodes=nodes,
        gpu_model=node.gpus.model,
        time_slices=node.gpus.time_slices,
        pull=tuple(settings.pull),
        modelfiles={made: _modelfile(modelfile) for made, modelfile in settings.modelfiles.items()},
        files=_files(name, settings, nodes[0]),
        environment=_environment(settings, node, time, checkpoints=kept),
        rollout=rollout,
        startup=time,
        shutdown=shutdown(drain_seconds=_DRAIN_SECONDS),
        files_bytes=sum(fetched),
        host_memory=ollama_host_memory(settings, max(fetched), served, kept_checkpoints=kept),
        storage_bytes=quantity_bytes(settings.storage),
        download_budget_seconds=startup(sum(fetched), storage, downloads=True, compiles=False).budget_seconds,
        gpu_memory_limit_mib=limit_mib,
        memory=largest,
        loads=loads,
        max_model_len=max(model.context_tokens for model in served.values()),
        concurrent_full_length_requests=_at_once(served.values()),
    )


def _at_once(served: Iterable[ServedModel]) -> int | None:
    known = [(model.model, model.load) for model in served if model.model is not None]
    chats = [load.sequences for model, load in known if not model.is_embedding]
    return min(chats or [load.sequences for _, load in known], default=None)


def _has_files(name: str, settings: OllamaSettings) -> bool:
    """Whether `name` comes with weights of its own, rather than as another name for those of a pulled model."""
    return name in settings.pull or settings.modelfiles[name].from_.startswith("./")


def _files_bytes(served: ServedModel) -> int:
    return UNKNOWN_FILES_BYTES if served.model is None else served.model.files_bytes


def _check_storage(name: str, settings: OllamaSettings, files_bytes: int, problems: list[str]) -> None:
    if files_bytes > quantity_bytes(settings.storage):
        problems.append(
            f"models.{name}.storage: {settings.storage} for models of {files_bytes / 10**9:.0f} GB, so the download "
            f"would end when the volume is full. Write {-(-files_bytes * 6 // 5 // 2**30)}Gi or more."
        )


def _files(name: str, settings: OllamaSettings, node: str) -> FilesPlan | None:
    if (files := settings.files) is None:
        return None
    if files.claim is not None:
        return FilesPlan(claim=files.claim, node_path=None, node=node)
    # Neither a volume nor its claim can be pointed elsewhere: another folder is another volume.
    key = hashlib.sha256(f"{node}{files.node_path}".encode()).hexdigest()[:6]
    return FilesPlan(claim=f"{name}-files-{key}", node_path=files.node_path, node=node)


def _modelfile(modelfile: ModelfileSettings) -> str:
    """Its text for the Job, in which files have the paths that the Job has them under."""
    there = {setting: f"{FILES_PATH}/{path.removeprefix('./')}" for setting, path in modelfile.files}
    if "from" in there:
        there["from_"] = there.pop("from")
    return modelfile_text(modelfile.model_copy(update=there))


def _environment(settings: OllamaSettings, node: NodeSettings, time: Startup, *, checkpoints: int) -> dict[str, str]:
    environment = {
        **settings.extra_environment,
        "OLLAMA_HOST": f"0.0.0.0:{PORT}",
        "OLLAMA_MODELS": "/models",
        "OLLAMA_CONTEXT_LENGTH": str(settings.context_length),
        # The memory is counted so; older releases have another default.
        "OLLAMA_NUM_PARALLEL": str(settings.num_parallel),
        "OLLAMA_KEEP_ALIVE": "-1" if settings.keep_alive_seconds < 0 else f"{settings.keep_alive_seconds}s",
        # A server that starts would otherwise delete what the download Job is just fetching to the same volume.
        "OLLAMA_NOPRUNE": "1",
        # The llama-server of each model has them from here. Its own are 8 GiB and 32, which no pod is made for.
        "LLAMA_ARG_CACHE_RAM": str(settings.prompt_cache_mib),
        "LLAMA_ARG_CTX_CHECKPOINTS": str(checkpoints),
        "HOME": "/tmp",
        **_chosen(settings),
    }
    timeout = settings.load_timeout_seconds or time.budget_seconds
    if settings.load_timeout_seconds is not None or timeout > _LOAD_TIMEOUT_SECONDS:
        environment["OLLAMA_LOAD_TIMEOUT"] = f"{timeout}s"
    return environment | platform_environment(node)


def _chosen(settings: OllamaSettings) -> dict[str, str]:
    """Variables of what is said; the rest is left to Ollama."""
    chosen: dict[str, str] = {}
    if settings.kv_cache_type != "f16":
        chosen["OLLAMA_KV_CACHE_TYPE"] = settings.kv_cache_type
        chosen["OLLAMA_FLASH_ATTENTION"] = "1"  # without it no model would load
    if settings.flash_attention is not None:
        chosen["OLLAMA_FLASH_ATTENTION"] = "1" if settings.flash_attention else "0"
    if settings.max_loaded_models is not None:
        chosen["OLLAMA_MAX_LOADED_MODELS"] = str(settings.max_loaded_models)
    if settings.max_queue is not None:
        chosen["OLLAMA_MAX_QUEUE"] = str(settings.max_queue)
    if settings.origins:
        chosen["OLLAMA_ORIGINS"] = ",".join(settings.origins)
    if settings.debug:
        chosen["OLLAMA_DEBUG"] = "1"
    return chosen
