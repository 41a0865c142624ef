"""`llmctl policy check`: what is found in manifests as people write them, on which line, and what counts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from checked import SERVER, found_in
from described_manifests import FOLDER as MANIFESTS
from described_manifests import described
from on_mocks import Raw

from cli.manifests import Manifest, Part, of_text
from cli.policy_lines import _Names
from cli.policy_output import rendered

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
    lines = {(found.finding.rule.name, found.line) for found in found_in(SERVER).findings}
    assert {
        ("image-tag-mutable", 10),
        ("privileged", 12),
        ("secret-in-env", 14),
        ("gpu-request-equals-limit", 18),
        ("gpu-memory-utilization", 19),
        ("run-as-non-root", 9),  # nothing is written of it: the container
        ("sa-token", 2),  # nor of this: the object, after the remark
    } <= lines


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


def test_a_variable_or_key_stands_where_its_name_is() -> None:
    """Whatever it is called: also where others have fields of which the message speaks."""
    text = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - name: web
    image: x:v1
    env:
    - name: A_KEY
      valueFrom: {secretKeyRef: {name: a, key: b}}
    - name: TOKEN
      value: hunter2hunter2
    - value: hunter2hunter2
      name: password
    - {name: API, value: a}
    - {name: API, value: b}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: chat}
data:
  a: b
  db.password: hunter2hunter2
"""
    found = found_in(text, rules="secret-in-env duplicate-env").findings
    assert [(one.line, one.finding.message[:19]) for one in found] == [
        (11, "web: env TOKEN hold"),
        (14, "web: env password h"),
        (15, "web: API is set twi"),
        (23, "key db.password hol"),
    ]


def test_leader_and_worker_with_a_container_of_one_name_are_told_apart() -> None:
    pod = "{spec: {containers: [{name: vllm, securityContext: {privileged: true}}]}}"
    text = (
        "apiVersion: leaderworkerset.x-k8s.io/v1\nkind: LeaderWorkerSet\nmetadata: {name: large}\n"
        f"spec:\n  leaderWorkerTemplate:\n    leaderTemplate: {pod}\n    workerTemplate: {pod}\n"
    )
    assert [found.line for found in found_in(text, rules="privileged").findings] == [6, 7]


