"""What each model of an Ollama server takes of its GPUs, and what of it would be left to the CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache

from planning.catalogue import GpuModel, LanguageModel, declared_model, gguf_model, language_models
from planning.memory import LlamaCppLoad, LlamaCppMemory, llama_cpp_memory
from planning.ollama_placement import placed
from settings.ollama import KvCacheType, OllamaSettings
from settings.ollama_facts import DROPPED_PARAMETERS, SERIAL_ARCHITECTURES
from settings.problems import did_you_mean

_BITS: dict[KvCacheType, float] = {"f16": 16, "q8_0": 8.5, "q4_0": 4.5}
"""Bits of one element: blocks of 32 with a 16-bit scale (ggml-common.h, block_q8_0 and block_q4_0)."""

UNKNOWN_FILES_BYTES = 5 * 10**9
"""Stands for the weights of a model that nothing is known of; only budgets are made of it."""

_HOST_GB_PER_SECOND = 50
"""What a CPU reads from its memory: two channels of DDR4-3200 have 51 GB/s, of DDR5-5600 90."""


_MOST_FURTHER_GPUS = 15
"""Where no more help, a model is too large for one node of them."""

_memory = lru_cache(maxsize=10_000)(llama_cpp_memory)
"""The same model comes under several names, and on many servers."""


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """One name under which the server answers."""

    name: str
    model: LanguageModel | None
    """None where nothing is known of it."""

    context_tokens: int
    """Of one request."""

    load: LlamaCppLoad
    memory: LlamaCppMemory | None
    context_setting: str
    """Path of what says the context."""


def served_models(
    server: str, settings: OllamaSettings, *, limit_mib: int, problems: list[str], warnings: list[str]
) -> dict[str, ServedModel]:
    """Every model of the server by name, pulled ones first; contexts and layers that cannot be are told.

    Args:
        server: its name.
        settings: what the file says of it.
        limit_mib: what it may take of each of its GPUs.
        problems: what cannot be followed is added, as `path: fact, consequence, repair`.
        warnings: what goes on worse than meant is added, in the same form.
    """
    return {
        name: _served(server, name, settings, limit_mib=limit_mib, problems=problems, warnings=warnings)
        for name in (*settings.pull, *settings.modelfiles)
    }


def _served(
    server: str, name: str, settings: OllamaSettings, *, limit_mib: int, problems: list[str], warnings: list[str]
) -> ServedModel:
    parameters = settings.modelfiles[name].parameters if name in settings.modelfiles else {}
    model = _model(name, settings)
    path = f"models.{server}.modelfiles.{name}.parameters.num_ctx"
    context, setting = parameters.get("num_ctx"), path
    if context is None:
        context, setting = settings.context_length, f"models.{server}.contextLength"
    if model is not None:
        context = _check_context(model, int(context), setting, own=setting == path, told=(problems, warnings))
    layers = parameters.get("num_gpu")
    sequences = 1 if model is not None and is_serial(model) else settings.num_parallel
    load = LlamaCppLoad(
        context_tokens=max(1, context) * sequences,
        key_bits=_BITS[settings.kv_cache_type],
        value_bits=_BITS[settings.kv_cache_type],
        ubatch_tokens=parameters.get("num_batch", 512),
        gpus=1 if "main_gpu" in parameters else settings.gpus,  # --split-mode none with it
        gpu_layers=layers if layers is not None and layers >= 0 else None,  # -1: as many as fit
        sequences=sequences,
        flash_attention=settings.flash_attention is not False,
    )
    if model is not None:
        load = placed(model, load, settings, own_batch="num_batch" in parameters, limit_mib=limit_mib)
    warnings += [
        f"models.{server}.modelfiles.{name}.parameters.{parameter}: Ollama drops it with a warning in the Job's log, "
        "so it changes nothing. Leave it out."
        for parameter in parameters
        if parameter in DROPPED_PARAMETERS
    ]
    if model is None:
        warnings += _unknown(server, name, settings)
    return ServedModel(
        name=name,
        model=model,
        context_tokens=context,
        load=load,
        memory=None if model is None else _memory(model, load, limit_mib=limit_mib),
        context_setting=setting,
    )


def _unknown(server: str, name: str, settings: OllamaSettings) -> Iterator[str]:
    """What is told of weights that nothing is known of; a custom model has those of its origin."""
    if name in settings.pull:
        where, what, near = f"pull.{settings.pull.index(name)}", name, did_you_mean(name, _library())
    elif (origin := settings.modelfiles[name].from_).startswith("./"):
        where, what, near = f"modelfiles.{name}", origin, ""
    else:
        return
    yield (
        f"models.{server}.{where}: {what} is not in the catalogue, so whether it fits is not known, and "
        f"{UNKNOWN_FILES_BYTES // 10**9} GB are counted{near or '.'} `llmctl catalogue add --form architecture "
        f"FILE.gguf` prints what to write under architectures.{name}."
    )


@cache
def _library() -> list[str]:
    """Names of Ollama's own library."""
    return [name for name in language_models() if "/" not in name]


