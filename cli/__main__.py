"""`llmctl`: plan, bring up and take down an LLM service on Kubernetes."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from cli import advise as advising
from cli import catalogue, policy
from cli import chat as talking
from cli import plan as planning_ahead
from cli import report as reporting
from cli import status as fare
from cli.deployment import Deployment
from cli.schema import schema_text
from lab.lab import Lab
from planning.problems import PlanError
from settings.problems import SettingsError
from toolchain.paths import REPOSITORY
from toolchain.steps import StepFailed

_CLOSED_PIPE = 128 + 13
"""As a shell tells of any program that SIGPIPE has ended, e.g. before `head`."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(catalogue.app, name="catalogue")
app.add_typer(policy.app, name="policy")
app.command("advise", help=advising.HELP)(advising.advise_command)


def _stack_name(written: str) -> str:
    """`prod` of itself, and of `Pulumi.prod.yaml`."""
    named = re.fullmatch(r"Pulumi\.(.+)\.ya?ml", written)
    return named[1] if named else written


Stack = Annotated[str, typer.Option(envvar="STACK", callback=_stack_name, help="The environment: Pulumi.<stack>.yaml.")]


@contextmanager
def _explained() -> Iterator[None]:
    """End with the message of what was wrong rather than with a traceback."""
    try:
        yield
    except (SettingsError, PlanError, StepFailed) as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. The same command goes on from here.")


def _deployment(stack: str, *, yes: bool, forward: bool = True) -> Deployment:
    lab = None if os.environ.get("KUBECONFIG") else Lab(forward=forward)
    address = os.environ.get("LLM_ADDRESS")
    return Deployment(stack=stack, assume_yes=yes or os.environ.get("YES") == "1", lab=lab, address=address)


Forward = Annotated[bool, typer.Option(envvar="FORWARD", help="Lead ports 80 and 443 of 127.0.0.1 to the lab's edge.")]
Address = Annotated[
    str | None, typer.Option(envvar="LLM_ADDRESS", help="Where the edge is reached, if not under its host's name.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask (as YES=1 does).")]


@app.command()
def plan(
    context: typer.Context,
    file: Annotated[
        # What cannot be read is told as any problem of the file, in JSON too; typer would end before that.
        Path | None,
        typer.Argument(metavar="FILE", readable=False, help="A stack file; by default that of the stack."),
    ] = None,
    stack: Stack = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="For programs; see docs/plan-json.md.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="As NO_COLOR=1 does.")] = False,
) -> None:
    """Say what a stack file comes to: where each model runs, what it takes of the GPUs, how it restarts, what is wrong.

    Needs no cluster and no Pulumi. Problems are told with their lines and end with 1; warnings end with 0.
    """
    source = context.get_parameter_source("stack")
    if file is not None and source is not None and source.name == "COMMANDLINE":
        raise typer.BadParameter(f"says which file, and so does {file}; give one of them.", param_hint="'--stack'")
    raise typer.Exit(
        planning_ahead.show(file or REPOSITORY / f"Pulumi.{stack}.yaml", as_json=as_json, no_color=no_color)
    )


@app.command()
def up(stack: Stack = "dev", yes: Yes = False, forward: Forward = True) -> None:
    """Bring the stack up, on the lab unless KUBECONFIG names a cluster, and show an answer of each server."""
    with _explained():
        _deployment(stack, yes=yes, forward=forward).up()


@app.command()
def down(stack: Stack = "dev", yes: Yes = False) -> None:
    """Take the stack away, and the lab with it unless KUBECONFIG names a cluster."""
    with _explained():
        _deployment(stack, yes=yes).down()


@app.command("policy-config")
def policy_config(
    stack: Stack = "dev",
    levels: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="In place of policies/levels/<stack>.yaml.")
    ] = None,
) -> None:
    """Print what `pulumi --policy-pack-config` takes: the stack's levels, and which GPUs its plan leaves free."""
    with _explained():
        deployment = _deployment(stack, yes=False)
        print(json.dumps(deployment.policy_config(deployment.plan(), levels), indent=2))


@app.command()
def status(
    stack: Stack = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Show how each model fares: where it runs, whether it answers, and why not. Ends with 0 when all are ready."""
    with _explained():
        found = fare.status(_deployment(stack, yes=False))
    print(fare.as_json(found)) if as_json else fare.show(found)
    raise typer.Exit(0 if all(model.phase == "Ready" for model in found) else 1)


@app.command()
def chat(
    model: Annotated[str, typer.Argument(help="A model or a server of the stack, e.g. chat.")],
    stack: Stack = "dev",
    prompt: Annotated[
        str | None, typer.Option(help="One question; else standard input is asked, or a conversation begins.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="What the model is told before.")] = None,
    address: Address = None,
) -> None:
    """Talk with a model through the edge, as any client does."""
    with _explained():
        talking.chat(_deployment(stack, yes=False), model, prompt=prompt, system=system, address=address)


@app.command()
def smoke(stack: Stack = "dev", address: Address = None) -> None:
    """Ask every server one question through the edge. Ends with 0 when all have answered."""
    with _explained():
        talking.smoke(_deployment(stack, yes=False), address=address)


@app.command()
def schema() -> None:
    """Print the JSON Schema of stack files, by which editors complete and check them."""
    print(schema_text(), end="")


@app.command()
def report(
    preview: Annotated[Path, typer.Argument(help="What `pulumi preview --json` printed.")],
    plan_of: Annotated[
        Path | None, typer.Option(metavar="STACKFILE", help="The stack file, for GPU memory and times.")
    ] = None,
    policy_log: Annotated[
        Path | None, typer.Option(help="What `pulumi preview --event-log` wrote, for policy findings.")
    ] = None,
    format: Annotated[reporting.Format, typer.Option(help="For a comment, or to be read here.")] = "markdown",
) -> None:
    """Say what a preview means for reviewers: changes, outages, lost data, GPU memory, policies."""
    with _explained():
        text = reporting.report(preview, stack_file=plan_of, policy_log=policy_log)
        reporting.show(text) if format == "terminal" else print(text, end="")


def main() -> None:
    """Run the command; an output that nobody takes is no error of the program's, and none of the stack file's."""
    try:
        try:
            app(prog_name="llmctl")
        finally:
            sys.stdout.flush()
    except (OSError, SystemExit) as error:
        # Typer and rich end with 1 where a pipe is closed, which would read as a problem of the stack file.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError) or cause.errno not in (errno.EPIPE, errno.ENOSPC):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at the end
        if cause.errno == errno.EPIPE:
            sys.exit(_CLOSED_PIPE)
        sys.exit(f"\nThe output cannot be written: {cause.strerror}.")


if __name__ == "__main__":
    main()
