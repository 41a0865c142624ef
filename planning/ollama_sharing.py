"""Models of one Ollama server that take each other's place in memory: every change between them loads weights again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from planning.memory import MIB
from planning.ollama_memory import ServedModel, whole_mib
from planning.ollama_placement import USED_PERCENT, predicted_bytes
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
    # One that is wholly on the CPU takes nobody's place.
    known = {name: model for name, model in served.items() if model.memory is not None and model.load.gpu_layers != 0}
    models = [known[name] for name in largest_by_weights(settings, {name: whole_mib(known[name]) for name in known})]
    if (count := loaded_together(settings, len(models))) < 2:
        return
    crowded = [_beside(model, models, count=count, gpus=settings.gpus, limit_mib=limit_mib) for model in models]
    if (worst := max(crowded, key=lambda beside: beside.excess_mib)).excess_mib <= 0:
        return
    others = ", ".join(worst.others)
    why = (
        f"Ollama reckons {worst.name} to take {worst.wanted_mib} MiB (its file, and a 16-bit cache of its whole "
        f"context), which is above {USED_PERCENT} % of the {worst.free_mib} MiB that {others} would leave free. So it "
        "unloads one whenever another is asked for, and requests wait while it loads"
        if worst.evicts
        else f"{worst.name} takes {worst.wanted_mib} MiB of the {worst.free_mib} MiB that {others} would leave free, "
        "and Ollama, which reckons it smaller, loads it all the same. So layers of it stay with the CPU, which is slow"
    )
    yield (
        f"models.{server}.pull: {worst.name}, {others} cannot be loaded together: {why}. Give one of them a server and "
        "a GPU of its own, or write a smaller contextLength."
    )


@dataclass(frozen=True, kw_only=True)
class _Beside:
    """What becomes of one model that is asked for when the largest others are loaded."""

    name: str
    others: tuple[str, ...]
    evicts: bool
    wanted_mib: int
    free_mib: int
    excess_mib: int
    """How much less it would have to be; 0 or less where it is loaded beside them as a whole."""


def _beside(model: ServedModel, models: Sequence[ServedModel], *, count: int, gpus: int, limit_mib: int) -> _Beside:
    assert model.model is not None  # noqa: S101  # who calls has looked
    others = sorted((other for other in models if other is not model), key=_taken_mib, reverse=True)[: count - 1]
    free = [limit_mib] * gpus
    for other in others:
        free.sort(reverse=True)
        for gpu in range(other.load.gpus):
            free[gpu] = max(0, free[gpu] - _taken_mib(other))
    predicted = -(-predicted_bytes(model.model, model.load.context_tokens) // MIB)
    # Where it fits none alone Ollama asks whether it fits all together.
    room = max(free) if model.load.gpus == 1 and predicted * 100 <= max(free) * USED_PERCENT else sum(free)
    # Somebody who says how many layers are on the GPU is not asked.
    evicts = model.load.gpu_layers is None and predicted * 100 > room * USED_PERCENT
    if evicts:
        wanted, excess = predicted, predicted - room * USED_PERCENT // 100
    else:
        wanted, room = whole_mib(model), min(sorted(free, reverse=True)[: model.load.gpus])
        # One that has a GPU for itself and spills is told elsewhere.
        excess = 0 if not others or _spills(model) else wanted - room
    return _Beside(
        name=model.name,
        others=tuple(other.name for other in others),
        evicts=evicts,
        wanted_mib=wanted,
        free_mib=room,
        excess_mib=excess,
    )


def _taken_mib(model: ServedModel) -> int:
    """What it has of each of its GPUs once it is loaded."""
    return 0 if model.memory is None else model.memory.gpu.total_mib


def _spills(model: ServedModel) -> bool:
    return model.memory is not None and model.memory.spilled_layers > 0


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
    """Of models that have the same weights, and so are loaded once, the one that is largest."""
    largest: dict[str, tuple[str, int]] = {}
    for name, size in sizes.items():
        weights = weights_of(name, settings)
        if weights not in largest or size > largest[weights][1]:
            largest[weights] = (name, size)
    return dict(largest.values())


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
