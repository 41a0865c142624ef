"""`python -m toolchain build [NAME...]`: builds the Go programs that the project needs and prints where they are."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from toolchain import gobuild
from toolchain.catalogue import PROGRAMS
from toolchain.steps import StepFailed, step

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.callback()
def _commands() -> None:
    """Keep `build` a command of its own: typer folds a single command into the program."""


@app.command()
def build(
    names: Annotated[list[str] | None, typer.Argument(help="Programs to build; all default ones if none.")] = None,
) -> None:
    """Build what is missing and print each program's path."""
    unknown = sorted(set(names or ()) - PROGRAMS.keys())
    if unknown:
        sys.exit(f"No such program: {', '.join(unknown)}. There are {', '.join(PROGRAMS)}.")
    try:
        with step("Building Go programs (what is in the cache is not built again)"):
            paths = gobuild.build(names or ())
    except StepFailed as error:
        sys.exit(str(error))
    for name, path in paths.items():
        print(f"{name}\t{path}")


if __name__ == "__main__":
    app()
