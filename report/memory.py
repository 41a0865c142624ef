"""What each model takes, in words: where it runs, how much of a GPU's memory, and what that is enough for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from planning.plan import Plan, ServerPlan
from report.plan_summary import ModelSummary, model_summaries


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
    return [model_row(name, server) for name, server in model_summaries(plan).items()]


def model_row(name: str, server: ModelSummary) -> ModelRow:
    """What `server` takes, in words."""
    replicas = Counter(server.nodes)
    return ModelRow(
        server=name,
        # One model is served under another name than its weights have; of Ollama's, each under its own.
        models=server.served_names if server.engine == "ollama" else server.models,
        where=", ".join(node if count == 1 else f"{count} pods on {node}" for node, count in replicas.items()),
        gpus=gpus_in_words(server),
        memory=_memory(server),
        context=f"{server.max_model_len:,} tokens",
        at_once=_at_once(server),
    )


def gpus_in_words(server: ServerPlan | ModelSummary) -> str:
    """GPUs of one pod: `2 x a100-80gb`, or `1 of 2 slices of rtx-4090`."""
    whole = f"{server.gpus} x {server.gpu_model}" if server.gpus > 1 else server.gpu_model
    return whole if server.time_slices == 1 else f"1 of {server.time_slices} slices of {whole}"


def _memory(server: ModelSummary) -> str:
    if (memory := server.gpu_memory_mib) is None:
        return "not known"
    parts = {"weights": memory.weights, "KV cache": memory.kv_cache, "other": memory.other}
    told = ", ".join(f"{what} {mib:,} ({_percent(mib, memory.limit)})" for what, mib in parts.items())
    largest = " by its largest model" if len(server.models) > 1 else ""
    spilled = f"; {server.spilled_layers} layers stay on the CPU" if server.spilled_layers else ""
    return (
        f"{told}{largest} of {memory.limit:,} MiB, {_percent(memory.limit, server.gpu_card_mib)} of the card{spilled}"
    )


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %"


def _at_once(server: ModelSummary) -> str:
    """Requests of full length that a pod works on at once."""
    if server.concurrent_full_length_requests is None:
        return "not known" if server.gpu_memory_mib is None else "keeps no cache"
    each = f"{server.concurrent_full_length_requests}"
    return each if len(server.nodes) == 1 else f"{each} a pod"
