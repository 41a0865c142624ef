"""Which models and quantizations fit some GPUs, a context and a number of users, and why not the others.

Whether one fits is not computed here: each is written into a stack, and that is planned as any other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from planning.catalogue import LanguageModel, gpu_models, language_models
from planning.catalogue.models import HUB_PREFIX
from planning.memory import MIB, GpuMemory
from planning.ollama import OllamaPlan
from planning.plan import Plan, plan
from planning.problems import PlanError
from planning.vllm import VllmPlan
from settings.ingress import LOCALHOST
from settings.secret import GENERATED
from settings.stack import Settings

AdviceUse = Literal["chat", "code", "rag", "longDocuments", "reasoning", "vision", "embedding"]
AdvicePlatform = Literal["native", "wsl2"]
AdviceEngine = Literal["vllm", "ollama", "llamacpp"]
RefusalKind = Literal["use", "language", "context", "licence", "gated", "engine", "tooLarge", "noRoom"]

NODE = "workstation"
"""What the node is called in the stacks that are advised."""

NOT_COMMERCIAL = frozenset({"CC-BY-NC-4.0", "exaone", "mrl", "qwen-research"})
"""Licences that forbid commercial use by their own words."""

_NEEDED = {"vision": "vision", "embedding": "embedding", "reasoning": "reasoning"}
"""Uses for which a model must have been made: no other can do them."""

_GPU_COUNTS = (1, 2, 4, 8, 16)

_MOST_SLOTS = {"ollama": 1024, "llamacpp": 256}
"""As settings.ollama and settings.llamacpp have it."""

_MOST_SEQUENCES = 2048
"""Of one vLLM pod: the tokens that a step computes on most cards where no profile says how many; each takes one."""

Raw = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Need:
    """What somebody has and wants."""

    gpu: str
    """Model of GPU, as the catalogue names it."""

    count: int
    """GPUs, all in one node."""

    context_tokens: int
    """Longest prompt with answer."""

    users: int
    """Requests at once."""

    average_tokens: int
    """Of these requests, prompt with answer: vLLM's cache is shared by the page, so short ones leave room."""

    languages: tuple[str, ...]
    """ISO 639-1 codes; a model must name all of them."""

    use: AdviceUse
    engine: AdviceEngine | None = None
    """None for vLLM and Ollama."""

    gated: bool = True
    """Whether models that need a token of Hugging Face are welcome."""

    commercial: bool = False
    """Whether licences that forbid commercial use are not."""

    platform: AdvicePlatform = "native"
    """Of the node: under WSL2 vLLM runs without CUDA graphs."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A model that fits, and how it is set up."""

    model: LanguageModel
    engine: AdviceEngine
    gpus: int
    """GPUs of one pod."""

    replicas: int
    memory: GpuMemory
    """Of each GPU."""

    full_length_requests: int | None
    """Requests of full length that all pods have room for together; None for an encoder, which keeps no cache."""

    requests_at_once: int | None
    """The same of requests of average length; slots of Ollama and llama.cpp are of full length."""

    stack: Raw
    """What to write under `config:`; it was planned without a problem."""

    warnings: tuple[str, ...]
    """Of that plan."""

    others: tuple[str, ...] = ()
    """Further names in the catalogue, of GGUF files with the same shape, type, use and licence."""

    @property
    def tokens_per_second_bound(self) -> float | None:
        """No single answer can come faster, in tokens per second: each token reads all active weights once.

        The roofline of decoding (arXiv 2402.16363); without speculative decoding. None for embedding models.
        """
        if self.model.is_embedding:
            return None
        shape = self.model.architecture
        read = shape.active_parameters
        if shape.experts is None:
            read -= shape.other_parameters
        if not shape.tied_embeddings:
            read -= shape.vocabulary_size * shape.hidden_size  # of the embedding one row is read
        # llama.cpp has one GPU compute after the other; vLLM's tensor parallelism has them all read at once.
        together = self.gpus if self.engine == "vllm" else 1
        bandwidth = gpu_models()[self.stack["nodes"][NODE]["gpus"]["model"]].bandwidth_gb_per_second
        return together * bandwidth * 10**9 / (read * self.model.quantization.bits_per_weight / 8)


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A model that is not advised."""

    model: LanguageModel
    engine: AdviceEngine
    kind: RefusalKind
    text: str
    over_mib: int | None = None
    """How much its weights alone exceed each GPU; None where they do not."""

    others: tuple[str, ...] = ()
    """As of what fits."""


@dataclass(frozen=True, kw_only=True)
class Advice:
    """What fits, in no order, and what does not."""

    need: Need
    fits: tuple[Fit, ...]
    refusals: tuple[Refusal, ...]


def engines_of(model: LanguageModel) -> tuple[AdviceEngine, ...]:
    """What reads the checkpoint under its name: of a GGUF file at Hugging Face, both Ollama and llama.cpp."""
    if model.name.startswith(HUB_PREFIX):
        return ("ollama", "llamacpp")
    return ("vllm",) if "/" in model.name else ("ollama",)


def advise(need: Need) -> Advice:
    """What of the catalogue fits `need`, and why not the rest."""
    fits: list[Fit] = []
    refusals: list[Refusal] = []
    for (model, *others), engine in _candidates(need.engine):
        found = answer(model, engine, need)
        names = tuple(other.name for other in others)
        if isinstance(found, Fit):
            fits.append(replace(found, others=names))
        else:
            refusals.append(replace(found, others=names))
    return Advice(need=need, fits=tuple(fits), refusals=tuple(refusals))


def answer(model: LanguageModel, engine: AdviceEngine, need: Need) -> Fit | Refusal:
    """Whether `engine` can serve `model` for `need`, and how, or why not."""
    return _unsuitable(model, engine, need) or _fitted(model, engine, need)


def _candidates(engine: AdviceEngine | None) -> Iterator[tuple[list[LanguageModel], AdviceEngine]]:
    """Checkpoints with the engine that is to serve them; GGUF files that differ in name alone together.

    Without an engine llama.cpp is left out: Ollama has the same files, and takes as much for them.
    """
    wanted: tuple[AdviceEngine, ...] = (engine,) if engine else ("vllm", "ollama")
    alike: dict[tuple[AdviceEngine, object], list[LanguageModel]] = {}
    # Names of Ollama's library are shorter, and so the first of those alike.
    for model in sorted(language_models().values(), key=lambda model: model.name.startswith(HUB_PREFIX)):
        for reader in engines_of(model):
            if reader in wanted:
                same = (model.base, model.quantization, model.architecture.context_tokens, model.uses, model.licence)
                alike.setdefault((reader, model.name if reader == "vllm" else same), []).append(model)
    for (reader, _), models in alike.items():
        yield models, reader


def _unsuitable(model: LanguageModel, engine: AdviceEngine, need: Need) -> Refusal | None:
    """Why the model is none for `need`, whatever the GPUs."""
    longest = model.architecture.context_tokens
    reasons: list[tuple[RefusalKind, bool, str]] = [
        ("use", not _made_for(model, need.use), ", ".join(model.uses)),
        ("language", not set(need.languages) <= set(model.languages), " ".join(model.languages) or "none"),
        ("context", longest < need.context_tokens, f"{longest:,} tokens"),
        ("licence", need.commercial and model.licence in NOT_COMMERCIAL, model.licence),
        ("gated", not need.gated and model.gated, model.licence),
    ]
    for kind, applies, text in reasons:
        if applies:
            return Refusal(model=model, engine=engine, kind=kind, text=text)
    return None


def _made_for(model: LanguageModel, use: AdviceUse) -> bool:
    if needed := _NEEDED.get(use):
        return needed in model.uses
    return "chat" in model.uses  # code, documents: any model that writes can


def _fitted(model: LanguageModel, engine: AdviceEngine, need: Need) -> Fit | Refusal:
    """The setup with the fewest GPUs that has room for all users, else the one with the most room."""
    found: list[Fit] = []
    problem = ""
    for gpus in _gpu_counts(model, engine, need):
        try:
            fit = _on_vllm(model, gpus, need) if engine == "vllm" else _on_llama_cpp(model, engine, gpus, need)
        except PlanError as error:
            problem = error.problems[0]
            continue
        found.append(fit)
        if _room(fit, need) == need.users and fit.replicas == 1:
            break  # no other needs fewer
    if found:
        return min(found, key=lambda fit: (-_room(fit, need), fit.gpus * fit.replicas, fit.gpus))
    return _refused(model, engine, need, problem)


def _gpu_counts(model: LanguageModel, engine: AdviceEngine, need: Need) -> Iterator[int]:
    """Numbers of GPUs of one pod to try: those that servers come with, and that the weights alone may fit on."""
    for gpus in sorted({*_GPU_COUNTS, need.count}):
        # vLLM gives each GPU as many heads.
        divides = engine != "vllm" or model.architecture.attention_heads % gpus == 0
        if gpus <= need.count and divides and _over_mib(model, gpus, need) <= 0:
            yield gpus


def _over_mib(model: LanguageModel, gpus: int, need: Need) -> int:
    """How much the weights alone exceed each of `gpus`; not above 0 where they do not."""
    return -(-model.files_bytes // (gpus * MIB)) - gpu_models()[need.gpu].memory_mib


def _room(fit: Fit, need: Need) -> int:
    """Users that it holds at once; more than there are are no gain."""
    return need.users if fit.requests_at_once is None else min(need.users, fit.requests_at_once)


def _refused(model: LanguageModel, engine: AdviceEngine, need: Need, problem: str) -> Refusal:
    """Why it cannot be served: `problem` is what the plan with most GPUs says, `path: ...`, if there was one."""
    path, _, text = problem.partition(": ")
    over = _over_mib(model, need.count, need)
    if path.endswith(".model"):  # of the checkpoint itself, on whatever GPU
        return Refusal(model=model, engine=engine, kind="engine", text=text)
    if over > 0:
        told = f"{model.files_bytes / 10**9:.1f} GB of weights, {over:,} MiB more than each GPU has"
        return Refusal(model=model, engine=engine, kind="tooLarge", text=told, over_mib=over)
    return Refusal(model=model, engine=engine, kind="noRoom", text=text)


def _on_vllm(model: LanguageModel, gpus: int, need: Need) -> Fit:
    """As many pods as users need and GPUs are, each with as many sequences as it has room for and users.

    Raises:
        PlanError: it does not fit.
    """
    server: Raw = {"engine": "vllm", "model": model.name, "maxModelLen": need.context_tokens}
    if need.use in ("rag", "longDocuments"):
        server["profile"] = "longContext"
    if gpus > 1:
        server["gpus"] = gpus
    planned, stack = _planned(server, need)
    found = cast(VllmPlan, planned.servers[_name(need)])
    profile, replicas = found.max_num_seqs, 1
    written: Raw = {}
    # More sequences leave less for the cache, so that more pods may be needed, with fewer each.
    for _ in range(2):
        if not (each := _cached(found, need)):
            break
        each = min(each, _MOST_SEQUENCES)
        replicas = min(-(-need.users // each), need.count // gpus)
        sequences = min(-(-need.users // replicas), each)
        more: Raw = {"maxNumSeqs": sequences} if sequences > profile else {}
        more |= {"replicas": replicas} if replicas > 1 else {}
        if more == written:
            break
        written = dict(more)
        try:
            planned, stack = _planned({**server, **more}, need)
        except PlanError:  # no room for their buffers
            more.pop("maxNumSeqs", None)
            planned, stack = _planned({**server, **more}, need)
        found = cast(VllmPlan, planned.servers[_name(need)])
    full, each = found.concurrent_full_length_requests, _cached(found, need)
    return Fit(
        model=model,
        engine="vllm",
        gpus=gpus,
        replicas=replicas,
        # Known, as the model is one of the catalogue's.
        memory=cast(GpuMemory, found.memory),
        full_length_requests=None if full is None else full * replicas,
        requests_at_once=None if each is None else min(each, found.max_num_seqs) * replicas,
        stack=stack,
        warnings=planned.warnings,
    )


def _cached(server: VllmPlan, need: Need) -> int | None:
    """Requests of average length for which the cache of one pod has room."""
    full = server.cached_full_length_requests
    return None if full is None else full * need.context_tokens // need.average_tokens


def _on_llama_cpp(model: LanguageModel, engine: AdviceEngine, gpus: int, need: Need) -> Fit:
    """One server with as many slots as users, or as have room without a layer on the CPU.

    Raises:
        PlanError: not even one has.
    """
    most = min(need.users, _MOST_SLOTS[engine])
    try:
        return _with_slots(model, engine, gpus, need, most)
    except PlanError:
        if most == 1:
            raise
    fit = _with_slots(model, engine, gpus, need, 1)
    few, many = 1, most - 1
    while few < many:  # `few` fit; the largest number that does is at most `many`
        middle = -(-(few + many) // 2)
        try:
            fit = _with_slots(model, engine, gpus, need, middle)
            few = middle
        except PlanError:
            many = middle - 1
    return fit


def _with_slots(model: LanguageModel, engine: AdviceEngine, gpus: int, need: Need, slots: int) -> Fit:
    """One server that answers `slots` requests at once.

    Raises:
        PlanError: it has no room for them on the GPUs.
    """
    server: Raw = {"engine": engine, "contextLength": need.context_tokens}
    if engine == "ollama":
        server |= {"pull": [model.name], "numParallel": slots}
    else:
        server |= {"model": model.name.removeprefix(HUB_PREFIX), "parallel": slots}
        if need.use == "embedding":
            server["embeddings"] = True
    if gpus > 1:
        server["gpus"] = gpus
    planned, stack = _planned(server, need)
    found = planned.servers[_name(need)]
    spilled = found.loads[model.name].spilled_layers if isinstance(found, OllamaPlan) else 0
    if spilled:
        layers = f"{spilled} layer{'s' if spilled > 1 else ''}"
        room = f"{layers} would stay on the CPU with {slots} x {need.context_tokens:,} tokens"
        raise PlanError([f"models.{_name(need)}: {room}"])
    # Ollama answers one request at a time with some models, whatever is written.
    if (answers := found.concurrent_full_length_requests) is not None and answers < slots:
        return _with_slots(model, engine, gpus, need, answers)
    return Fit(
        model=model,
        engine=engine,
        gpus=gpus,
        replicas=1,
        memory=cast(GpuMemory, found.memory),
        full_length_requests=slots,
        requests_at_once=slots,
        stack=stack,
        warnings=planned.warnings,
    )


def _planned(server: Raw, need: Need) -> tuple[Plan, Raw]:
    """The plan of a stack with `server` alone, and that stack.

    Raises:
        PlanError: it does not fit.
    """
    gpus: Raw = {"model": need.gpu}
    if need.count > 1:
        gpus["count"] = need.count
    node: Raw = {"gpus": gpus, **({} if need.platform == "native" else {"platform": need.platform})}
    stack: Raw = {"nodes": {NODE: node}, "models": {_name(need): server}, "ingress": _edge(_name(need))}
    return plan(Settings.model_validate_json(json.dumps(stack), by_alias=True, by_name=False)), stack


def _edge(server: str) -> Raw:
    """How clients reach it: with a key, as the name localhost alone keeps nobody away."""
    return {"host": LOCALHOST, "apiKeys": {"me": GENERATED}, "routes": {"/v1": server}}


def _name(need: Need) -> str:
    """What the server is called: it becomes a Service's name."""
    return {"longDocuments": "documents", "rag": "answers"}.get(need.use, need.use)
