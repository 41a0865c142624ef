"""GitHub's workflows: least rights, nothing foreign in a shell, and each step that needs no cluster, run as written."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.workflow_steps import FOLDER, Runner, workflow
from toolchain.paths import REPOSITORY

NAMES = ("preview", "rollout")
PREVIEWS = Path(__file__).parent / "previews"
MARKER = "<!-- llm-serving-preview: dev -->"

every_workflow = pytest.mark.parametrize("name", NAMES)


def steps(name: str) -> list[dict[str, Any]]:
    return [step for job in workflow(name)["jobs"].values() for step in job["steps"]]


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder: Path, **files: str) -> str:
    """A commit with these files, `__` for `/` and `_dot_` for `.` in their names; returns its hash."""
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "change")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with two environments."""
    folder = tmp_path / "checkout"
    folder.mkdir()
    git(folder, "init", "--quiet")
    commit(folder, Pulumi_dot_prod_dot_yaml="a", Pulumi_dot_dev_dot_yaml="a", README="a", settings__stack_dot_py="a")
    return folder


# --- as GitHub reads them ---


def test_every_workflow_is_looked_at() -> None:
    assert {file.stem for file in FOLDER.iterdir()} == set(NAMES)


@every_workflow
def test_it_meets_githubs_schema(name: str) -> None:
    checked = subprocess.run(
        [
            *(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"),
            str(FOLDER / f"{name}.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@every_workflow
def test_no_expression_stands_in_a_script(name: str) -> None:
    """GitHub would paste it in as text: a branch named `$(...)` would be run."""
    assert [step["name"] for step in steps(name) if "${{" in step.get("run", "")] == []


@every_workflow
def test_each_action_is_pinned_by_its_full_version(name: str) -> None:
    used = [step["uses"] for step in steps(name) if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"(actions|pulumi)/[\w-]+@v\d+\.\d+\.\d+", action)] == []


@every_workflow
def test_rights_are_given_job_by_job(name: str) -> None:
    document = workflow(name)
    assert document["permissions"] == {}
    written = {
        right
        for job in document["jobs"].values()
        for right, access in job.get("permissions", {}).items()
        if access == "write"
    }
    assert written == ({"pull-requests"} if name == "preview" else set())


@every_workflow
def test_no_step_leaves_its_token_in_the_checkout(name: str) -> None:
    checkouts = [step for step in steps(name) if step.get("uses", "").startswith("actions/checkout@")]
    assert checkouts
    assert all(step["with"]["persist-credentials"] is False for step in checkouts)


@every_workflow
def test_pulumi_is_of_the_sdks_version(name: str) -> None:
    locked = re.search(r"^pulumi==(\S+)", (REPOSITORY / "requirements.lock").read_text(), re.M)
    assert locked
    wanted = [step["with"]["pulumi-version"] for step in steps(name) if "pulumi/actions@" in step.get("uses", "")]
    assert set(wanted) == {locked[1]}


@every_workflow
def test_only_an_environments_job_gets_secrets(name: str) -> None:
    for job, what in workflow(name)["jobs"].items():
        assert ("${{ secrets." in json.dumps(what)) == ("environment" in what), job


def test_a_forks_code_never_runs_with_secrets() -> None:
    document = workflow("preview")
    assert set(document["on"]) == {"pull_request"}, "pull_request_target would run a fork's code with secrets"
    same = "github.event.pull_request.head.repo.full_name == github.repository"
    assert same in document["jobs"]["preview"]["if"]
    assert document["jobs"]["fork"]["if"] == same.replace("==", "!=")


def test_two_rollouts_of_an_environment_never_overlap_and_none_is_cut_off() -> None:
    rollout = workflow("rollout")["jobs"]["rollout"]
    assert rollout["concurrency"] == {"group": "rollout-${{ matrix.stack }}", "cancel-in-progress": False}
    assert rollout["environment"] == "${{ matrix.stack }}"
    assert "plan" in rollout["needs"]


def test_the_event_log_is_not_kept() -> None:
    """Debug messages are in it, and in these the program's outputs with their secrets."""
    kept = [step["with"]["path"] for name in NAMES for step in steps(name) if "upload-artifact" in step.get("uses", "")]
    assert [path.rpartition("/")[2] for path in kept] == ["plan.json", "plan.json"]


# --- which environments ---


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"Pulumi_dot_prod_dot_yaml": "b"}, ["prod"]),
        ({"Pulumi_dot_dev_dot_yaml": "b"}, ["dev"]),
        ({"settings__stack_dot_py": "b"}, ["prod", "dev"]),
        ({"policies__levels__prod_dot_yaml": "b"}, ["prod", "dev"]),
        ({"requirements_dot_lock": "b"}, ["prod", "dev"]),
        ({"README": "b"}, []),
        ({"docs__stack_dot_py": "b"}, []),
        ({"Pulumi_dot_other_dot_yaml": "b"}, []),
    ],
)
def test_environments_that_a_change_is_about(
    checkout: Path, tmp_path: Path, files: dict[str, str], found: list[str]
) -> None:
    before = git(checkout, "rev-parse", "HEAD")
    commit(checkout, **files)
    named = {"vars.ENVIRONMENTS || 'prod'": "prod dev", "github.event.before": before, "inputs.stack": ""}
    for name in NAMES:
        runner = Runner(checkout, tmp_path / name, named)
        runner.run(name, "environments", "Find the environments that the change is about")
        assert json.loads(runner.outputs["stacks"]) == found, name


