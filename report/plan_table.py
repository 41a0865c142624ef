"""A plan for people, as tables that fit into 80 columns."""

from __future__ import annotations

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from report.document import GpuMemoryMiB
from report.memory import model_row
from report.plan_summary import ModelSummary, NodeSummary, PlanDocument, Remark

_BAR = 20
_UNKNOWN = "-"
_MINUTES_FROM_SECONDS = 120
_PARTS = (("W", "blue"), ("K", "green"), ("o", "yellow"), (".", "dim"), (" ", "dim"))
"""Weights, KV cache, other, free of the limit, the rest of the card: letters, since a pipe has no colours."""


def plan_tables(document: PlanDocument) -> RenderableType:
    """Models, their memory, how they start and are updated, and nodes.

    Args:
        document: of a plan, not of problems.
    """
    models, nodes = document.models or {}, document.nodes or {}
    counts = [
        _count(len(models), "model server"),
        _count(len(nodes), "node"),
        _count(len(document.warnings), "warning"),
    ]
    return Group(
        Text(f"{document.file}: {', '.join(counts)}.\n", style="bold"),
        _what(models),
        Text("\nMemory of each GPU, MiB", style="bold"),
        _memory(models),
        Text("W weights, K KV cache, o other, . free; blank: the rest of the card\n", style="dim"),
        _times(models),
        Text(),
        _nodes(nodes),
    )


def remark_lines(remarks: Iterable[Remark]) -> list[Text]:
    """A line for each, to be printed as they are."""
    return [
        Text(f"{f'line {remark.line}: ' if remark.line else ''}{f'{remark.path}: ' if remark.path else ''}").append(
            remark.message
        )
        for remark in remarks
    ]


def _what(models: dict[str, ModelSummary]) -> Table:
    spills = any(model.spilled_layers for model in models.values())
    numbers = ("Context", "At once", *(("On the CPU",) if spills else ()))
    table = _table("Model", "Engine", "Serves", *numbers, right=numbers)
    for name, model in models.items():
        row = model_row(name, model)
        spilled = [f"{model.spilled_layers or 0} layers"] if spills else []
        _add(table, name, model.engine, ", ".join(row.models), f"{model.max_model_len:,}", row.at_once, *spilled)
    return table


def _memory(models: dict[str, ModelSummary]) -> Table:
    numbers = ("Weights", "KV cache", "Other", "Limit", "Card")
    table = _table("Model", "", *numbers, right=numbers)
    for name, model in models.items():
        card = f"{model.gpu_card_mib:,}"
        if (memory := model.gpu_memory_mib) is None:
            # What the model takes is not known; nothing is drawn of it.
            _add(table, name, "not known", *[_UNKNOWN] * 4, card)
            continue
        told = (memory.weights, memory.kv_cache, memory.other, memory.limit)
        _add(table, name, _bar(memory, model.gpu_card_mib), *(f"{mib:,}" for mib in told), card)
    return table


def _times(models: dict[str, ModelSummary]) -> Table:
    table = _table(
        "Model", "Pods", "Run on", "Start", "at most", "Update", "Outage", right=("Start", "at most", "Outage")
    )
    for name, model in models.items():
        few, many = model.replicas, model.max_replicas
        row = model_row(name, model)
        _add(
            table,
            name,
            f"{few}" if few == many else f"{few} to {many}",
            f"{row.where}: {row.gpus}",
            _about(model.startup_seconds),
            _about(model.startup_budget_seconds),
            model.strategy,
            _about(model.outage_seconds) if model.outage_seconds else "none",
        )
    return table


def _nodes(nodes: dict[str, NodeSummary]) -> Table:
    right = ("Taken", "Free", "Fullest GPU, MiB", "Host memory, MiB")
    table = _table("Node", "GPUs", *right, right=right)
    for name, node in nodes.items():
        sliced = f", {node.time_slices} slices each" if node.time_slices > 1 else ""
        fullest = _UNKNOWN if node.fullest_gpu_mib is None else f"{node.fullest_gpu_mib:,}"
        _add(
            table,
            name,
            f"{node.gpus} x {node.gpu_model}{sliced}",
            f"{node.taken} of {node.allocatable}",
            f"{node.free}",
            f"{fullest} of {node.gpu_card_mib:,}",
            f"{node.host_memory_mib.request:,} to {node.host_memory_mib.limit:,}",
        )
    return table


def _bar(memory: GpuMemoryMiB, card: int) -> Text:
    """The card as `_BAR` letters. Each part ends where its share of the card does, so they add up."""
    free = max(0, memory.limit - memory.total)
    bar, drawn, sum_mib = Text(), 0, 0
    for (letter, style), mib in zip(_PARTS, (memory.weights, memory.kv_cache, memory.other, free, None), strict=True):
        sum_mib = card if mib is None else sum_mib + mib
        until = max(drawn, min(_BAR, round(_BAR * sum_mib / card)))
        bar.append(letter * (until - drawn), style=style)
        drawn = until
    return bar


def _table(*columns: str, right: tuple[str, ...]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        # The bar, which has no heading, is worth nothing in two lines; a strategy is a word.
        table.add_column(
            column, justify="right" if column in right else "left", overflow="fold", no_wrap=column in ("", "Update")
        )
    return table


def _add(table: Table, *cells: str | Text) -> None:
    """A row of texts in which nothing is markup."""
    table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in cells))


def _about(seconds: int) -> str:
    """`97 s`, `8 min`: rounded up, as nobody minds who waits less."""
    return f"{seconds} s" if seconds < _MINUTES_FROM_SECONDS else f"{-(-seconds // 60)} min"


def _count(number: int, what: str) -> str:
    return f"{number or 'no'} {what}{'s' if number != 1 else ''}"
