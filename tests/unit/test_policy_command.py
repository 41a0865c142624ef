"""`llmctl policy` as it is called: files and folders, options, exit codes."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from checked import SERVER
from llm_policies.pack import RULES
from typer.testing import CliRunner

from cli.__main__ import app
from toolchain.paths import REPOSITORY


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


def test_objects_that_name_no_namespace_are_where_they_are_said_to_be() -> None:
    spec = "spec: {containers: [{name: a, image: a}]}"
    pod = f"{{apiVersion: v1, kind: Pod, metadata: {{name: a}}, {spec}}}"
    there = f"{{apiVersion: v1, kind: Pod, metadata: {{name: b, namespace: there}}, {spec}}}"
    given = f"apiVersion: v1\nkind: List\nitems: [{pod}, {there}]\n---\n{pod}\n"
    for arguments, home in ([], "default"), (["--namespace=llm"], "llm"):
        out = run("check", "-", "--rules=image-tag-mutable", *arguments, given=given)[1]
        named = [line.rpartition(" ")[2] for line in out.splitlines() if line.startswith("<stdin>")]
        assert named == [f"Pod/{home}/a", "Pod/there/b", f"Pod/{home}/a"]


def test_standard_input_is_read() -> None:
    assert run("check", "-", "--rules", "image-tag-mutable", given=SERVER)[0] == 1
    assert run("check", "-", given="")[0] == 2


def test_a_rule_that_is_left_out_says_nothing(folder: Path) -> None:
    arguments = ["check", str(folder), *(f"--exclude={rule.name}" for rule in RULES if rule.name != "privileged")]
    assert run(*arguments)[1].count("  error ") == 1
    assert run(*arguments, "--exclude=privileged")[0] == 0
    assert run("check", str(folder), "--rules=privileged, seccomp")[1].endswith(" 1 error, 1 warning, 0 excepted.\n")
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


def test_links_are_followed_and_each_file_counts_once(folder: Path) -> None:
    """As the same object twice, each path of an Ingress would be claimed by two."""
    (folder / "links").mkdir()
    (folder / "links" / "sub").symlink_to(folder / "base")
    (folder / "links" / "again").symlink_to(folder / "links")
    (folder / "links" / "server.yaml").symlink_to(folder / "base" / "server.yml")
    for given in (["links"], ["links", "base"], ["base", "links/sub/server.yml", "base/server.yml"], [".", "."]):
        out = run("check", *(str(folder / path) for path in given), "--rules=privileged")[1]
        assert out.endswith("1 object, 1 rule: 1 error, 0 warnings, 0 excepted.\n"), given
        assert "unreadable" not in out


def test_what_is_no_file_is_told_and_not_waited_for(folder: Path) -> None:
    os.mkfifo(folder / "base" / "pipe.yaml")
    os.mkfifo(folder / "base" / "pipe")
    (folder / "base" / "zero.yml").symlink_to("/dev/zero")
    (folder / "base" / "round").symlink_to("round")
    (folder / "base" / "gone").symlink_to("nowhere")
    code, out, _ = run("check", str(folder / "base"), "--rules=privileged")
    assert code == 2
    assert [line.removeprefix(f"unreadable {folder}/base/") for line in out.splitlines() if "unreadable" in line] == [
        "pipe.yaml: is a pipe or a device, to which nobody may ever write. Name it by itself.",
        "round: cannot be read: Too many levels of symbolic links.",
        "zero.yml: is a pipe or a device, to which nobody may ever write. Name it by itself.",
    ]


def test_a_pipe_that_is_named_is_read() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, SERVER.encode())
        os.close(writing)
        code, out, _ = run("check", f"/dev/fd/{reading}", "--rules=privileged")
    finally:
        os.close(reading)
    assert code == 1
    assert "unreadable" not in out


def test_a_folder_that_may_not_be_looked_into_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries = Path.iterdir

    def refused(path: Path) -> Iterator[Path]:
        if path.name == "base":  # by its mode it would be none to root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return entries(path)

    monkeypatch.setattr(Path, "iterdir", refused)
    code, out, _ = run("check", str(folder))
    assert code == 2
    assert f"unreadable {folder}/base: cannot be read: Permission denied.\n" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rules=nonsense"], "There is no rule nonsense. `llmctl"),
        (["--rules=privileged,runtime-clas"], "There is no rule runtime-clas. Is runtime-class meant?"),
        (["--levels=a.yaml", "--levels=b.yaml"], "--levels is given twice"),
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


def test_a_file_of_levels_is_made_what_pulumi_takes(folder: Path) -> None:
    levels = folder / "levels.yaml"
    levels.write_text("rules: {privileged: disabled}\npools: {a: {gpus: 4}}\n")
    code, out, _ = run("config", str(levels))
    config = json.loads(out)
    assert code == 0
    assert config["privileged"] == {"enforcementLevel": "disabled"}
    assert config["policy-settings"]["pools"]["a"]["gpus"] == 4
    levels.write_text("rules: {privilege: disabled}\n")
    code, _, error = run("config", str(levels))
    assert code == 2
    assert "rules.privilege: there is no such rule; privileged is meant?" in error


def test_a_baseline_excepts_what_is_there_and_nothing_else(folder: Path) -> None:
    base, levels = str(folder / "base"), folder / "levels.yaml"
    code, out, _ = run("baseline", base, "--owner=ops", "--until=2999-01-31")
    assert code == 0
    levels.write_text(out)
    code, out, _ = run("check", base, f"--levels={levels}")
    assert (code, " 0 errors" in out, "note: " in out) == (0, True, False)
    (folder / "base" / "new.yaml").write_text(SERVER.replace("name: chat,", "name: new,"))
    assert run("check", base, f"--levels={levels}")[0] == 1
    (folder / "base" / "new.yaml").write_text("a: [")
    code, out, error = run("baseline", base, "--owner=ops", "--until=2999-01-31")
    assert (code, out) == (2, "")
    assert "new.yaml:1: is not YAML" in error


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


def test_it_is_called_from_another_repository(folder: Path) -> None:
    """Whatever modules of Python are there."""
    for name in ("settings.py", "cli/__init__.py", "llm_policies.py"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("raise SystemExit('not this one')")
    command = [str(REPOSITORY / "bin" / "llmctl"), "policy", "check", "base", "--rules=privileged"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("base/server.yml:2: Deployment/llm/chat"), done.stderr


def test_rules_are_listed_and_explained() -> None:
    listed = json.loads(run("rules", "--json")[1])
    assert [rule["name"] for rule in listed] == [rule.name for rule in RULES]
    code, table, _ = run("rules")
    assert code == 0
    assert [rule.name for rule in RULES if rule.name not in table] == []
    code, page, _ = run("explain", "shm-too-small")
    assert code == 0
    assert page.startswith("# shm-too-small\n")
    code, _, error = run("explain", "nonsense")
    assert code == 2
    assert "There is no rule nonsense." in error