def test_a_push_of_several_commits_is_looked_at_whole(checkout: Path, tmp_path: Path) -> None:
    before = git(checkout, "rev-parse", "HEAD")
    commit(checkout, Pulumi_dot_prod_dot_yaml="b")
    commit(checkout, README="b")
    named = {"vars.ENVIRONMENTS || 'prod'": "prod", "github.event.before": before, "inputs.stack": ""}
    runner = Runner(checkout, tmp_path / "temp", named)
    runner.run("rollout", "environments", "Find the environments that the change is about")
    assert runner.outputs["stacks"] == '["prod"]'


@pytest.mark.parametrize("asked", ["prod", "dev"])
def test_an_environment_that_is_asked_for_is_taken(checkout: Path, tmp_path: Path, asked: str) -> None:
    named = {"vars.ENVIRONMENTS || 'prod'": "prod dev", "github.event.before": "", "inputs.stack": asked}
    runner = Runner(checkout, tmp_path / "temp", named)
    runner.run("rollout", "environments", "Find the environments that the change is about")
    assert json.loads(runner.outputs["stacks"]) == [asked]


@pytest.mark.parametrize("asked", ["staging", 'prod","dev', "$(id)", "pro"])
def test_an_environment_that_is_none_is_refused(checkout: Path, tmp_path: Path, asked: str) -> None:
    named = {"vars.ENVIRONMENTS || 'prod'": "prod dev", "github.event.before": "", "inputs.stack": asked}
    runner = Runner(checkout, tmp_path / "temp", named)
    done = runner.run("rollout", "environments", "Find the environments that the change is about", check=False)
    assert done.returncode == 1
    assert f"::error::There is no environment '{asked}'" in done.stdout
    assert runner.outputs == {}


# --- the comment ---


@pytest.fixture
def commenting(tmp_path: Path) -> Runner:
    """A runner on which the preview has been made; it runs in this checkout, of which it changes nothing."""
    values = {"github.token": "t", "github.event.pull_request.number": "7", "matrix.stack": "dev"}
    runner = Runner(REPOSITORY, tmp_path, values | {"vars.PULUMI_BACKEND_URL": ""})
    (tmp_path / "preview.json").write_text((PREVIEWS / "refused.json").read_text())
    (tmp_path / "events.jsonl").write_text((PREVIEWS / "refused.events.jsonl").read_text())
    return runner


def test_the_first_comment_is_made(commenting: Runner) -> None:
    commenting.run("preview", "preview", "Comment")
    [_, post] = commenting.gh_calls
    assert post[:4] == ["api", "--method", "POST", "repos/owner/llm/issues/7/comments"]
    body = Path(post[post.index("--field") + 1].removeprefix("body=@")).read_text()
    assert body.startswith(f"{MARKER}\n")
    assert "**refused by 1 mandatory policy finding**" in body
    assert (commenting.temp / "summary").read_text() == body


