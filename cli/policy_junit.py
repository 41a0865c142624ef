"""What a check of manifests found, as JUnit's XML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from xml.etree import ElementTree  # it writes, and reads nothing

from llm_policies.objects import Object

from cli.manifests import Unreadable
from cli.policy_check import COUNTING, Checked, FailOn, Located
from cli.printable import printable


def junit(checked: Checked, fail_on: FailOn) -> str:
    """A suite for each file; in it a case for each rule that an object breaks, or else one for all of them."""
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
        suite = ElementTree.SubElement(root, "testsuite", name=printable(file))
        for item, by_rule in of_file:
            for name, found in by_rule.items():
                case = ElementTree.SubElement(
                    suite, "testcase", name=name, classname=printable(item.id), file=printable(file)
                )
                if found:
                    case.set("line", str(found[0].line))
                    _verdict(case, found, fail_on)
                elif (why := checked.why_unjudged(item)) is not None:
                    ElementTree.SubElement(case, "skipped", message=f"{why}, so nothing was checked")
        for problem in unreadable.get(file, ()):
            case = ElementTree.SubElement(suite, "testcase", name="readable", classname=printable(file))
            ElementTree.SubElement(case, "error", type="unreadable", message=printable(str(problem)))
        for which, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            suite.set(which, str(sum(1 for _ in suite.iter(tag))))
    for which in ("tests", "failures", "errors", "skipped"):
        root.set(which, str(sum(int(suite.get(which, "0")) for suite in root)))
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode")


def _verdict(case: ElementTree.Element, found: Sequence[Located], fail_on: FailOn) -> None:
    """What one rule says of one object; CI systems read one failure in a case."""
    told = "\n".join(printable(f"{one.file}:{one.line}: {one.finding.message}") for one in found)
    rule = found[0].finding.rule
    weights = {one.weight for one in found}
    if not weights.isdisjoint(COUNTING[fail_on]):
        failure = ElementTree.SubElement(case, "failure", type=rule.name, message=told)
        failure.text = printable(f"{rule.title} {rule.remediation}")
    elif weights == {"excepted"}:
        ElementTree.SubElement(case, "skipped", message=told)
    else:
        ElementTree.SubElement(case, "system-out").text = f"{' and '.join(sorted(weights))}: {told}"
