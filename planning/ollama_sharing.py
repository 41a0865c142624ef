"""Models of one Ollama server that take each other's place in memory: every change between them loads weights again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from planning.ollama_memory import ServedModel, whole_mib
from settings.ollama import OllamaSettings, full_name

_LOADED_A_GPU = 3
"""Models that Ollama keeps loaded at once for each GPU (server/sched.go, defaultModelsPerGPU)."""

_LOADED_WITH = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread")
"""Parameters that a loaded model cannot change (api/types.go, Runner; server/sched.go, needsReload)."""


def sharing_warnings(
    server: str, settings: OllamaSettings, served: Mapping[str, ServedModel], *, limit_mib: int
) -> Iterator[str]:
    """What is told of models that cannot be loaded together, as `path: fact, consequence, repair`.

    Args:
        server: its name.
        settings: what the file says of it.
        served: every model of it, by name.
        limit_mib: what it may take of each of its GPUs.
    """
    yield from _other_options(server, settings, served)
    taken: dict[str, int] = {}
    for name, model in served.items():
        if model.memory is not None and not model.memory.spilled_layers:
            weights = weights_of(name, settings)
            taken[weights] = max(taken.get(weights, 0), model.memory.gpu.total_mib)
    if settings.max_loaded_models == 1 or sum(taken.values()) <= limit_mib:
        return
    yield (
        f"models.{server}.pull: {', '.join(taken)} take {sum(taken.values())} MiB together, of the {limit_mib} MiB "
        "that the server may take of each GPU, so Ollama unloads one whenever another is asked for, and requests wait "
        "while it loads. Give one of them a server and a GPU of its own, or write a smaller contextLength."
    )


def share_warnings(
    server: str, settings: OllamaSettings, served: Mapping[str, ServedModel], *, card_mib: int, limit_mib: int
) -> Iterator[str]:
    """What is told where models may take more than the server's share of a GPU that others have a share of too.

    Ollama has nothing by which to keep to a share: llama-server takes what a model needs of all that is free
    (common/fit.cpp). So the share is kept just where all that may be loaded together fits into it.
    """
    if limit_mib >= card_mib:
        return
    unknown = [name for name, model in served.items() if model.memory is None]
    taken = largest_by_weights(settings, {name: whole_mib(model) for name, model in served.items()})
    together = sorted(taken.values(), reverse=True)[: loaded_together(settings, len(taken))]
    if not unknown and sum(together) <= limit_mib:
        return
    if unknown:
        fact = f"what {', '.join(unknown)} {'takes' if len(unknown) == 1 else 'take'} is not known"
        repair = "Write what the catalogue does not know under architectures"
    elif together[0] > limit_mib:
        largest = max(taken, key=lambda name: taken[name])
        fact = f"{largest} wants {together[0]} MiB"
        repair = "Take a smaller model or contextLength"
    else:
        fact = f"{len(together)} models that may be loaded at once want {sum(together)} MiB"
        repair = "Write maxLoadedModels: 1"
    yield (
        f"models.{server}.gpuShare: {fact}, of the {limit_mib} MiB of a GPU that are the server's, and nothing keeps "
        f"Ollama to a share: it goes by what is free of all {card_mib} MiB when it loads a model. So the other servers "
        "of the GPU may find too little at their next start, or its own models stay with the CPU where those came "
        f"first. {repair}, or give the server a GPU of its own."
    )


def largest_by_weights(settings: OllamaSettings, sizes: Mapping[str, int]) -> dict[str, int]:
    """Of models that have the same weights, and so are loaded once, the largest size, by the first of their names."""
    largest: dict[str, int] = {}
    named: dict[str, str] = {}
    for name, size in sizes.items():
        first = named.setdefault(weights_of(name, settings), name)
        largest[first] = max(largest.get(first, 0), size)
    return largest


def loaded_together(settings: OllamaSettings, models: int) -> int:
    """How many of `models` may be loaded at once."""
    return min(models, settings.max_loaded_models or _LOADED_A_GPU * settings.gpus)


def _other_options(server: str, settings: OllamaSettings, served: Mapping[str, ServedModel]) -> Iterator[str]:
    for name, modelfile in settings.modelfiles.items():
        base = next((pulled for pulled in settings.pull if full_name(pulled) == full_name(modelfile.from_)), None)
        if base is None:
            continue
        other = [option for option in _LOADED_WITH[1:] if option in modelfile.parameters]
        if served[name].context_tokens != served[base].context_tokens:
            other.insert(0, _LOADED_WITH[0])
        if other:
            yield (
                f"models.{server}.modelfiles.{name}.parameters.{other[0]}: is another than that of {base}, whose "
                "weights it has, so Ollama loads them again whenever a request for the one follows one for the other. "
                "Ask for one of them alone, or let both have the same (contextLength is the server's)."
            )


def weights_of(name: str, settings: OllamaSettings) -> str:
    """What is loaded for `name`: custom models of one origin share it."""
    return full_name(settings.modelfiles[name].from_ if name in settings.modelfiles else name)
