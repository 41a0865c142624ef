"""The formats of `llmctl policy check`: text, JSON, SARIF, JUnit."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from checked import ALL, EXCEPTED, SERVER, found_in
from llm_policies.pack import RULES

from cli import policy_output
from cli.policy_check import FailOn
from cli.policy_output import Format, rendered

SARIF = json.loads((Path(__file__).parent / "schemas" / "sarif-2.1.0.json").read_text())


def test_sarif_meets_its_schema_and_says_where_why_and_how_bad() -> None:
    log = json.loads(rendered(found_in(ALL, EXCEPTED), "sarif", "https://example.com/docs/"))
    jsonschema.validate(log, SARIF, jsonschema.Draft7Validator)
    [run] = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [rule.name for rule in RULES]
    by_rule = {result["ruleId"]: result for result in run["results"]}
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    mutable = by_rule["image-tag-mutable"]
    assert mutable["level"] == "error"
    assert mutable["locations"][0]["physicalLocation"] == {
        "artifactLocation": {"uri": "a.yaml"},
        "region": {"startLine": 10},
    }
    assert rules[mutable["ruleIndex"]]["helpUri"] == "https://example.com/docs/image-tag-mutable.md"
    assert by_rule["gpu-memory-utilization"]["level"] == "warning"
    [suppression] = by_rule["privileged"]["suppressions"]
    assert "owner ops: it loads the driver" in suppression["justification"]
    assert [r["ruleId"] for r in run["results"] if "suppressions" in r] == ["privileged"]
    [invocation] = run["invocations"]
    assert not invocation["executionSuccessful"]
    assert "is not YAML" in invocation["toolExecutionNotifications"][0]["message"]["text"]


def test_sarif_has_no_more_results_than_github_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses the whole file otherwise: what weighs least goes, and is counted."""
    checked = found_in(SERVER, EXCEPTED)
    assert checked.findings[-1].weight == "excepted"
    most = checked.count("error") + 1
    for limit, left_out in ((most, len(checked.findings) - most), (len(checked.findings), 0)):
        monkeypatch.setattr(policy_output, "_MOST_RESULTS", limit)
        log = json.loads(rendered(checked, "sarif", ""))
        jsonschema.validate(log, SARIF, jsonschema.Draft7Validator)
        [run] = log["runs"]
        levels = [result["level"] for result in run["results"]]
        assert (len(levels), levels.count("error")) == (limit, checked.count("error"))
        told = [note["message"]["text"] for note in run["invocations"][0]["toolExecutionNotifications"]]
        why = f"{left_out} findings left out, of those that weigh least: GitHub takes {limit}."
        assert told == ([why] if left_out else [])
        assert run["invocations"][0]["executionSuccessful"]


def test_sarif_names_any_file() -> None:
    """Names of files are bytes; what is no UTF-8 comes as halves of characters."""
    for name, uri in {
        "a b.yaml": "a%20b.yaml",
        "./a.yaml": "a.yaml",
        "/srv/a.yaml": "file:///srv/a.yaml",
        "bad\udcff.yaml": "bad%FF.yaml",
        "<a>.yaml": "%3Ca%3E.yaml",
        "<stdin>": "stdin",
    }.items():
        checked = found_in(SERVER, rules="privileged", file=name)
        [run] = json.loads(rendered(checked, "sarif", ""))["runs"]
        assert run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"] == {"uri": uri}


def test_a_finding_is_the_same_after_something_was_written_above_it() -> None:
    def fingerprints(text: str) -> set[str]:
        log = json.loads(rendered(found_in(text), "sarif", ""))
        return {json.dumps(result["partialFingerprints"]) for result in log["runs"][0]["results"]}

    assert fingerprints(SERVER) == fingerprints(f"# one\n# two\n{SERVER}")
    assert len(fingerprints(SERVER)) == len(found_in(SERVER).findings)


