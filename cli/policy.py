"""`llmctl policy`: the policy pack over manifests, without Pulumi and without a stack."""

from __future__ import annotations

import datetime
import gc
import json
import sys
from pathlib import Path
from typing import Annotated

import typer
from llm_policies.environment import engine_config
from llm_policies.pack import RULES
from rich.console import Console
from rich.markdown import Markdown
from rich.table import Column, Table

from cli import policy_baseline, policy_pages
from cli.manifests import read
from cli.policy_check import FailOn, check, chosen, environment_of
from cli.policy_output import Format, rendered, summary
from cli.printable import printable
from toolchain.paths import REPOSITORY
from toolchain.steps import StepFailed

app = typer.Typer(no_args_is_help=True, help="Hold manifests against the policy pack; no Pulumi, no stack, no cluster.")

_WRONG_USAGE = 2


@app.command("check")
def check_manifests(
    paths: Annotated[list[str], typer.Argument(help="Files, folders with all below them, - for standard input.")],
    levels: Annotated[
        list[Path] | None, typer.Option(help="Levels, settings, exceptions, pools: a file as docs/policies.md has it.")
    ] = None,
    namespace: Annotated[str, typer.Option(help="Of objects that name none, as of most charts.")] = "default",
    rules: Annotated[list[str] | None, typer.Option(help="Only these rules, by commas or given again.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Without these rules, by commas or given again.")] = None,
    format: Annotated[Format, typer.Option(help="sarif: GitHub's code scanning; junit: CI systems.")] = "text",
    output: Annotated[Path | None, typer.Option(help="A file in place of standard output.")] = None,
    fail_on: Annotated[FailOn, typer.Option(help="Which violations end with 1.")] = "error",
    fail_on_passed_over: Annotated[
        bool, typer.Option("--fail-on-passed-over", help="Objects of kinds that no rule reads end with 1, too.")
    ] = False,
    docs: Annotated[
        str, typer.Option(envvar="LLM_POLICIES_DOCS", help="URL of the folder with the rules' pages, for SARIF.")
    ] = "",
) -> None:
    """Check manifests. Ends with 0: clean; 1: violations that count; 2: wrong usage, or input that cannot be read.

    Give what is applied together in one call: rules over several objects see all of it. A chart is checked as
    `helm template ... | llmctl policy check -`, an overlay as `kubectl kustomize ... | llmctl policy check -`.
    """
    # Nearly all that is read is needed to the end: to look through it for garbage would take as long as the rest.
    gc.set_threshold(100_000, 20, 100)
    try:
        wanted = chosen(rules or (), exclude or ())
        if levels is not None and len(levels) > 1:
            raise StepFailed("--levels is given twice, and one environment counts. Put both files into one.")
        environment = environment_of(levels[0] if levels else None)
        found = read(paths, sys.stdin.buffer)
        checked = check(found, wanted, environment, today=datetime.date.today(), namespace=namespace)
        text = rendered(checked, format, docs, fail_on)
        if output is None:
            sys.stdout.buffer.write(text.encode("utf-8", "backslashreplace"))
            sys.stdout.buffer.flush()
        else:
            output.write_bytes(text.encode("utf-8", "backslashreplace"))
    except StepFailed as error:
        print(f"llmctl policy check: {error}", file=sys.stderr)
        raise typer.Exit(_WRONG_USAGE) from None
    except OSError as error:
        print(f"llmctl policy check: {output}: {error.strerror}.", file=sys.stderr)
        raise typer.Exit(_WRONG_USAGE) from None
    if output is not None or format != "text":
        for problem in checked.unreadable:
            print(printable(f"unreadable {problem}")[:2000], file=sys.stderr)
        print(summary(checked), file=sys.stderr)
    raise typer.Exit(checked.exit_code(fail_on, on_passed_over=fail_on_passed_over))


@app.command()
def baseline(
    paths: Annotated[list[str], typer.Argument(help="As for check.")],
    owner: Annotated[str, typer.Option(help="Who is to mend what is there.")],
    until: Annotated[datetime.datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day.")],
    levels: Annotated[Path | None, typer.Option(help="As for check.")] = None,
    namespace: Annotated[str, typer.Option(help="As for check.")] = "default",
) -> None:
    """Print exceptions for all errors that there are, for a file of levels: what comes new is refused from then on."""
    try:
        found, today = read(paths, sys.stdin.buffer), datetime.date.today()
        checked = check(found, RULES, environment_of(levels), today=today, namespace=namespace)
        if checked.unreadable:
            raise StepFailed("\n".join(printable(f"unreadable {problem}") for problem in checked.unreadable))
        print(policy_baseline.exceptions(checked, owner, until.date()), end="")
    except StepFailed as error:
        print(f"llmctl policy baseline: {error}", file=sys.stderr)
        raise typer.Exit(_WRONG_USAGE) from None


@app.command("config")
def print_config(levels: Annotated[Path, typer.Argument(help="A file as docs/policies.md has it.")]) -> None:
    """Print what `pulumi --policy-pack-config` takes, for programs without a stack file of this project."""
    try:
        print(json.dumps(engine_config(environment_of(levels), RULES), indent=2))
    except StepFailed as error:
        print(f"llmctl policy config: {error}", file=sys.stderr)
        raise typer.Exit(_WRONG_USAGE) from None


@app.command("rules")
def list_rules(as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False) -> None:
    """List the rules."""
    if as_json:
        listed = [
            {
                "name": rule.name,
                "severity": rule.severity,
                "title": rule.title,
                "kinds": None if rule.kinds is None else sorted(rule.kinds),
                "together": rule.of_stack is not None,
                "remediates": rule.remediate is not None,
                "settings": {name: setting.schema() for name, setting in rule.settings.items()},
                "references": list(rule.references),
            }
            for rule in RULES
        ]
        print(json.dumps(listed, indent=2))
        return
    longest = max(len(rule.name) for rule in RULES)  # a name that is cut can be copied by nobody
    table = Table(Column("Rule", no_wrap=True, min_width=longest), "Severity", "Mends itself", "What holds")
    for rule in RULES:
        table.add_row(rule.name, rule.severity, "yes" if rule.remediate else "", rule.title)
    Console().print(table)


@app.command()
def explain(rule: Annotated[str, typer.Argument(help="A rule's name, e.g. gpu-rollout-deadlock.")]) -> None:
    """Print a rule's page: what it finds, why it matters, a bad and a good example, its settings."""
    try:
        [found] = chosen([rule], ())
    except StepFailed as error:
        print(f"llmctl policy explain: {error}", file=sys.stderr)
        raise typer.Exit(_WRONG_USAGE) from None
    text = policy_pages.page(found)
    if sys.stdout.isatty():
        Console().print(Markdown(text))
    else:
        print(text, end="")


@app.command(hidden=True)  # for those who change the rules of this repository
def docs() -> None:
    """Write docs/policies/<rule>.md and the table in docs/policies.md, from the rules."""
    touched = policy_pages.write(RULES, REPOSITORY / "docs")
    for file in touched:
        print(file.relative_to(REPOSITORY))
    print(f"{len(touched)} of {len(RULES) + 1} files were not current." if touched else "Everything was current.")
