"""What each model takes: where it runs, how much of a GPU's memory, and what that is enough for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from planning.catalogue import gpu_models
from planning.ollama import OllamaPlan
from planning.plan import Plan, ServerPlan
from planning.vllm import VllmPlan


@dataclass(frozen=True, kw_only=True)
class ModelRow:
    """One server for a reader; texts without Markdown."""

    server: str
    models: tuple[str, ...]
    where: str
    gpus: str
    memory: str
    context: str
    at_once: str


def model_rows(plan: Plan) -> list[ModelRow]:
    """A row for each server of the plan."""
    return [_row(name, server) for name, server in plan.servers.items()]


def _row(name: str, server: ServerPlan) -> ModelRow:
    replicas = Counter(server.nodes)
    return ModelRow(
        server=name,
        models=_models(server),
        where=", ".join(node if count == 1 else f"{count} pods on {node}" for node, count in replicas.items()),
        gpus=gpus_in_words(server),
        memory=_memory(server),
        context=f"{_context(server):,} tokens",
        at_once=_at_once(server),
    )


def _models(server: ServerPlan) -> tuple[str, ...]:
    return server.served_names if isinstance(server, OllamaPlan) else (server.arguments[0],)


def gpus_in_words(server: ServerPlan) -> str:
    """GPUs of one pod: `2 x a100-80gb`, or `1 of 2 slices of rtx-4090`."""
    whole = f"{server.gpus} x {server.gpu_model}" if server.gpus > 1 else server.gpu_model
    return whole if server.time_slices == 1 else f"1 of {server.time_slices} slices of {whole}"


def _memory(server: ServerPlan) -> str:
    card = gpu_models()[server.gpu_model].memory_mib
    if isinstance(server, OllamaPlan):
        limit = server.gpu_memory_limit_mib
        return f"up to {limit:,} MiB ({_percent(limit, card)} of the card), as its models are asked for"
    if server.memory is None:
        return "not known: the catalogue does not have the model"
    memory = server.memory
    parts = {"weights": memory.weights_mib, "KV cache": memory.kv_cache_mib, "other": memory.other_mib}
    told = ", ".join(f"{what} {mib:,} ({_percent(mib, memory.limit_mib)})" for what, mib in parts.items())
    return f"{told} of {memory.limit_mib:,} MiB, {_percent(memory.limit_mib, card)} of the card"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _context(server: ServerPlan) -> int:
    return server.max_model_len if isinstance(server, VllmPlan) else int(server.environment["OLLAMA_CONTEXT_LENGTH"])


def _at_once(server: ServerPlan) -> str:
    """Requests of full length that fit into the KV cache together."""
    if isinstance(server, OllamaPlan):
        return "as its queue lets in"
    if server.concurrent_full_length_requests is None:
        return "not known"
    each = f"{server.concurrent_full_length_requests}"
    return each if len(server.nodes) == 1 else f"{each} a pod"
