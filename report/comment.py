"""The comment under a pull request: everything that a reviewer has to know before a deployment, worst first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from planning.plan import Plan
from report.changes import changes
from report.escaping import around_difference, cell, code
from report.impact import Effect, Loss, impacts, losses
from report.length import Section, joined
from report.memory import model_rows
from report.preview import Finding, Operation, Preview, Step
from report.words import THE_EDGE, kind_in_words, part_in_words

_EFFECTS: dict[Effect, str] = {
    "outage": "outage",
    "ends": "ends",
    "reduced": "fewer pods for a while",
    "starts": "starts",
    "none": "no outage",
}
_DONE: dict[Operation, str] = {
    "create": "create",
    "update": "update",
    "replace": "replace",
    "delete": "delete",
    "read": "read",
    "import": "import",
    "refresh": "refresh",
    "other": "change in another way",
}
_LONGEST_MESSAGE = 1000


def marker(stack: str) -> str:
    """The hidden first line by which the comment is found again, so that there is one for each stack."""
    return f"<!-- llm-serving-preview: {stack} -->"


def comment(
    preview: Preview,
    *,
    stack: str,
    plan: Plan | None = None,
    findings: Sequence[Finding] = (),
    problems: Sequence[str] = (),
) -> str:
    """The comment as GitHub's Markdown, no longer than GitHub takes.

    Args:
        preview: what would be done.
        stack: the environment's name.
        plan: of the stack file; without it nothing is said of GPU memory, and of times only what resources tell.
        findings: of the policies, as `read_findings` gives them.
        problems: of the stack file, where there can be no plan.
    """
    sections = [
        Section(head=f"{marker(stack)}\n## Preview of {code(stack)}: {_headline(preview, findings, problems)}"),
        _lost(losses(preview)),
        _failures(preview, problems),
        _policies([finding for finding in findings if not finding.excepted]),
        _exceptions([finding for finding in findings if finding.excepted]),
        _restarts(preview, plan),
        _changes(preview),
        *(_groups(preview, operation) for operation in ("create", "delete", "import", "read", "refresh", "other")),
        _models(plan),
        _warnings(preview),
    ]
    return joined([section for section in sections if section.head])


def _headline(preview: Preview, findings: Sequence[Finding], problems: Sequence[str]) -> str:
    counts = Counter(step.operation for step in preview.steps)
    parts = [f"{counts[operation]} to {done}" for operation, done in _DONE.items() if counts[operation]]
    done = ", ".join(parts) or "no change"
    mandatory = sum(finding.mandatory for finding in findings)
    if problems or preview.failed or (not preview.steps and not preview.unchanged):
        return f"**failed**, after {done}" if parts else "**failed**"
    return f"{done}; **refused by {_count(mandatory, 'policy finding')}**" if mandatory else done


def _lost(lost: Sequence[Loss]) -> Section:
    return Section(
        head="> **Data loss.** This deployment deletes:\n>" if lost else "",
        items=[f"> - {code(loss.what)}: {loss.text}." for loss in lost],
    )


def _failures(preview: Preview, problems: Sequence[str]) -> Section:
    told = [code(preview.scrub(problem), longest=_LONGEST_MESSAGE) for problem in problems]
    for diagnostic in preview.diagnostics:
        if diagnostic.severity == "error":
            about = f"{code(diagnostic.about)}: " if diagnostic.about else ""
            told += [f"{about}{code(line.strip(), longest=_LONGEST_MESSAGE)}" for line in _lines(diagnostic.message)]
    if not told and not preview.steps and not preview.unchanged:
        told = ["Pulumi ended before it looked at the stack; its reason is in the log of the preview."]
    return Section(head="### Errors" if told else "", items=[f"- {line}" for line in dict.fromkeys(told)])


def _policies(findings: Sequence[Finding]) -> Section:
    return Section(
        head="### Policies" if findings else "",
        items=[
            f"- **{'mandatory' if finding.mandatory else 'advisory'}** {code(finding.rule)}, {code(finding.about)}: "
            f"{code(finding.message, longest=_LONGEST_MESSAGE)}"
            for finding in findings
        ],
    )


def _exceptions(findings: Sequence[Finding]) -> Section:
    """What would be refused or told if nobody had excepted it: reviewers see who answers for it, and until when."""
    return Section(
        head="### Exceptions from policies" if findings else "",
        items=[
            f"- {code(finding.rule)}, {code(finding.about)}: {code(finding.message, longest=_LONGEST_MESSAGE)}"
            for finding in findings
        ],
    )


def _restarts(preview: Preview, plan: Plan | None) -> Section:
    found = impacts(preview, plan)
    return Section(
        head="### What restarts" if found else "",
        items=[f"- {code(impact.workload)}: **{_EFFECTS[impact.effect]}**. {impact.text}" for impact in found],
    )


def _changes(preview: Preview) -> Section:
    """A row for each property of what is updated or replaced; the resource is named in the first of its rows."""
    rows: list[str] = []
    for step in preview.steps:
        if step.operation not in ("update", "replace"):
            continue
        done = "**replace**" if step.operation == "replace" else step.operation
        who = f"{done} {_resource(step)}"
        changed = changes(step)
        if not changed:
            rows.append(f"| {who} | *(nothing that Pulumi tells)* |  |  |")
        for change in changed:
            old, new = (None if text is None else preview.scrub(text) for text in (change.old, change.new))
            if old is not None and new is not None:
                old, new = around_difference(old, new)
            rows.append(f"| {who} | {cell(preview.scrub(change.path))} | {_side(old)} | {_side(new)} |")
            who = ""
    head = "### Changes\n\n| Resource | Property | Before | After |\n| --- | --- | --- | --- |"
    return Section(head=head if rows else "", items=rows)


def _groups(preview: Preview, operation: Operation) -> Section:
    """What is made or taken away as a whole: a line for each part of the service."""
    parts: dict[str, list[str]] = {}
    for step in preview.steps:
        if step.operation == operation:
            parts.setdefault(_part(step), []).append(f"{kind_in_words(step.kind)} {code(step.name)}")
    return Section(
        head=f"### To {_DONE[operation]}" if parts else "",
        items=[f"- {part}: {', '.join(resources)}" for part, resources in parts.items()],
    )


def _models(plan: Plan | None) -> Section:
    if plan is None:
        return Section()
    rows = [
        f"| {cell(row.server)} {', '.join(cell(model) for model in row.models)} | {cell(row.where)}, {row.gpus} "
        f"| {row.memory} | {row.context} | {row.at_once} |"
        for row in model_rows(plan)
    ]
    head = (
        "### Models after this deployment\n\n"
        "| Model | Runs on | Memory of each GPU, MiB | Context | Full-length requests at once |\n"
        "| --- | --- | --- | --- | --- |"
    )
    return Section(head=head, items=rows)


def _warnings(preview: Preview) -> Section:
    told = [
        f"- {f'{code(d.about)}: ' if d.about else ''}{code(d.message, longest=_LONGEST_MESSAGE)}"
        for d in preview.diagnostics
        if d.severity == "warning"
    ]
    return Section(head="### Warnings" if told else "", items=list(dict.fromkeys(told)))


def _resource(step: Step) -> str:
    return f"{kind_in_words(step.kind)} {cell(step.name)} of {_part(step)}"


def _part(step: Step) -> str:
    part, name = part_in_words(step)
    return part if not name or part == THE_EDGE else f"{part} {cell(name)}"


def _side(text: str | None) -> str:
    return "" if text is None else cell(text)


def _lines(message: str) -> list[str]:
    return [line for line in message.splitlines() if line.strip()]


def _count(number: int, what: str) -> str:
    return f"{number} mandatory {what}{'s' if number != 1 else ''}"
