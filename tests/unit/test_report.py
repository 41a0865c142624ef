"""The comment under a pull request: what it tells of recorded previews, and that it is always one that GitHub takes."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from on_mocks import settings_of
from previews.render import CASES, EXAMPLE, FOLDER, example, rendered
from small_stacks import every_stack, node, planned, vllm

from cli.report import report
from planning.plan import Plan, plan
from report.comment import comment, marker
from report.impact import Effect, impacts, losses
from report.length import LIMIT, Section, joined
from report.preview import PreviewError, read_findings, read_preview
from settings.loader import read
from toolchain.steps import StepFailed

Raw = dict[str, Any]


def recorded(case: str) -> Raw:
    document: Raw = json.loads((FOLDER / f"{case}.json").read_text())
    return document


def text_of(document: Raw, **more: Any) -> str:
    return comment(read_preview(json.dumps(document)), stack="dev", **more)


def step_of(document: Raw, ending: str) -> Raw:
    [step] = [step for step in document["steps"] if step["urn"].endswith(ending)]
    return dict(step)


# --- recorded previews ---


@pytest.mark.parametrize("case", CASES)
def test_a_recorded_preview_is_told_so(case: str) -> None:
    assert rendered(case) == (FOLDER / f"{case}.md").read_text(), "if this is meant: see tests/unit/previews/README.md"


def test_the_example_in_the_docs_is_current() -> None:
    assert EXAMPLE.read_text() == example()


@pytest.mark.parametrize("case", CASES)
def test_the_first_line_is_the_stacks_marker(case: str) -> None:
    """By it the comment is found again: one for each stack."""
    stack = read_preview((FOLDER / f"{case}.json").read_text()).stack
    assert stack is not None
    assert rendered(case).splitlines()[0] == marker(stack) == f"<!-- llm-serving-preview: {stack} -->"


def test_no_planted_secret_is_told() -> None:
    raw = (FOLDER / "secrets.json").read_text()
    assert raw.count("planted-secret") >= 8, "the recording must have secrets in it, else this test sees nothing"
    assert "planted-secret" not in rendered("secrets")


def test_a_secret_that_one_resource_has_is_not_told_by_a_message() -> None:
    document = recorded("secrets")
    message = 'error: container "web" ended: wrong key planted-secret-new2-c\n'
    document["diagnostics"] = [{"message": message, "severity": "error"}]
    told = text_of(document, problems=["models.chat: 'planted-secret-old1-f' is wrong."])
    assert "planted-secret" not in told
    assert "wrong key [secret]" in told
    finding = {"policyEvent": {"policyName": "p", "message": "d\nsaw planted-secret-new2-e", "enforcementLevel": "x"}}
    preview = read_preview(json.dumps(document))
    [found] = read_findings(json.dumps(finding), preview.scrub)
    assert found.message == "saw [secret]"


# --- what restarts ---

_CHAT = "kubernetes:apps/v1:Deployment::chat"


@pytest.fixture(scope="module")
def one_server() -> Plan:
    """A plan with a server `chat`: 80 s of grace, and a start of known length."""
    return planned({"a": node()}, {"chat": vllm()})


def effect_of(rolling: Raw | None, *, replicas: int | None, template: bool = True, plan: Plan | None = None) -> str:
    """The effect of an update with this rolling update (None: Recreate), as the engine would send it."""
    document = recorded("update")
    step = step_of(document, _CHAT)
    for state in ("oldState", "newState"):
        spec = step[state] = deepcopy(step[state])
        spec = spec["inputs"]["spec"]
        spec.pop("replicas", None)
        if replicas is not None:
            spec["replicas"] = replicas
        spec["strategy"] = (
            {"type": "Recreate"} if rolling is None else {"type": "RollingUpdate", "rollingUpdate": rolling}
        )
    if not template:
        step["newState"]["inputs"]["spec"]["template"] = step["oldState"]["inputs"]["spec"]["template"]
        step["newState"]["inputs"]["spec"]["replicas"] = 7
    found = impacts(read_preview(json.dumps({"steps": [step]})), plan)
    return found[0].effect if found else "untold"


@pytest.mark.parametrize(
    ("rolling", "replicas", "effect"),
    [
        (None, 1, "outage"),
        (None, 3, "outage"),
        (None, 0, "none"),
        ({"maxSurge": 1, "maxUnavailable": 0}, 1, "none"),
        ({"maxSurge": 1, "maxUnavailable": 0}, 3, "none"),
        ({"maxSurge": 0, "maxUnavailable": 1}, 3, "reduced"),
        ({"maxSurge": 0, "maxUnavailable": 1}, 1, "outage"),
        ({"maxSurge": 0, "maxUnavailable": 1}, None, "outage"),
        ({"maxSurge": 0, "maxUnavailable": 3}, 3, "outage"),
        ({"maxSurge": "0%", "maxUnavailable": "50%"}, 4, "reduced"),
        ({}, 1, "none"),
        ({}, 4, "reduced"),
    ],
)
def test_a_new_pod_template_has_the_effect_of_its_strategy(
    rolling: Raw | None, replicas: int | None, effect: Effect
) -> None:
    assert effect_of(rolling, replicas=replicas) == effect


def test_scaling_restarts_nothing() -> None:
    assert effect_of(None, replicas=1, template=False) == "none"


def test_an_outage_lasts_as_long_as_the_plan_says(one_server: Plan) -> None:
    chat = one_server.servers["chat"]
    [impact] = impacts(read_preview((FOLDER / "update.json").read_text()), one_server)
    assert (chat.shutdown.grace_period_seconds, impact.effect) == (80, "outage")
    minutes, seconds = divmod(chat.startup.expected_seconds, 60)
    assert minutes > 0, "the words below are of a start of some minutes"
    assert f"no answer for about {minutes} min {seconds:02d} s, and up to 1 min 20 s more" in impact.text


def test_a_model_that_is_not_on_disk_is_waited_for_longer(one_server: Plan) -> None:
    document = recorded("update")
    step = step_of(document, _CHAT)
    step["newState"]["inputs"]["spec"]["template"]["spec"]["containers"][0]["args"][0] = "Qwen/Other"
    [impact] = impacts(read_preview(json.dumps({"steps": [step]})), one_server)
    assert "if the model is not on the volume yet" in impact.text


@pytest.mark.parametrize(("operation", "effect"), [("create", "starts"), ("delete", "ends"), ("replace", "outage")])
def test_a_workload_that_comes_or_goes(operation: str, effect: Effect) -> None:
    step = step_of(recorded("update"), _CHAT) | {"op": operation}
    step.pop({"create": "oldState", "delete": "newState"}.get(operation, ""), None)
    [impact] = impacts(read_preview(json.dumps({"steps": [step]})), None)
    assert impact.effect == effect


# --- what is lost ---


def test_volumes_and_namespaces_that_go_are_told_first() -> None:
    for case, lost in (
        ("removed", {"volume assistant-models"}),
        ("moved", {"namespace llm", "volume assistant-models", "volume chat-cache"}),
    ):
        assert {loss.what for loss in losses(read_preview((FOLDER / f"{case}.json").read_text()))} == lost
        sections = [line for line in rendered(case).splitlines() if line.startswith(("#", ">"))]
        assert sections[1] == "> **Data loss.** This deployment deletes:"


def test_a_volume_that_changes_in_place_is_not_lost() -> None:
    steps = [s | {"op": "update"} for s in recorded("moved")["steps"] if "PersistentVolumeClaim" in s["urn"]]
    assert steps
    assert losses(read_preview(json.dumps({"steps": steps}))) == []


# --- parts of a replacement, errors, policies ---


def test_parts_of_a_replacement_count_once() -> None:
    step = step_of(recorded("update"), _CHAT)
    parts = [step | {"op": op} for op in ("create-replacement", "replace", "delete-replaced")]
    assert "1 to replace" in text_of({"steps": parts}).splitlines()[1]
    assert "1 to replace" in text_of({"steps": [parts[0], parts[2]]}).splitlines()[1]


def test_a_preview_that_ended_at_once_is_a_failure_with_a_comment(tmp_path: Path) -> None:
    (tmp_path / "preview.json").touch()
    stack_file = tmp_path / "Pulumi.prod.yaml"
    stack_file.write_text("config: {llm-serving:nodes: 1}")
    told = report(tmp_path / "preview.json", stack_file=stack_file)
    assert told.startswith(f"{marker('prod')}\n## Preview of `prod`: **failed**\n")
    assert "`models: " in told
    assert "`nodes: " in told


def test_without_a_stacks_name_there_is_no_comment(tmp_path: Path) -> None:
    (tmp_path / "preview.json").touch()
    with pytest.raises(StepFailed, match="--plan-of"):
        report(tmp_path / "preview.json")


PLAN = '{"version": 1, "file": "Pulumi.dev.yaml", "models": {}, "nodes": {}, "warnings": [], "problems": []}'


@pytest.mark.parametrize("text", ["{", "[]", "pulumi: not logged in", PLAN])
def test_what_is_no_preview_is_refused(text: str) -> None:
    with pytest.raises(PreviewError, match="--json"):
        read_preview(text)


def test_a_log_that_is_cut_off_is_refused() -> None:
    """A finding may be in what is missing."""
    log = (FOLDER / "refused.events.jsonl").read_text()
    with pytest.raises(PreviewError, match="line 1 of the policy log is not JSON"):
        read_findings(log[:40], read_preview("{}").scrub)


def test_mandatory_findings_come_first() -> None:
    events = [
        {"policyEvent": {"policyName": name, "message": "d\nf", "enforcementLevel": level}}
        for name, level in (("a", "advisory"), ("b", "mandatory"), ("c", "warning"), ("d", "remediate"))
    ]
    found = read_findings("\n".join(json.dumps(event) for event in events), read_preview("{}").scrub)
    assert [(finding.rule, finding.mandatory) for finding in found] == [
        ("b", True),
        ("d", True),
        ("a", False),
        ("c", False),
    ]


EXCEPTED = "chat is privileged. Excepted until 2027-01-01, owner ops: it loads the driver"


def test_exceptions_are_a_list_of_their_own() -> None:
    """Whoever reviews sees what is let through, until when, and who answers for it."""
    events = [
        {"policyEvent": {"policyName": name, "message": f"d\n{message}", "enforcementLevel": level}}
        for name, message, level in (
            ("privileged", EXCEPTED, "advisory"),
            ("seccomp", "chat has no seccomp profile.", "advisory"),
            ("hostpath", "an exception may be written: Excepted until it is mended.", "advisory"),
            ("image-tag-mutable", EXCEPTED, "mandatory"),  # no message can except what the engine refuses
        )
    ]
    preview = read_preview(json.dumps(recorded("same")))
    found = read_findings("\n".join(json.dumps(event) for event in events), preview.scrub)
    told = comment(preview, stack="dev", findings=found)
    policies, _, exceptions = told.partition("### Exceptions from policies\n")
    assert [line for line in exceptions.splitlines() if line.startswith("- ")] == [
        f"- `privileged`, `the stack`: `{EXCEPTED}`"
    ]
    assert [rule for rule in ("privileged", "seccomp", "hostpath", "image-tag-mutable") if f"`{rule}`" in policies] == [
        *("seccomp", "hostpath", "image-tag-mutable")
    ]
    assert "Exceptions" not in comment(preview, stack="dev", findings=found[:1])


@every_stack
def test_every_model_of_a_stack_has_a_row(raw: Raw) -> None:
    told = text_of(recorded("same"), plan=plan(settings_of(raw)))
    table = told.partition("### Models after this deployment")[2]
    assert [row.split("`")[1] for row in table.splitlines() if row.startswith("| `")] == list(raw["models"])


# --- length ---


def test_a_comment_is_never_longer_than_github_takes() -> None:
    document = recorded("update")
    step = step_of(document, _CHAT)
    step["newState"]["inputs"]["data"] = {f"key-{n}": "x" * 500 for n in range(2000)}
    many = text_of({"steps": [step]}, plan=plan(read_example()))
    assert LIMIT - 2000 < len(many) <= LIMIT
    assert "more are left out: GitHub takes no longer comment." in many
    assert "### Models after this deployment" in many, "a heading says that there is something, and stays"
    assert "**outage**" in many, "what comes first is kept"


def read_example() -> Any:
    return read(FOLDER / "refused.yaml")


def test_what_fits_is_left_as_it_is() -> None:
    section = Section(head="### A", items=("- b", "- c"))
    assert joined([section]) == "### A\n\n- b\n- c\n"
    assert joined([section], limit=130) == "### A\n\n- b\n\n*1 more are left out: GitHub takes no longer comment.*\n"


def test_the_plan_of_the_example_is_told_in_numbers() -> None:
    told = text_of(recorded("same"), plan=plan(settings_of({"nodes": {"a": node()}, "models": {"chat": vllm()}})))
    chat = planned({"a": node()}, {"chat": vllm()}).servers["chat"]
    memory = getattr(chat, "memory", None)
    assert memory is not None
    for number in (memory.weights_mib, memory.kv_cache_mib, memory.other_mib, memory.limit_mib):
        assert f"{number:,}" in told
