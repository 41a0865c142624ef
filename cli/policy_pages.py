"""A page for each rule of the policy pack, made from the rule, and an index of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from llm_policies.environment import PACK
from llm_policies.objects import POD_BEARING
from llm_policies.rule import Rule

_MADE = "<!-- Made from the rule by `llmctl policy docs`; an edit here is lost. -->"
_BEGIN = "<!-- rules: made by `llmctl policy docs` -->"
_END = "<!-- end of rules -->"
_COUNTS = {"error": "error: refused where nothing else is said", "warn": "warning: told"}


def page(rule: Rule) -> str:
    """The rule's page, as Markdown."""
    parts = [
        f"# {rule.name}",
        _MADE,
        f"{rule.title} {rule.description}",
        f"| Severity | Looks at | Mends it itself |\n| --- | --- | --- |\n"
        f"| {_COUNTS[rule.severity]} | {_kinds(rule)} | {'yes, at level `remediate`' if rule.remediate else 'no'} |",
        f"## How to fix it\n{rule.remediation}",
        f"## Refused\n```yaml\n{rule.bad}```",
        f"## Accepted\n```yaml\n{rule.good}```",
    ]
    if rule.settings:
        rows = [
            f"| `{name}` | `{json.dumps(setting.default, sort_keys=True)}` | {setting.description} |"
            for name, setting in rule.settings.items()
        ]
        # Those of the whole pack are the engine's settings of this rule, and people's own keys.
        where = "At the top of" if rule.name == PACK else f"Below `rules.{rule.name}` in"
        parts.append(
            f"## Settings\n{where} a file of levels.\n\n"
            "| Setting | Default | What it is |\n| --- | --- | --- |\n" + "\n".join(rows)
        )
    parts.append("## References\n" + "\n".join(f"- {reference}" for reference in rule.references))
    return "\n\n".join(parts) + "\n"


def index(rules: Sequence[Rule]) -> str:
    """A table of all rules."""
    rows = [
        f"| [{rule.name}](policies/{rule.name}.md) | {rule.severity} | {_kinds(rule)} "
        f"| {'yes' if rule.remediate else 'no'} | {rule.title} |"
        for rule in rules
    ]
    head = "| Rule | Severity | Looks at | Mends itself | What holds |\n| --- | --- | --- | --- | --- |"
    return "\n".join([_BEGIN, head, *rows, _END])


def files(rules: Sequence[Rule], docs: Path) -> dict[Path, str]:
    """Text of each file below `docs`: a page for each rule, and docs/policies.md with its own words kept."""
    guide = docs / "policies.md"
    written = guide.read_text("utf-8")
    before, begin, rest = written.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{guide.name} lacks the line {_BEGIN} or {_END}, between which the table of rules stands.")
    pages = {docs / "policies" / f"{rule.name}.md": page(rule) for rule in rules}
    return {guide: f"{before}{index(rules)}{after}", **pages}


def write(rules: Sequence[Rule], docs: Path) -> list[Path]:
    """Write what differs, and take pages of rules away that are no longer there; returns what was touched."""
    wanted = files(rules, docs)
    (docs / "policies").mkdir(exist_ok=True)
    left = [file for file in (docs / "policies").glob("*.md") if file not in wanted]
    for file in left:
        file.unlink()
    touched = [file for file, text in wanted.items() if not file.exists() or file.read_text("utf-8") != text]
    for file in touched:
        file.write_text(wanted[file], "utf-8")
    return [*touched, *left]


def _kinds(rule: Rule) -> str:
    what = "" if rule.of_stack is None else "one by one and together" if rule.judges_single else "together"
    if rule.kinds is None:
        kinds = "every kind"
    elif rule.kinds >= POD_BEARING:
        kinds = ", ".join(["every kind with pods", *sorted(rule.kinds - POD_BEARING)])
    else:
        kinds = ", ".join(sorted(rule.kinds))
    return f"{kinds}, {what}" if what else kinds