def _model(name: str, settings: OllamaSettings) -> LanguageModel | None:
    if name in settings.architectures:
        return declared_model(name, settings.architectures[name])
    if (modelfile := settings.modelfiles.get(name)) is None:
        return gguf_model(name)
    return None if modelfile.from_.startswith("./") else _model(_as_pulled(modelfile.from_, settings), settings)


def _as_pulled(name: str, settings: OllamaSettings) -> str:
    """`name` as pull has it, which may say `:latest` or not."""
    return next((pulled for pulled in settings.pull if pulled.removesuffix(":latest") == name), name)


def _check_context(
    model: LanguageModel, context: int, setting: str, *, own: bool, told: tuple[list[str], list[str]]
) -> int:
    """The context that Ollama gives `model`, which is never longer than what it was made for."""
    longest = model.architecture.context_tokens
    problems, warnings = told
    if own and context < 1:
        problems.append(f"{setting}: {context} is no length of a context. Write e.g. 8192, or leave it out.")
    elif context > longest:
        fact = f"{setting}: {context} tokens, but {model.name} was made for {longest}"
        if own:
            problems.append(f"{fact}, and Ollama would cut it down without a word. Write {longest} or less.")
        elif not model.is_embedding:
            warnings.append(
                f"{fact}, so Ollama gives it no more than that, and longer conversations lose their beginning. Write "
                f"{longest} or less, or take another model."
            )
    return min(context, longest)


def is_serial(model: LanguageModel) -> bool:
    """Whether Ollama answers one request at a time with `model`, whatever numParallel says (server/sched.go, load).

    So it is with all that make embeddings, and with architectures that it does not trust with more. The catalogue's
    rows are named after them; of a model that the stack file describes only the states tell.
    """
    row = model.base.replace("-", "").replace(".", "")
    named = row.startswith(tuple(name.replace("_", "") for name in SERIAL_ARCHITECTURES))
    return named or model.is_embedding or model.architecture.linear_attention is not None


def serial_warnings(server: str, settings: OllamaSettings, served: Iterable[ServedModel]) -> Iterator[str]:
    """What is told of models for which numParallel does nothing; of those for embeddings only beside no others."""
    known = [(model, model.model) for model in served if model.model is not None]
    chats = [model for model, facts in known if not facts.is_embedding]
    serial = [model for model in chats or [model for model, _ in known] if model.load.sequences < settings.num_parallel]
    if serial:
        yield (
            f"models.{server}.numParallel: {settings.num_parallel}, but Ollama answers one request at a time with "
            f"{', '.join(model.name for model in serial)}, so all others wait. Leave it out, or serve them "
            "with vllm or llamacpp."
        )


def whole_mib(served: ServedModel) -> int:
    """What `served` takes of a GPU where as many layers are there as it may have, whether they fit or not."""
    if served.model is None or served.memory is None:
        return 0
    if not served.memory.spilled_layers or served.load.gpu_layers is not None:
        return served.memory.gpu.total_mib
    load = replace(served.load, gpu_layers=served.model.architecture.layers + 1)
    return _memory(served.model, load, limit_mib=served.memory.gpu.limit_mib).gpu.total_mib


def spill_warnings(
    server: str, served: ServedModel, settings: OllamaSettings, *, gpu: GpuModel, limit_mib: int
) -> Iterator[str]:
    """What layers in host memory mean for `served`, and what to write instead."""
    if served.model is None or served.memory is None or not served.memory.spilled_layers:
        return
    layers = served.model.architecture.layers + 1  # the output layer is one too, as llama.cpp counts
    spilled = served.memory.spilled_layers
    if served.load.gpu_layers is not None and served.load.gpu_layers < layers:
        return  # somebody wants it so
    ratio = 1 + spilled / layers * (gpu.bandwidth_gb_per_second / _HOST_GB_PER_SECOND - 1)
    yield (
        f"models.{server}: {served.name} does not fit into the {limit_mib} MiB that it may take of each GPU: {spilled} "
        f"of its {layers} layers stay in host memory ({served.memory.host_mib} MiB) and are computed by the CPU, so an "
        f"answer takes {_in_words(ratio)}. {_repair(served, settings, gpu, limit_mib)}"
    )


