"""llmctl status: the phase of each model, and why, from what clusters really held."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from on_mocks import raw_of, settings_of
from typer.testing import CliRunner

from cli import status as fare
from cli.__main__ import app
from cli.cluster import Objects
from cli.status import ModelStatus, statuses
from planning.plan import Plan, plan
from toolchain.paths import REPOSITORY

FOLDER = Path(__file__).parent / "clusters"
"""What the namespace of the dev stack held, recorded in the lab; what no status is made of is taken out."""

PLAN: Plan = plan(settings_of(raw_of(REPOSITORY / "Pulumi.dev.yaml")))


def recorded(case: str) -> Objects:
    return Objects(**json.loads((FOLDER / f"{case}.json").read_text()))


def chat(objects: Objects) -> ModelStatus:
    [found] = [status for status in statuses(PLAN, objects) if status.name == "chat"]
    return found


@pytest.mark.parametrize(
    ("case", "phase", "reason"),
    [
        ("ready", "Ready", ""),
        ("pending", "Pending", "no GPU is free on a node of its kind (0/1 nodes are available: 1 Insufficient"),
        ("crash", "CrashLoop", "2 restarts; it last said: vllm: error: unrecognized arguments: --no-such-flag"),
        ("loading", "Loading", "the model is being loaded, which takes about 32 s (at most"),
        ("image", "Pending", "its image cannot be pulled: Back-off pulling image"),
    ],
)
def test_a_phase_and_its_reason(case: str, phase: str, reason: str) -> None:
    found = chat(recorded(case))
    assert (found.phase, reason in found.reason, found.reason == "") == (phase, True, phase == "Ready"), found


def test_where_a_model_is_and_how_it_is_reached() -> None:
    found = chat(recorded("ready"))
    assert (found.ready, found.wanted, found.nodes) == (1, 1, ("workstation",))
    assert (found.gpus, found.url) == ("1 of 2 slices of rtx-4090", "http://localhost/v1")


def test_pods_are_counted_as_wanted_in_the_cluster() -> None:
    found = chat(recorded("pending"))
    assert (found.ready, found.wanted) == (1, 3)


def test_a_model_without_route_has_no_url() -> None:
    closed = plan(settings_of({k: v for k, v in raw_of(REPOSITORY / "Pulumi.dev.yaml").items() if k != "ingress"}))
    assert [status.url for status in statuses(closed, recorded("ready"))] == [None, None]


def test_what_is_not_deployed_is_said_to_be_absent() -> None:
    assert {(s.phase, s.reason) for s in statuses(PLAN, Objects())} == {("Absent", "not deployed; run `llmctl up`.")}


def test_a_job_that_fetches_models_is_pulling() -> None:
    objects = recorded("ready")
    [job] = [deepcopy(job) for job in objects.jobs if job["metadata"]["name"].startswith("assistant-pull")]
    job["status"] = {"active": 1}
    [assistant] = [s for s in statuses(PLAN, Objects(jobs=[job])) if s.name == "assistant"]
    assert (assistant.phase, assistant.wanted) == ("Pulling", 1)
    assert job["metadata"]["name"] in assistant.reason


@pytest.mark.parametrize(
    ("spec", "status", "phase"),
    [
        ({"replicas": 0}, {}, "Stopped"),
        ({}, {"observedGeneration": 0}, "Updating"),
        ({}, {"updatedReplicas": 0}, "Updating"),
        ({"replicas": 2}, {}, "Pending"),
    ],
)
def test_a_deployment_is_ready_only_when_it_is_as_it_is_wanted(
    spec: dict[str, Any], status: dict[str, Any], phase: str
) -> None:
    """Neither the old pods of a rollout nor what the controller has not seen yet count."""
    objects = recorded("ready")
    objects.deployments["chat"]["spec"] |= spec
    objects.deployments["chat"]["status"] |= status
    assert chat(objects).phase == phase


def test_a_pod_that_ends_troubles_nobody() -> None:
    objects = recorded("crash")
    for pod in objects.pods:
        pod["metadata"]["deletionTimestamp"] = "2026-01-31T12:00:00Z"
    assert chat(objects).phase == "Pending"


def test_a_pod_that_took_too_much_memory_says_so() -> None:
    objects = recorded("crash")
    for pod in objects.pods:
        for container in pod["status"]["containerStatuses"]:
            if "terminated" in container["lastState"]:
                container["lastState"]["terminated"]["reason"] = "OOMKilled"
    assert "killed, as it took more host memory than its limit" in chat(objects).reason


# --- the command ---


@pytest.mark.parametrize(("case", "code"), [("ready", 0), ("loading", 1), ("crash", 1)])
def test_the_exit_code_tells_whether_all_are_ready(case: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fare, "status", lambda _: statuses(PLAN, recorded(case)))
    done = CliRunner().invoke(app, ["status", "--json"])
    assert done.exit_code == code
    assert {model["name"] for model in json.loads(done.stdout)} == {"assistant", "chat"}


def test_the_table_tells_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fare, "status", lambda _: statuses(PLAN, recorded("crash")))
    monkeypatch.setenv("COLUMNS", "200")
    shown = CliRunner().invoke(app, ["status"]).stdout
    assert "CrashLoop" in shown
    assert "http://localhost/ollama/v1" in shown
    assert "it last said: vllm: error: unrecognized arguments: --no-such-flag" in shown


def test_where_nothing_is_there_yet_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 1
    assert "Nothing is there yet" in str(done.exception) + done.output


def test_a_cluster_that_is_not_reached_is_told_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        "{apiVersion: v1, kind: Config, current-context: a, contexts: [{name: a, context: {cluster: a, user: a}}], "
        "clusters: [{name: a, cluster: {server: 'http://127.0.0.1:9'}}], users: [{name: a, user: {}}]}"
    )
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    done = CliRunner().invoke(app, ["status"])
    assert done.exit_code == 1
    assert "the cluster cannot be reached" in str(done.exception) + done.output