def test_the_next_comment_takes_its_place(commenting: Runner) -> None:
    (commenting.temp / "answers" / "comments").write_text("41\n42\n")
    commenting.run("preview", "preview", "Comment")
    [search, patch] = commenting.gh_calls
    assert "startswith(env.MARKER)" in " ".join(search)
    assert patch[:4] == ["api", "--method", "PATCH", "repos/owner/llm/issues/comments/41"]


@pytest.mark.parametrize(("status", "code"), [("0", 0), ("1", 1), ("255", 1)])
def test_the_job_ends_as_the_preview_did(tmp_path: Path, status: str, code: int) -> None:
    values = {"steps.preview.outputs.status": status, "matrix.stack": "prod", "vars.PULUMI_BACKEND_URL": ""}
    done = Runner(tmp_path, tmp_path, values).run("preview", "preview", "Fail where the preview did", check=False)
    assert done.returncode == code


def test_the_comment_comes_before_the_failure() -> None:
    names = [step.get("name") for step in workflow("preview")["jobs"]["preview"]["steps"]]
    assert names.index("Preview") < names.index("Comment") < names.index("Fail where the preview did")


# --- the plan that was reviewed ---


@pytest.fixture
def looking(checkout: Path, tmp_path: Path) -> Runner:
    """A runner that looks for the plan of what is checked out."""
    values = {"github.token": "t", "matrix.stack": "prod", "vars.PULUMI_BACKEND_URL": ""}
    return Runner(checkout, tmp_path / "temp", values)


def test_a_plan_is_found_by_the_content_that_was_reviewed(looking: Runner) -> None:
    (looking.temp / "answers" / "run").write_text("99\n")
    (looking.temp / "answers" / "plan.json").write_text("{}")
    looking.run("rollout", "plan", "Find the plan that was reviewed")
    name = f"plan-prod-{git(looking.folder, 'rev-parse', 'HEAD^{tree}')}"
    [search, download] = looking.gh_calls
    assert search[1] == f"repos/owner/llm/actions/artifacts?name={name}&per_page=100"
    assert download[:6] == ["run", "download", "99", "--repo", "owner/llm", "--name"]
    assert download[6] == name
    assert (looking.temp / "plan" / "plan.json").read_text() == "{}"
    assert looking.outputs == {"found": "true"}
    assert "https://github.com/owner/llm/actions/runs/99" in (looking.temp / "summary").read_text()


def test_the_same_content_has_the_same_plan_under_another_commit(looking: Runner) -> None:
    """What main gets is another commit than the one that was reviewed, also when its content is the same."""
    looking.run("rollout", "plan", "Find the plan that was reviewed")
    git(looking.folder, "commit", "--quiet", "--amend", "--message", "merged")
    looking.run("rollout", "plan", "Find the plan that was reviewed")
    commit(looking.folder, README="somebody else was first")
    looking.run("rollout", "plan", "Find the plan that was reviewed")
    reviewed, merged, moved_on = (call[1] for call in looking.gh_calls)
    assert reviewed == merged != moved_on


def test_without_a_plan_the_approver_is_told(looking: Runner) -> None:
    looking.run("rollout", "plan", "Find the plan that was reviewed")
    assert looking.outputs == {"found": "false"}
    assert "Nobody has reviewed" in (looking.temp / "summary").read_text()
    again = next(s for s in workflow("rollout")["jobs"]["plan"]["steps"] if s.get("name") == "Preview again")
    assert again["if"] == "steps.reviewed.outputs.found == 'false'"


def test_a_forks_artifact_is_never_taken_for_a_plan() -> None:
    [step] = [s for s in workflow("rollout")["jobs"]["plan"]["steps"] if s.get("id") == "reviewed"]
    assert ".workflow_run.head_repository_id == .workflow_run.repository_id" in step["run"]