def _in_words(ratio: float) -> str:
    if ratio < 1.5:
        return "somewhat longer"
    return "about twice as long" if ratio < 2.5 else f"about {round(ratio)} times as long"


def _repair(served: ServedModel, settings: OllamaSettings, gpu: GpuModel, limit_mib: int) -> str:
    ways: list[str] = []
    assert served.memory is not None  # noqa: S101  # who calls has looked
    if (fitting := _fitting_context(served, settings, limit_mib)) >= 128:
        ways.append(f"write {served.context_setting.rpartition('.')[2]}: {fitting} or less")
        if settings.kv_cache_type == "f16":
            ways.append("kvCacheType: q8_0, which halves the cache")
        if served.load.sequences > 1:
            ways.append("a smaller numParallel")
    else:
        ways.append("take a smaller quantization or model, as its weights alone do not fit")
    ways += _more_room(served, settings, gpu, limit_mib)
    told = ", or ".join(ways)
    return f"{told[0].upper()}{told[1:]}."


def _more_room(served: ServedModel, settings: OllamaSettings, gpu: GpuModel, limit_mib: int) -> Iterator[str]:
    """The least part of a GPU, or else number of them, on which `served` is whole; a part is of one GPU alone."""
    assert served.model is not None  # noqa: S101  # who calls has looked
    if limit_mib < gpu.cuda_mib:
        for percent in range(100 * limit_mib // gpu.cuda_mib + 1, 101):
            if not _memory(served.model, served.load, limit_mib=gpu.cuda_mib * percent // 100).spilled_layers:
                yield f"give it more of the GPU (gpuShare: {percent / 100:g})"
                return
        yield "give it a larger GPU (gpuModel)"
        return
    # What Ollama reckons to fit one GPU stays on one, however many there are, unless it is told to spread it.
    alone = settings.gpus if served.load.gpus < settings.gpus else settings.gpus + 1
    for gpus in range(alone, settings.gpus + _MOST_FURTHER_GPUS + 1):
        wider = replace(served.load, gpus=gpus)
        if _memory(served.model, wider, limit_mib=limit_mib).spilled_layers:
            continue
        more = [f"gpus: {gpus}"] if gpus > settings.gpus else []
        if placed(served.model, wider, settings, own_batch=True, limit_mib=limit_mib).gpus < gpus:
            more.append("extraEnvironment: {OLLAMA_SCHED_SPREAD: '1'}")
        yield f"give it more GPUs ({', '.join(more)})"
        return


def _fitting_context(served: ServedModel, settings: OllamaSettings, limit_mib: int) -> int:
    """The longest context of one request with which `served` is whole; 0 where none is.

    With a shorter one Ollama may choose a larger batch, so it is looked at with that too.
    """
    assert served.model is not None  # noqa: S101  # who calls has looked
    for batch in sorted({served.load.ubatch_tokens, 1024, 2048}):
        asked = replace(served.load, ubatch_tokens=max(batch, served.load.ubatch_tokens))
        tokens = _memory(served.model, asked, limit_mib=limit_mib).largest_context // asked.sequences
        shorter = replace(asked, context_tokens=max(1, tokens) * asked.sequences)
        own = served.load.ubatch_tokens not in (512, 1024, 2048)
        shorter = placed(served.model, shorter, settings, own_batch=own, limit_mib=limit_mib)
        if not _memory(served.model, shorter, limit_mib=limit_mib).spilled_layers:
            return tokens
    return 0


def layer_problems(server: str, served: ServedModel, *, limit_mib: int) -> Iterator[str]:
    """num_gpu puts layers on the GPUs whether they fit or not."""
    if served.model is None or served.memory is None or served.load.gpu_layers is None:
        return
    gpu = served.memory.gpu
    if gpu.total_mib > limit_mib:
        yield (
            f"models.{server}.modelfiles.{served.name}.parameters.num_gpu: {served.load.gpu_layers} layers take "
            f"{gpu.total_mib} MiB of the {limit_mib} MiB that the server may take of a GPU, and Ollama does not ask "
            "whether they fit, so the model would run out of memory while it loads. Leave it out, and as many are "
            "there as fit."
        )
