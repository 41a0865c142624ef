"""`llmctl report`: a preview for the people who decide on it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from planning.plan import Plan, plan_source
from planning.problems import PlanError
from report.comment import comment
from report.preview import Finding, Preview, PreviewError, read_findings, read_preview
from settings.loader import read_source
from settings.problems import SettingsError
from toolchain.steps import StepFailed

Format = Literal["markdown", "terminal"]


def report(preview_file: Path, *, stack_file: Path | None = None, policy_log: Path | None = None) -> str:
    """The comment for what `pulumi preview --json` wrote to `preview_file`, as Markdown.

    Args:
        preview_file: its standard output.
        stack_file: the stack file that was previewed, for its plan; one that cannot be planned is told as an error.
        policy_log: what `--event-log` wrote, for the findings of the policies.

    Raises:
        StepFailed: a file is missing, or is not what it should be.
    """
    preview = _preview(preview_file)
    if stack_file and not stack_file.is_file():
        raise StepFailed(f"{stack_file} is not there, so nothing can be said of its models. Name the stack file.")
    planned: Plan | None = None
    problems: tuple[str, ...] = ()
    if stack_file:
        try:
            planned = plan_source(read_source(stack_file))
        except (SettingsError, PlanError) as error:
            problems = tuple(error.problems)
    stack = preview.stack or (_stack_of(stack_file) if stack_file else None)
    if stack is None:
        raise StepFailed(
            f"{preview_file} names no stack, since the preview ended before there was one, so its comment could not be "
            "found again. Add --plan-of Pulumi.<stack>.yaml."
        )
    findings: tuple[Finding, ...] = ()
    if policy_log:
        try:
            findings = read_findings(_text(policy_log), preview.scrub)
        except PreviewError as error:
            raise StepFailed(f"{policy_log}: {error}") from None
    return comment(preview, stack=stack, plan=planned, findings=findings, problems=problems)


def show(markdown: str) -> None:
    """Print the comment on a terminal as it is meant to look."""
    from rich.console import Console  # here: rendering Markdown costs 0.1 s at start
    from rich.markdown import Markdown

    Console().print(Markdown(markdown))


def _preview(file: Path) -> Preview:
    try:
        return read_preview(_text(file))
    except PreviewError as error:
        raise StepFailed(f"{file}: {error}") from None


def _stack_of(file: Path) -> str:
    return file.name.removeprefix("Pulumi.").removesuffix(".yaml")


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise StepFailed(f"{file} cannot be read: {error}.") from None
