"""What a check of manifests found, for people and for programs: text, JSON, SARIF 2.1.0, JUnit's XML."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from itertools import groupby
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import quote

import yaml
from llm_policies.rule import Rule

from cli.manifests import STDIN
from cli.policy_check import WEIGHTS, Checked, FailOn, Located, Weight
from cli.policy_junit import junit
from cli.policy_pages import page
from cli.printable import printable
from toolchain.paths import REPOSITORY

Format = Literal["text", "json", "sarif", "junit"]

_MOST_RESULTS = 25_000
"""Of one run: GitHub refuses a file with more."""

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"


def rendered(checked: Checked, form: Format, docs: str, fail_on: FailOn = "error") -> str:
    """The result in a format; `docs` is where the rules' pages are, a URL or nothing."""
    makers: dict[Format, Callable[[], str]] = {
        "text": lambda: _text(checked),
        "json": lambda: json.dumps(_json(checked), indent=2),
        "sarif": lambda: json.dumps(_sarif(checked, docs), indent=2),
        "junit": lambda: junit(checked, fail_on),
    }
    return makers[form]() + "\n"


def summary(checked: Checked) -> str:
    """One sentence."""
    counts = [
        _counted(checked.count("error"), "error"),
        _counted(checked.count("warning"), "warning"),
        f"{checked.count('excepted')} excepted",
    ]
    return f"{_counted(len(checked.objects), 'object')}, {_counted(len(checked.rules), 'rule')}: {', '.join(counts)}."


def _text(checked: Checked) -> str:
    lines = [printable(f"unreadable {problem}") for problem in checked.unreadable]
    if checked.unreadable and checked.findings:
        lines += ["rules over several objects did not see it: what they say is not there, may be.", ""]
    for _, group in groupby(checked.findings, key=lambda found: id(found.finding.item)):
        of_object = list(group)
        first = of_object[0]
        source = f" (chart template {first.source})" if first.source else ""
        lines.append(printable(f"{first.file}:{first.object_line}: {first.finding.item.id}{source}"))
        told: dict[tuple[Weight, int, str], list[str]] = {}
        for found in of_object:
            told.setdefault((found.weight, found.line, found.finding.message), []).append(found.finding.rule.name)
        for (weight, line, message), (rule, *more) in told.items():
            others = f" and {_counted(len(more), 'more rule')}" if more else ""
            lines.append(printable(f"  {weight:8} {line}: {rule}{others}: {message}"))
        lines.append("")
    if checked.passed_over:
        lines.append(printable(_told_passed_over(checked)))
    lines += [printable(f"note: {note}.") for note in checked.notes]
    lines += [printable(f"skipped {s.file}:{s.line}: {s.why}.") for s in checked.skipped]
    return "\n".join([*lines, summary(checked)])


def _told_passed_over(checked: Checked) -> str:
    return f"passed over, as no rule reads them: {', '.join(checked.passed_over)}. Check what is made of them."


def _json(checked: Checked) -> dict[str, Any]:
    return {
        "version": version(),
        "summary": {
            "objects": len(checked.objects),
            "rules": len(checked.rules),
            "errors": checked.count("error"),
            "warnings": checked.count("warning"),
            "excepted": checked.count("excepted"),
        },
        "findings": [
            {
                "rule": found.finding.rule.name,
                "weight": found.weight,
                "object": found.finding.item.id,
                "file": found.file,
                "line": found.line,
                "message": found.finding.message,
            }
            for found in checked.findings
        ],
        "passedOver": list(checked.passed_over),
        "notes": list(checked.notes),
        "skipped": [{"file": s.file, "line": s.line, "why": s.why} for s in checked.skipped],
        "unreadable": [{"file": u.file, "line": u.line, "why": u.why} for u in checked.unreadable],
    }


def _sarif(checked: Checked, docs: str) -> dict[str, Any]:
    index = {rule.name: position for position, rule in enumerate(checked.rules)}
    results = sorted(checked.findings, key=lambda found: WEIGHTS[found.weight])[:_MOST_RESULTS]
    notifications = [
        {"level": "error", "message": {"text": problem.why}, "locations": [_place(problem.file, problem.line)]}
        for problem in checked.unreadable
    ]
    notes = [*([_told_passed_over(checked)] if checked.passed_over else []), *(f"{note}." for note in checked.notes)]
    notifications += [{"level": "note", "message": {"text": note}} for note in notes]
    if left_out := len(checked.findings) - len(results):
        told = f"{_counted(left_out, 'finding')} left out, of those that weigh least: GitHub takes {_MOST_RESULTS}."
        notifications.append({"level": "warning", "message": {"text": told}})
    return {
        "$schema": _SARIF,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {
                    "driver": {
                        "name": "llm-policies",
                        "version": version(),
                        "rules": [_sarif_rule(rule, docs) for rule in checked.rules],
                    }
                },
                "invocations": [
                    {
                        "executionSuccessful": not checked.unreadable,
                        "toolExecutionNotifications": notifications,
                    }
                ],
                "columnKind": "unicodeCodePoints",
                "results": [_sarif_result(found, index) for found in results],
            }
        ],
    }


def _sarif_rule(rule: Rule, docs: str) -> dict[str, Any]:
    return {
        "id": rule.name,
        "name": "".join(word.title() for word in rule.name.split("-")),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.description},
        "help": {"text": rule.remediation, "markdown": page(rule)},
        **({"helpUri": f"{docs.rstrip('/')}/{rule.name}.md"} if docs else {}),
        "defaultConfiguration": {"level": "error" if rule.severity == "error" else "warning"},
        "properties": {
            "tags": ["kubernetes", *dict.fromkeys(rule.references)],
            "problem.severity": "error" if rule.severity == "error" else "warning",
        },
    }


def _sarif_result(found: Located, index: dict[str, int]) -> dict[str, Any]:
    item, rule, message = found.finding.item, found.finding.rule, found.finding.message
    # Without the line: a finding is the same one after something was written above it.
    identity = hashlib.sha256(f"{rule.name}\0{item.id}\0{message}".encode("utf-8", "replace")).hexdigest()
    place = _place(found.file, found.line)
    place["logicalLocations"] = [{"fullyQualifiedName": item.id, "name": item.name, "kind": "resource"}]
    result: dict[str, Any] = {
        "ruleId": rule.name,
        "ruleIndex": index[rule.name],
        "level": "error" if found.weight == "error" else "warning",
        "message": {"text": f"{item.id}: {message}"},
        "locations": [place],
        "partialFingerprints": {"objectAndMessage/v1": identity},
    }
    if found.weight == "excepted":
        result["level"] = "note"
        result["suppressions"] = [{"kind": "external", "status": "accepted", "justification": message}]
    return result


def _place(file: str, line: int | None) -> dict[str, Any]:
    path = PurePath(file).as_posix()
    # Bytes: a file's name need not be UTF-8.
    uri = "stdin" if file == STDIN else quote(os.fsencode(path))
    if path.startswith("/"):
        uri = f"file://{uri}"
    physical: dict[str, Any] = {"artifactLocation": {"uri": uri}}
    if line is not None:
        physical["region"] = {"startLine": line}
    return {"physicalLocation": physical}


def version() -> str:
    """The pack's own."""
    return str(yaml.safe_load((REPOSITORY / "policies" / "PulumiPolicy.yaml").read_text())["version"])


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
