"""`llmctl policy check`: manifests as people write them, what is found in them and where, and what may not pass."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import jsonschema
import pytest
from described_manifests import FOLDER as MANIFESTS
from described_manifests import TODAY, described
from llm_policies.environment import read_environment
from llm_policies.pack import RULES
from llm_policies.values import SECRET, SIGNATURE, UNKNOWNS
from on_mocks import Raw
from typer.testing import CliRunner

from cli.__main__ import app
from cli.kubectl_yaml import plain
from cli.manifests import Manifest, Skipped, Unreadable, of_text
from cli.policy_check import Checked, check
from cli.policy_output import Format, rendered
from toolchain.paths import REPOSITORY

HERE = Path(__file__).parent
SARIF = json.loads((HERE / "schemas" / "sarif-2.1.0.json").read_text())

TWICE = "so one of the two would be lost. Take one out."
FOREIGN = "has a mark by which Pulumi tells secrets and unknowns, which no manifest has. Take it out."

SERVER = """\
# Source: chart/templates/server.yaml
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat, namespace: llm}
spec:
  template:
    spec:
      containers:
      - name: vllm
        image: vllm/vllm-openai:latest
        securityContext:
          privileged: true
        env:
        - name: HF_TOKEN
          value: hf_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa
        resources:
          limits:
            nvidia.com/gpu: two
        args: [org/model, --gpu-memory-utilization=0.99]
