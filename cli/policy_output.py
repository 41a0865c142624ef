"""What a check of manifests found, for people and for programs: text, JSON, SARIF 2.1.0, JUnit's XML."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Any, Literal
from urllib.parse import quote
from xml.etree import ElementTree  # it writes, and reads nothing

import yaml
from llm_policies.objects import Object
from llm_policies.rule import Rule

from cli.manifests import STDIN, Unreadable
from cli.policy_check import WEIGHTS, Checked, Located, Weight
from cli.policy_pages import page
from toolchain.paths import REPOSITORY

Format = Literal["text", "json", "sarif", "junit"]

_SHOWN: dict[Weight, str] = {"error": "error", "warning": "warning", "excepted": "excepted"}
_MOST_RESULTS = 25_000
"""Of one run: GitHub refuses a file with more."""

_SARIF = "https://json.schemastore.org/sarif-2.1.0.json"
# Everything that neither a terminal nor XML 1.0 should be given as it is.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


def rendered(checked: Checked, form: Format, docs: str) -> str:
    """The result in a format; `docs` is where the rules' pages are, a URL or nothing."""
    makers: dict[Format, Callable[[], str]] = {
        "text": lambda: _text(checked),
        "json": lambda: json.dumps(_json(checked), indent=2),
        "sarif": lambda: json.dumps(_sarif(checked, docs), indent=2),
        "junit": lambda: _junit(checked),
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
    lines = []
    for _, group in groupby(checked.findings, key=lambda found: id(found.finding.item)):
        of_object = list(group)
        first = of_object[0]
        lines.append(_printable(f"{first.file}:{first.object_line}: {first.finding.item.id}"))
        lines += [
            _printable(f"  {_SHOWN[found.weight]:8} {found.line}: {found.finding.rule.name}: {found.finding.message}")
            for found in of_object
        ]
        lines.append("")
    if checked.passed_over:
        lines.append(_printable(f"passed over, as no rule reads them: {', '.join(checked.passed_over)}."))
    lines += [_printable(f"skipped {s.file}:{s.line}: {s.why}.") for s in checked.skipped]
    lines += [_printable(f"unreadable {problem}") for problem in checked.unreadable]
    return "\n".join([*lines, summary(checked)])


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


def _junit(checked: Checked) -> str:
    """A suite for each file; in it a case for each rule that an object breaks, or one that has passed."""
    root = ElementTree.Element("testsuites", name="llm-policies")
    of_object = {id(item): list(found) for item, found in groupby(checked.findings, key=lambda one: one.finding.item)}
    unreadable: dict[str, list[Unreadable]] = {}
    for problem in checked.unreadable:
        unreadable.setdefault(problem.file, []).append(problem)
    suites: dict[str, list[tuple[Object, dict[str, list[Located]]]]] = {file: [] for file in unreadable}
    for item, file, _ in checked.objects:
        by_rule: dict[str, list[Located]] = {}
        for one in of_object.get(id(item), ()):
            by_rule.setdefault(one.finding.rule.name, []).append(one)
        suites.setdefault(file, []).append((item, by_rule or {"every rule": []}))
    for file, of_file in suites.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_printable(file))
        for item, by_rule in of_file:
            for name, found in by_rule.items():
                case = ElementTree.SubElement(
                    suite, "testcase", name=name, classname=_printable(item.id), file=_printable(file)
                )
                if found:
                    case.set("line", str(found[0].line))
                    _verdict(case, found)
        for problem in unreadable.get(file, ()):
            case = ElementTree.SubElement(suite, "testcase", name="readable", classname=_printable(file))
            ElementTree.SubElement(case, "error", type="unreadable", message=_printable(str(problem)))
        for which, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(which, str(sum(1 for _ in suite.iter(tag))))
    for which in ("tests", "failures", "errors", "skipped"):
        root.set(which, str(sum(int(suite.get(which, "0")) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _verdict(case: ElementTree.Element, found: Sequence[Located]) -> None:
    """What one rule says of one object; CI systems read one failure in a case."""
    told = "\n".join(_printable(f"{one.file}:{one.line}: {one.finding.message}") for one in found)
    rule = found[0].finding.rule
    weights = {one.weight for one in found}
    if "error" in weights:
        failure = ElementTree.SubElement(case, "failure", type=rule.name, message=told)
        failure.text = _printable(f"{rule.title} {rule.remediation}")
    elif weights == {"excepted"}:
        ElementTree.SubElement(case, "skipped", message=told)
    else:
        ElementTree.SubElement(case, "system-out").text = f"warning: {told}"


def version() -> str:
    """The pack's own."""
    return str(yaml.safe_load((REPOSITORY / "policies" / "PulumiPolicy.yaml").read_text())["version"])


def _printable(text: str) -> str:
    """`text` on one line, without what a terminal would follow: names in a manifest may be anything."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
