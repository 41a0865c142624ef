"""`python -m lab up|down|status|kubeconfig`: a Kubernetes with make-believe GPUs on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from lab.lab import Lab
from lab.spec import LabSpec
from toolchain.steps import StepFailed

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

State = Annotated[Path | None, typer.Option(help="The lab's folder; a lab for each.")]


@contextmanager
def _explained() -> Iterator[None]:
    """End with the message of a failed step rather than a traceback."""
    try:
        yield
    except StepFailed as error:
        sys.exit(str(error))


@app.command()
def up(
    spec: Annotated[Path | None, typer.Option(help="JSON file with what the lab should be; as before if none.")] = None,
    state: State = None,
    forward: Annotated[bool, typer.Option(help="Lead ports 80 and 443 of 127.0.0.1 to the edge.")] = True,
) -> None:
    """Bring the lab up, mend it, or change it to what the spec says."""
    with _explained():
        lab = Lab(state, forward=forward)
        status = lab.up(LabSpec.from_file(spec) if spec else None)
        print(f"node {status.spec.first if status.spec else ''} at {status.address}")
        print(f"export KUBECONFIG={lab.kubeconfig}")


@app.command()
def down(
    state: State = None,
    keep_state: Annotated[bool, typer.Option("--keep-state", help="Stop it only; `up` goes on from there.")] = False,
) -> None:
    """Stop the lab and delete it."""
    with _explained():
        Lab(state).down(keep_state=keep_state)


@app.command()
def status(state: State = None) -> None:
    """Say whether the lab runs; exit code 1 if not."""
    with _explained():
        found = Lab(state).status()
    print("running" if found.running else "not running")
    for name, (pid, starts) in sorted(found.components.items()):
        state_text = f"process {pid}" if pid else "not running"
        print(f"  {name}: {state_text}" + (f", started {starts} times" if starts > 1 else ""))
    if not found.running:
        sys.exit(1)


@app.command()
def kubeconfig(state: State = None) -> None:
    """Print the path of the administrator's kubeconfig."""
    path = Lab(state).kubeconfig
    if not path.exists():
        sys.exit(f"{path} is not there: the lab has not been up. Bring it up first.")
    print(path)


if __name__ == "__main__":
    app()