"""


def found_in(text: str, levels: Raw | None = None, rules: str = "") -> Checked:
    environment = read_environment(levels or {}, RULES)
    chosen = [rule for rule in RULES if not rules or rule.name in rules.split()]
    return check(of_text(text, "a.yaml"), chosen, environment, today=TODAY)


def lines_of(checked: Checked) -> dict[str, int]:
    """The line of the first finding of each rule."""
    return {found.finding.rule.name: found.line for found in reversed(checked.findings)}


def problems(text: str) -> list[str]:
    return [str(found) for found in of_text(text, "a.yaml") if isinstance(found, Unreadable)]


# --- real manifests ---


@pytest.mark.parametrize("file", sorted(MANIFESTS.glob("*.yaml")), ids=lambda file: str(file.stem))
def test_what_is_found_in_what_guides_and_charts_give(file: Path) -> None:
    assert described(file) == (MANIFESTS / "expected" / f"{file.stem}.txt").read_text().splitlines()


def test_a_guides_server_that_was_mended_has_nothing_to_say() -> None:
    assert described(MANIFESTS / "mended.yaml") == []


@pytest.mark.parametrize("file", sorted(MANIFESTS.glob("*.yaml")), ids=lambda file: str(file.stem))
def test_a_manifest_of_others_says_where_it_is_from(file: Path) -> None:
    header = file.read_text().partition("\napiVersion")[0]
    assert file.stem == "mended" or re.search(
        r"github\.com/[^ ,]+(,| \()\s*(Apache-2\.0|MIT)\)", header.replace("\n# ", " ")
    )


# --- the line ---


def test_a_finding_stands_on_the_line_of_what_it_names() -> None:
    lines = lines_of(found_in(SERVER))
    assert {
        "image-tag-mutable": 10,
        "privileged": 12,
        "secret-in-env": 14,
        "gpu-request-equals-limit": 18,
        "gpu-memory-utilization": 19,
        "run-as-non-root": 9,  # nothing is written of it: the container
        "sa-token": 2,  # nor of this: the object, after the remark
    }.items() <= lines.items()


def test_documents_of_a_file_and_objects_of_a_list_are_counted_on() -> None:
    text = f"---\n{SERVER}---\n---\n# nothing\n---\n{SERVER}"
    lines = [f.line for f in found_in(text, rules="image-tag-mutable").findings]
    assert lines == [11, 34]
    listed = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
        f"- {line}\n" if number == 0 else f"  {line}\n" for number, line in enumerate(SERVER.splitlines()[1:])
    )
    [found] = found_in(listed, rules="image-tag-mutable").findings
    assert (found.object_line, found.line) == (4, 12)


def test_json_has_lines_too() -> None:
    text = json.dumps(
        {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"image": "a", "name": "b"}]}}, indent="\t"
    )
    [found] = found_in(text, rules="image-tag-mutable").findings
    assert found.line == 1 + text[: text.index('"image"')].count("\n")
    assert found_in('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "\\ud83d"}}').unreadable == []


# --- what no one may take for clean ---


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: [", "a.yaml:1: is not YAML: did not find expected node content."),
        ("kind: Pod\n\tb: c", "a.yaml:2: is not YAML: found a tab character that violates indentation."),
        ("a: &a [*a]", "a.yaml:1: has an alias of what it stands in, or too many levels by aliases."),
        ("---\na: 1\n---\nb: 1\nb: 2", f"a.yaml:5: 'b' is written again, {TWICE}"),
        ("[" * 5000, "a.yaml: has more levels within each other than any object."),
        ("- " * 5000, "a.yaml:1: has more than 100 levels within each other."),
        ("{" * 5000, "a.yaml:1: has more than 100 levels within each other."),
        ('{"a":' * 5000 + "1" + "}" * 5000, "a.yaml: has more levels within each other than any object."),
        ('{"a":' * 200 + "1" + "}" * 200, "a.yaml: has more than 100 levels within each other."),
        ('{"a": 1, "a": 2}', f"a.yaml: 'a' is written twice in one mapping, {TWICE}"),
        ("? [a]\n: b", "a.yaml:1: has a key that is a list or a mapping; Kubernetes knows texts alone."),
        ("a: {<<: 1}", "a.yaml:1: merges with << what is no mapping."),
        ("apiVersion: v1\nkind: 1", "a.yaml:1: kind and apiVersion must both be texts. Correct them."),
        ("kind: Pod\nspec: {}", "a.yaml:1: kind and apiVersion must both be texts. Correct them."),
        (f"a: {sorted(UNKNOWNS)[0]}", f"a.yaml:1: {FOREIGN}"),
        (f"a: {{{SIGNATURE}: {SECRET}}}", f"a.yaml:1: {FOREIGN}"),
        (f'{{"a": "{sorted(UNKNOWNS)[0]}"}}', f"a.yaml: {FOREIGN}"),
        ('{"a": NaN}', "a.yaml: NaN is no number in JSON."),
        ("a: \x00", "a.yaml:1: is not YAML: it has a character that YAML does not allow."),
        (
            "kind: Pod\nmetadata:\n  name: {{ .Values.name }}\n  {{- with .Values.x }}",
            "a.yaml:4: is not YAML: could not find expected ':'. It looks like a chart's template: give what "
            "`helm template` prints.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_with_its_line(text: str, why: str) -> None:
    assert problems(text) == [why]
    assert found_in(text).exit_code("never") == 2


def test_aliases_of_aliases_end() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{name}: &{name} [{','.join([f'*{before}'] * 10)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    begun = time.monotonic()
    [problem] = problems(bomb)
    assert problem.endswith("has more than 1000000 values, aliases counted.")
    assert time.monotonic() - begun < 20


def test_one_document_that_is_wrong_does_not_hide_the_others() -> None:
    checked = found_in(f"a: [\n---\n{SERVER}---\nb: c: d\n", rules="image-tag-mutable")
    assert [f.line for f in checked.findings] == [12]
    assert [u.line for u in checked.unreadable] == [1, 23]
    assert checked.exit_code("never") == 2


def test_aliases_merges_and_blocks_are_read_as_kubectl_does() -> None:
    assert plain("a: &x {b: 1, c: 2}\nd: {<<: *x, c: 3}") == {"a": {"b": 1, "c": 2}, "d": {"b": 1, "c": 3}}
    assert plain("[yes, 'yes', 0o17, 017, 0x1F, 1e3, ~, 12:30, 2026-01-01, .5, 0x_, No]") == [
        *(True, "yes", 15, 15, 31, 1000.0, None, "12:30", "2026-01-01", 0.5, "0x_", False)
    ]
    [found] = of_text("kind: ConfigMap\napiVersion: v1\ndata:\n  a: |\n    b\n     ---\n    c: [\n", "x")
    assert isinstance(found, Manifest)
    assert found.data["data"] == {"a": "b\n ---\nc: [\n"}


@pytest.mark.parametrize(
    "text", ["replicas: 1\nimage: {tag: x}", "- a\n- b", "just words", "apiVersion: v2\nname: chart"]
)
def test_what_is_no_object_is_skipped_with_a_word(text: str) -> None:
    assert list(of_text(text, "values.yaml")) == [
        Skipped(file="values.yaml", line=1, why="no Kubernetes object: it has no kind and apiVersion")
    ]


@pytest.mark.parametrize("text", ["", "---\n---\n", "# remark\n", "a: b", "%YAML 1.1\n---\n..."])
def test_nothing_to_judge_is_no_success(text: str) -> None:
    """A pipe whose first program has failed must not be green."""
    checked = found_in(text)
    assert [str(u) for u in checked.unreadable] == ["input: has no Kubernetes object, so nothing was checked."]
    assert checked.exit_code("error") == 2


def test_kinds_that_no_rule_knows_are_told() -> None:
    checked = found_in("apiVersion: kubeai.org/v1\nkind: Model\nspec: {image: 'x:latest'}")
    assert checked.passed_over == ["Model (kubeai.org)"]
    assert checked.exit_code("warn") == 0


# --- levels ---


@pytest.mark.parametrize(
    ("levels", "weight", "code"),
    [
        ({}, "error", 1),
        ({"levels": {"all": "advisory"}}, "warning", 0),
        ({"rules": {"privileged": "remediate"}}, "error", 1),
        ({"namespaces": {"llm": "advisory"}}, "warning", 0),
        ({"namespaces": {"other": "advisory"}}, "error", 1),
        ({"exceptions": [("2026-11-21", "Deployment/llm/*")]}, "excepted", 0),
        ({"exceptions": [("2026-11-20", "Deployment/llm/*")]}, "error", 1),
        ({"exceptions": [("2026-11-21", "Deployment/prod/*")]}, "error", 1),
    ],
)
def test_the_environment_says_what_counts(levels: Raw, weight: str, code: int) -> None:
    if "exceptions" in levels:
        [(until, of)] = levels["exceptions"]
        said = {"rule": "privileged", "object": of, "reason": "it loads the driver", "owner": "ops", "until": until}
        levels = {"exceptions": [said]}
    checked = found_in(SERVER, levels, "privileged")
    assert [found.weight for found in checked.findings] == [weight]
    assert checked.exit_code("error") == code
    assert checked.exit_code("warn") == (0 if weight == "excepted" else 1)
    assert checked.exit_code("never") == 0


def test_an_object_excepts_itself_by_an_annotation() -> None:
    annotation = 'llm-policies/privileged: "until 2027-01-01, owner ops: it loads the driver"'
    text = SERVER.replace("namespace: llm}", f"namespace: llm, annotations: {{{annotation}}}}}")
    [found] = found_in(text, rules="privileged").findings
    assert found.weight == "excepted"
    assert "Excepted until 2027-01-01, owner ops: it loads the driver" in found.finding.message


# --- formats ---


ALL = f'{SERVER}---\na: b\n---\napiVersion: v1\nkind: Service\nmetadata: {{name: "a\\e[31m\\n::error::b"}}\n---\nx: [\n'
EXCEPTED = {
    "exceptions": [
        {"rule": "privileged", "object": "*", "reason": "it loads the driver", "owner": "ops", "until": "2027-01-01"}
    ]
}


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
    assert text.count("a.yaml:2: Deployment/llm/chat\n") == 1
    assert "  excepted 12: privileged: " in text
    assert "\x1b" not in text
    assert "\n::error::" not in text
    assert "skipped a.yaml:21: no Kubernetes object" in text
    assert "unreadable a.yaml:27: is not YAML" in text


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit"])
def test_no_value_that_may_be_a_secret_is_in_the_output(form: Format) -> None:
    assert "hf_aaaa" not in rendered(found_in(SERVER), form, "")


# --- the command ---


def run(*arguments: str, given: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["policy", *arguments], input=given)
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "base" / "server.yml").write_text(SERVER)
    (tmp_path / "values.yaml").write_text("replicas: 1\n")
    (tmp_path / "notes.txt").write_text("a: [")
    (tmp_path / ".git" / "x.yaml").write_text("a: [")
    return tmp_path


def test_a_folder_is_looked_through(folder: Path) -> None:
    code, out, _ = run("check", str(folder), "--rules", "privileged")
    assert code == 1
    assert f"{folder}/base/server.yml:2: Deployment/llm/chat" in out
    assert f"skipped {folder}/values.yaml:1" in out
    assert out.endswith("1 object, 1 rule: 1 error, 0 warnings, 0 excepted.\n")


def test_standard_input_is_read() -> None:
    assert run("check", "-", "--rules", "image-tag-mutable", given=SERVER)[0] == 1
    assert run("check", "-", given="")[0] == 2


def test_a_rule_that_is_left_out_says_nothing(folder: Path) -> None:
    arguments = ["check", str(folder), *(f"--exclude={rule.name}" for rule in RULES if rule.name != "privileged")]
    assert run(*arguments)[1].count("  error ") == 1
    assert run(*arguments, "--exclude=privileged")[0] == 0
    assert run(*arguments, "--fail-on=never")[0] == 0


def test_every_file_that_cannot_be_read_is_told_at_once(folder: Path) -> None:
    (folder / "a.yaml").write_text("a: [")
    (folder / "b.json").write_bytes(b"\xff\xfe")
    (folder / "c.yaml").symlink_to(folder / "nowhere")
    (folder / "empty").mkdir()
    code, out, _ = run("check", str(folder), str(folder / "empty"), str(folder / "no.yaml"))
    assert code == 2
    unreadable = [line for line in out.splitlines() if line.startswith("unreadable ")]
    for why in (
        "a.yaml:1: is not YAML",
        "b.json:1: is not UTF-8",
        "c.yaml: cannot be read: No such file",
        "empty: has no file that ends in .yaml, .yml, .json",
        "no.yaml: cannot be read: No such file",
    ):
        assert any(why in line for line in unreadable), (why, unreadable)
    assert len(unreadable) == 5
    assert "image-tag-mutable" in out, "what can be read is judged all the same"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rules=nonsense"], "There is no rule nonsense."),
        (["--exclude=nonsense"], "There is no rule nonsense."),
        (["--format=xml"], "xml"),
        (["--fail-on=sometimes"], "sometimes"),
        (["--levels=nowhere.yaml"], "nowhere.yaml: there is no such file."),
        (["--output=/nowhere/x"], "/nowhere/x: No such file or directory."),
    ],
)
def test_wrong_usage_ends_with_2(folder: Path, arguments: list[str], said: str) -> None:
    code, _, error = run("check", str(folder), *arguments)
    assert code == 2
    assert said in error


def test_a_file_of_levels_that_is_wrong_is_told_with_all_mistakes(folder: Path) -> None:
    levels = folder / "levels.yaml"
    levels.write_text("levels: {error: strict}\nrules: {nonsense: advisory}\npools: {a: {gpu: 1}}\n")
    code, _, error = run("check", str(folder), f"--levels={levels}")
    assert code == 2
    assert [part in error for part in ("'strict'", "rules.nonsense", "pools.a.gpu")] == [True] * 3
    levels.write_text("rules: {}\nrules: {}\n")
    assert "line 2: 'rules' is written again" in run("check", str(folder), f"--levels={levels}")[2]


def test_output_goes_to_a_file_and_the_summary_to_people(folder: Path) -> None:
    output = folder / "out.sarif"
    code, out, error = run("check", str(folder / "base"), "--format=sarif", f"--output={output}")
    assert (code, out) == (1, "")
    assert json.loads(output.read_text())["version"] == "2.1.0"
    assert "1 object, " in error


def test_the_pack_is_started_without_pulumi() -> None:
    """It is used where there is no Pulumi: a check loads neither its SDK nor gRPC."""
    command = (
        "import sys, cli.policy; loaded = {'pulumi', 'grpc', 'kubernetes', 'pydantic'} & set(sys.modules); "
        "sys.exit(f'loads {loaded}' if loaded else 0)"
    )
    done = subprocess.run([sys.executable, "-c", command], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_rules_are_listed_and_explained() -> None:
    listed = json.loads(run("rules", "--json")[1])
    assert [rule["name"] for rule in listed] == [rule.name for rule in RULES]
    assert run("rules")[0] == 0
    code, page, _ = run("explain", "shm-too-small")
    assert code == 0
    assert page.startswith("# shm-too-small\n")
    code, _, error = run("explain", "nonsense")
    assert code == 2
    assert "There is no rule nonsense." in error