def test_junit_counts_what_is_there() -> None:
    checked = found_in(ALL, EXCEPTED)
    root = ElementTree.fromstring(rendered(checked, "junit", ""))  # noqa: S314  # made by this very line
    for node in (root, *root):
        for which, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert node.get(which) == str(len(list(node.iter(tag))))
    assert root.get("errors") == root.get("skipped") == "1"
    failed = {case.get("name") for case in root.iter("testcase") if case.find("failure") is not None}
    assert failed == {f.finding.rule.name for f in checked.findings if f.weight == "error"}
    names = [(case.get("classname"), case.get("name")) for case in root.iter("testcase")]
    assert len(names) == len(set(names))


def test_json_has_everything() -> None:
    checked = found_in(ALL, EXCEPTED)
    written = json.loads(rendered(checked, "json", ""))
    assert written["summary"] == {
        "objects": 2,
        "rules": len(RULES),
        "errors": checked.count("error"),
        "warnings": checked.count("warning"),
        "excepted": 1,
    }
    assert [f["line"] for f in written["findings"] if f["rule"] == "image-tag-mutable"] == [10]
    assert [s["line"] for s in written["skipped"]] == [21]
    assert [u["line"] for u in written["unreadable"]] == [27]


def test_text_groups_by_object_and_follows_no_control_character() -> None:
    text = rendered(found_in(ALL, EXCEPTED), "text", "")
    assert text.count("a.yaml:2: Deployment/llm/chat (chart template chart/templates/server.yaml)\n") == 1
    assert "  excepted 12: privileged: " in text
    assert "\x1b" not in text
    assert "\n::error::" not in text
    assert "skipped a.yaml:21: no Kubernetes object" in text
    first, second, *_ = text.splitlines()
    assert first.startswith("unreadable a.yaml:27: is not YAML")
    assert second == "rules over several objects did not see it: what they say is not there, may be."


def test_what_many_rules_say_alike_is_one_line() -> None:
    text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: {a: b}}\n"
    lines = rendered(found_in(text, rules="privileged seccomp capabilities sa-token"), "text", "").splitlines()
    why = "cannot be judged: spec.containers is a mapping, not a list. Correct the field."
    assert [line for line in lines if "cannot be judged" in line] == [
        f"  error    4: privileged: {why}",
        f"  warning  4: capabilities and 1 more rule: {why}",
    ]


def test_what_was_not_judged_is_no_success() -> None:
    """A kind that no rule reads, and a namespace in which every rule is disabled."""
    model = "---\napiVersion: kubeai.org/v1\nkind: Model\nmetadata: {name: a, namespace: ai}\n"
    checked = found_in(f"{SERVER}{model}", {"namespaces": {"llm": "disabled"}})
    root = ElementTree.fromstring(rendered(checked, "junit", ""))  # noqa: S314  # made by this very line
    assert {str(skipped.get("message")) for skipped in root.iter("skipped")} == {
        "every rule is disabled for it, so nothing was checked",
        "no rule reads its kind, so nothing was checked",
    }
    assert (root.get("tests"), root.get("skipped")) == ("2", "2")
    [run] = json.loads(rendered(checked, "sarif", ""))["runs"]
    assert run["invocations"][0]["toolExecutionNotifications"] == [
        {
            "level": "note",
            "message": {"text": "passed over, as no rule reads them: Model (kubeai.org). Check what is made of them."},
        }
    ]
    assert (checked.exit_code("warn"), checked.exit_code("never", on_passed_over=True)) == (0, 1)
    assert found_in(SERVER, rules="privileged").exit_code("never", on_passed_over=True) == 0


@pytest.mark.parametrize(("fail_on", "failures"), [("error", 1), ("warn", 2), ("never", 0)])
def test_junit_fails_by_what_the_check_fails_by(fail_on: FailOn, failures: int) -> None:
    checked = found_in(SERVER, rules="privileged capabilities")
    root = ElementTree.fromstring(rendered(checked, "junit", "", fail_on))  # noqa: S314  # made by this very line
    assert root.get("failures") == str(failures)
    assert (checked.exit_code(fail_on) == 1) is (failures > 0)


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit"])
def test_no_value_that_may_be_a_secret_is_in_the_output(form: Format) -> None:
    assert "hf_aaaa" not in rendered(found_in(SERVER), form, "")
