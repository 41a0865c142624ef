"""`llmctl plan`: what a stack file comes to, without a cluster and without Pulumi."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from planning.plan import plan_source
from report.plan_summary import PlanDocument, model_summaries, node_summaries, remark
from settings.problems import StackError, line_of
from settings.stack_file import read_source

_WIDE = 200
"""Columns where no terminal says how many there are: a pipe loses nothing."""

_NARROWEST = 80
"""Columns that the tables need; a narrower terminal breaks lines by itself, where they would break numbers."""


def show(file: Path, *, as_json: bool, no_color: bool = False) -> int:
    """Print the plan of `file` to standard output, its problems to standard error.

    Returns:
        The exit code: 0, also with warnings; 1 where there is no plan.
    """
    found = document(file)
    error: StackError | None = None
    if isinstance(found, tuple):
        found, error = found
    if as_json:
        print(found.model_dump_json(by_alias=True, indent=2))
    elif error is None:
        _show_tables(found, no_color=no_color)
    if error is not None:
        print(error, file=sys.stderr)
    return 0 if error is None else 1


def document(file: Path) -> PlanDocument | tuple[PlanDocument, StackError]:
    """What `--json` prints of `file`; with the error where there is no plan."""
    named = re.fullmatch(r"Pulumi\.(.+)\.ya?ml", file.name)
    stack = named[1] if named else None
    try:
        source = read_source(file)
        plan = plan_source(source)
    except StackError as error:
        problems = tuple(remark(text, line) for text, line in zip(error.problems, error.lines, strict=True))
        return (
            PlanDocument(file=file.name, stack=stack, models=None, nodes=None, warnings=(), problems=problems),
            error,
        )
    return PlanDocument(
        file=file.name,
        stack=stack,
        models=model_summaries(plan),
        nodes=node_summaries(plan),
        warnings=tuple(remark(text, line_of(text, source.lines)) for text in plan.warnings),
        problems=(),
    )


def _show_tables(found: PlanDocument, *, no_color: bool) -> None:
    from rich.console import Console  # here: who wants JSON need not wait for tables

    from report.plan_table import plan_tables, remark_lines

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    columns = max(shutil.get_terminal_size().columns, _NARROWEST) if known else _WIDE
    console = Console(width=columns, no_color=no_color or None)
    console.print(plan_tables(found))
    if found.warnings:
        console.print("\n[bold]Warnings[/]")
    for line in remark_lines(found.warnings):
        console.print(line, soft_wrap=not known)
