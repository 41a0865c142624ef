"""One Ollama server: environment, models to have on disk, custom models, budgets."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

from planning.catalogue import gpu_models, language_models
from planning.memory import MIB
from planning.pods import ANYWHERE, HostMemory, Scheduling, Shutdown, host_memory, shutdown
from planning.rollout import Rollout
from planning.startup import Startup, startup
from planning.vllm import platform_environment
from settings.base import quantity_bytes
from settings.node import NodeSettings
from settings.ollama import ModelfileSettings, OllamaSettings
from settings.storage import StorageSettings

PORT = 11434
_DRAIN_SECONDS = 30
_UNKNOWN_FILES_BYTES = 5 * 10**9


@dataclass(frozen=True, kw_only=True)
class OllamaPlan:
    """Everything that the OllamaServer component is made of."""

    name: str
    image: str
    gpus: int
    nodes: tuple[str, ...]
    gpu_model: str
    time_slices: int
    pull: tuple[str, ...]
    modelfiles: dict[str, str]
    """Text of each Modelfile by the name of the model that it makes."""

    environment: dict[str, str]
    rollout: Rollout
    startup: Startup
    shutdown: Shutdown
    host_memory: HostMemory
    scheduling: Scheduling = ANYWHERE
    storage_bytes: int
    download_budget_seconds: int
    gpu_memory_limit_mib: int

    @property
    def replicas(self) -> int:
        """Ollama queues by itself; one process serves."""
        return 1

    @property
    def served_names(self) -> tuple[str, ...]:
        """What clients may write as `model`."""
        return (*self.pull, *self.modelfiles)

    @property
    def models_key(self) -> str:
        """Eight hexadecimal digits that change whenever the models to have on disk do."""
        content = json.dumps([self.image, self.pull, self.modelfiles])
        return hashlib.sha256(content.encode()).hexdigest()[:8]


def plan_ollama(
    name: str,
    settings: OllamaSettings,
    *,
    nodes: tuple[str, ...],
    node: NodeSettings,
    rollout: Rollout,
    storage: StorageSettings,
    problems: list[str],  # noqa: ARG001  # every planner is called alike
    warnings: list[str],  # noqa: ARG001  # every planner is called alike
) -> OllamaPlan:
    """The plan of one server; arguments as for vLLM."""
    known = language_models()
    files_bytes = [known[m].files_bytes if m in known else _UNKNOWN_FILES_BYTES for m in settings.pull]
    card_mib = gpu_models()[node.gpus.model].memory_mib
    share = settings.gpu_share or 1 / node.gpus.time_slices
    limit_mib = int(card_mib * share)
    # Ollama loads a model when it is first asked for: the server itself is up as soon as its process is.
    time = startup(max(files_bytes), storage, downloads=False, compiles=False)
    return OllamaPlan(
        name=name,
        image=settings.image,
        gpus=settings.gpus,
        nodes=nodes,
        gpu_model=node.gpus.model,
        time_slices=node.gpus.time_slices,
        pull=tuple(settings.pull),
        modelfiles={made: modelfile_text(modelfile) for made, modelfile in settings.modelfiles.items()},
        environment=_environment(settings, node, reserved_bytes=(card_mib - limit_mib) * MIB),
        rollout=rollout,
        startup=time,
        shutdown=shutdown(drain_seconds=_DRAIN_SECONDS),
        host_memory=host_memory(workers=1, files_bytes=max(files_bytes), shm=0),
        storage_bytes=quantity_bytes(settings.storage),
        download_budget_seconds=startup(sum(files_bytes), storage, downloads=True, compiles=False).budget_seconds,
        gpu_memory_limit_mib=limit_mib,
    )


def modelfile_text(modelfile: ModelfileSettings) -> str:
    """The Modelfile that says what `modelfile` says."""
    lines = [f"FROM {modelfile.from_}"]
    for parameter, value in modelfile.parameters.items():
        lines.append(f"PARAMETER {parameter} {_parameter_text(value)}")
    if modelfile.system is not None:
        lines.append(f'SYSTEM """{modelfile.system}"""')
    return "\n".join(lines) + "\n"


def _parameter_text(value: int | float | bool | str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    # Three quotes: Ollama takes what is between them as it is, and knows no escapes.
    return f'"""{value}"""' if isinstance(value, str) else str(value)


def _environment(settings: OllamaSettings, node: NodeSettings, *, reserved_bytes: int) -> dict[str, str]:
    environment = {
        "OLLAMA_HOST": f"0.0.0.0:{PORT}",
        "OLLAMA_MODELS": "/models",
        "OLLAMA_CONTEXT_LENGTH": str(settings.context_length),
        "OLLAMA_KEEP_ALIVE": "-1" if settings.keep_alive_seconds < 0 else f"{settings.keep_alive_seconds}s",
        # A server that starts would otherwise delete what the download Job is just fetching to the same volume.
        "OLLAMA_NOPRUNE": "1",
        "HOME": "/tmp",
    }
    if reserved_bytes:
        # Other servers share the GPU, and nothing but this keeps Ollama out of their memory.
        environment["OLLAMA_GPU_OVERHEAD"] = str(reserved_bytes)
    return environment | platform_environment(node)