def test_what_is_written_is_sorted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not for each finding, whether these are of many objects in one List or of one object."""
    noted = 0
    add = _Names.add

    def counted(names: _Names, part: Part, depth: int) -> None:
        nonlocal noted
        noted += 1
        add(names, part, depth)

    monkeypatch.setattr(_Names, "add", counted)
    variables = [{"name": f"A{number}_TOKEN", "value": "hunter2hunter2"} for number in range(200)]
    container = {"name": "web", "image": "x:v1", "env": variables}
    pod = {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [container]}}
    listed = {"apiVersion": "v1", "kind": "List", "items": [pod] * 4}
    text = json.dumps(listed, indent=1)
    found = found_in(text, rules="secret-in-env sa-token").findings
    assert len(found) == 4 * 201
    assert len({one.line for one in found}) == len(found)
    [manifest] = of_text(text, "a.json")
    assert isinstance(manifest, Manifest)
    assert noted <= 2 * len(manifest.parts)  # in the container, and in the object


# --- what no one may take for clean ---


@pytest.mark.parametrize("text", ["", "---\n---\n", "# remark\n", "a: b", "%YAML 1.1\n---\n..."])
def test_nothing_to_judge_is_no_success(text: str) -> None:
    """A pipe whose first program has failed must not be green."""
    checked = found_in(text)
    assert [str(u) for u in checked.unreadable] == ["input: has no Kubernetes object, so nothing was checked."]
    assert checked.exit_code("error") == 2


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


def owned(kind: str, name: str, uid: str, owner: str | None, *, api_version: str = "apps/v1") -> Raw:
    """An object as a cluster has it, with a privileged container."""
    made: Raw = {"ownerReferences": [{"controller": True, "uid": owner}]} if owner else {}
    pod: Raw = {"containers": [{"name": "c", "image": "x/y:1", "securityContext": {"privileged": True}}]}
    spec: Raw = pod if kind == "Pod" else {"template": {"spec": pod}}
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "uid": uid, **made}, "spec": spec}


def test_what_a_workload_among_the_objects_has_made_is_told_once() -> None:
    """As `kubectl get deploy,rs,pod -o json` has them."""
    objects = [
        owned("Deployment", "chat", "1", None),
        owned("ReplicaSet", "chat-1", "2", "1"),
        owned("Pod", "chat-1-a", "3", "2", api_version="v1"),
        owned("Pod", "other", "4", "9", api_version="v1"),
        owned("InferenceService", "qwen", "5", None, api_version="serving.kserve.io/v1beta1"),
        owned("Deployment", "qwen", "6", "5"),
        {**owned("Pod", "odd", "7", None, api_version="v1"), "metadata": {"name": "odd", "ownerReferences": "1"}},
    ]
    checked = found_in(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    told = {one.finding.item.id for one in checked.findings if one.finding.rule.name == "privileged"}
    assert told == {"Deployment/default/chat", "Pod/default/other", "Deployment/default/qwen", "Pod/default/odd"}
    assert checked.notes == ["2 objects are told of where they differ from what made them"]


def test_what_an_object_alone_has_is_told_whatever_made_it() -> None:
    made = owned("Pod", "chat-a", "2", "1", api_version="v1")
    made["spec"]["ephemeralContainers"] = [{"name": "debugger", "image": "x", "securityContext": {"privileged": True}}]
    itself = owned("Pod", "own", "3", "3", api_version="v1")
    circle = [owned("Pod", "a", "4", "5", api_version="v1"), owned("Pod", "b", "5", "4", api_version="v1")]
    variables: Raw = {"apiVersion": "v1", "kind": "ConfigMap", "data": {"HF_TOKEN": "hf_" + "a" * 34}}
    variables["metadata"] = {"name": "d", "ownerReferences": [{"uid": "1"}]}
    objects = [owned("Deployment", "chat", "1", None), made, itself, *circle, variables]
    checked = found_in(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    of = {(one.finding.item.name, one.finding.message.split()[0]) for one in checked.findings if one.weight == "error"}
    assert {("chat", "c"), ("chat-a", "debugger"), ("own", "c"), ("a", "c"), ("b", "c")} < of
    assert ("chat-a", "c") not in of
    assert {name for name, _ in of} == {"chat", "chat-a", "own", "a", "b", "d"}, "also what makes no pods"


@pytest.mark.parametrize(
    "odd",
    [
        {"spec": 5},
        {"spec": [1]},
        {"spec": {"template": 5}},
        {"metadata": 5},
        {"metadata": {"name": "a", "uid": 7, "ownerReferences": 5}},
        {"metadata": {"name": "a", "uid": "7", "ownerReferences": [5, {"uid": [1]}, {"uid": "7"}]}},
    ],
)
def test_an_object_of_wrong_types_is_told_beside_others(odd: Raw) -> None:
    objects = [{"apiVersion": "apps/v1", "kind": "Deployment", **odd}, owned("Deployment", "chat", "1", None)]
    checked = found_in(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    assert {id(one.finding.item) for one in checked.findings} == {id(item) for item, _, _ in checked.objects}


def test_what_of_the_environment_is_of_no_use_is_noted() -> None:
    def excepted(rule: str, of: str) -> Raw:
        return {"rule": rule, "object": of, "reason": "it loads the driver", "owner": "ops", "until": "2026-11-20"}

    levels = {
        "namespaces": {"llm": {"seccomp": "advisory"}, "team-*": "advisory"},
        "exceptions": [
            excepted("privileged", "Deployment/llm/*"),
            excepted("privileged", "deployment/llm/chat"),
            excepted("seccomp", "Pod/a/b"),
        ],
    }
    checked = found_in(SERVER, levels, "privileged")
    assert checked.notes == [
        "the exception of deployment/llm/chat from privileged is of nothing that is found",
        "no object is in namespace team-*, which has levels of its own",
    ]
    assert rendered(checked, "text", "").count("\nnote: ") == 2
    assert json.loads(rendered(checked, "json", ""))["notes"] == checked.notes
    [run] = json.loads(rendered(checked, "sarif", ""))["runs"]
    told = [one["message"]["text"] for one in run["invocations"][0]["toolExecutionNotifications"]]
    assert told == [f"{note}." for note in checked.notes]
    assert found_in(SERVER, {}, "privileged").notes == []


def test_an_object_excepts_itself_by_an_annotation() -> None:
    annotation = 'llm-policies/privileged: "until 2027-01-01, owner ops: it loads the driver"'
    text = SERVER.replace("namespace: llm}", f"namespace: llm, annotations: {{{annotation}}}}}")
    [found] = found_in(text, rules="privileged").findings
    assert found.weight == "excepted"
    assert "Excepted until 2027-01-01, owner ops: it loads the driver" in found.finding.message
