"""`llmctl plan`: what a stack file comes to, for people and for programs, without a cluster and without Pulumi."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from on_mocks import STACK_FILES, Raw, settings_of
from rich.console import Console
from small_stacks import STACKS, every_stack, node, vllm
from typer.testing import CliRunner

from cli.__main__ import app
from cli.plan import document, show
from planning.plan import Plan
from planning.plan import plan as plan_of
from report.json_pages import PAGES
from report.plan_summary import PlanDocument, model_summaries, node_summaries, remark
from report.plan_table import plan_tables
from toolchain.paths import REPOSITORY

SCHEMA = next(page for page in PAGES if page.command == "plan").schema()


def stack_file(folder: Path, raw: Raw, name: str = "Pulumi.test.yaml") -> Path:
    """`raw` as a stack file."""
    file = folder / name
    file.write_text(
        yaml.safe_dump({"config": {f"llm-serving:{key}": value for key, value in raw.items()}}, sort_keys=False)
    )
    return file


def plan_json(capsys: pytest.CaptureFixture[str], file: Path) -> tuple[int, Raw, str]:
    """Exit code, what standard output says, and what standard error does."""
    code = show(file, as_json=True)
    told = capsys.readouterr()
    printed = json.loads(told.out)
    jsonschema.validate(printed, SCHEMA)
    return code, printed, told.err


def drawn(file: Path, *, width: int) -> str:
    """The tables for `file` on a console of `width` columns."""
    found = document(file)
    assert isinstance(found, PlanDocument)
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(plan_tables(found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def llmctl(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as it is typed, with its output in a pipe."""
    return subprocess.run(
        [sys.executable, "-m", "cli", *arguments],
        cwd=REPOSITORY,
        env={**{k: v for k, v in os.environ.items() if k != "COLUMNS"}, "PATH": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


# --- for programs ---


@every_stack
def test_what_is_printed_of_every_stack_is_as_the_schema_says(
    raw: Raw, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, told, error = plan_json(capsys, stack_file(tmp_path, raw))
    assert (code, error, told["problems"]) == (0, "", [])
    assert list(told["models"]) == list(raw["models"]), "as the file has them"
    assert set(told["nodes"]) == set(raw["nodes"])


def test_the_schema_would_see_a_key_that_is_missing_or_new(tmp_path: Path) -> None:
    found = document(stack_file(tmp_path, {"nodes": {"a": node()}, "models": {"chat": vllm()}}))
    assert isinstance(found, PlanDocument)
    told = found.model_dump(mode="json", by_alias=True)
    jsonschema.validate(told, SCHEMA)
    for model in (
        {**told["models"]["chat"], "new": 1},
        {k: v for k, v in told["models"]["chat"].items() if k != "gpus"},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**told, "models": {"chat": model}}, SCHEMA)


def test_a_model_is_told_with_all_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw: Raw = {"nodes": {"a": node("a100-80gb", 2)}, "models": {"chat": vllm(maxModelLen=4096)}}
    _, told, _ = plan_json(capsys, stack_file(tmp_path, raw))
    chat, server = told["models"]["chat"], plan_of(settings_of(raw)).servers["chat"]
    memory = getattr(server, "memory", None)
    assert memory is not None
    assert (told["version"], told["file"], told["stack"]) == (1, "Pulumi.test.yaml", "test")
    assert chat["nodes"] == ["a"]
    assert chat["gpus"] == 1
    assert chat["gpuMemoryMiB"] == {
        "weights": memory.weights_mib,
        "kvCache": memory.kv_cache_mib,
        "other": memory.other_mib,
        "total": memory.weights_mib + memory.kv_cache_mib + memory.other_mib,
        "limit": memory.limit_mib,
    }
    assert chat["maxModelLen"] == 4096
    assert chat["concurrentFullLengthRequests"] > 1
    assert chat["startupSeconds"] == server.startup.expected_seconds
    assert chat["strategy"] == "RollingUpdate", "the second GPU is spare"
    assert chat["outageSeconds"] == 0
    assert told["nodes"]["a"]["taken"] == 1
    assert told["nodes"]["a"]["free"] == 1


@pytest.mark.parametrize(
    ("model", "layers"), [("Qwen/Qwen3-8B-GGUF:Q4_K_M", 27), ("somebody/nothing-GGUF:Q4_K_M", None)]
)
def test_layers_that_stay_with_the_cpu_are_told(
    model: str, layers: int | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server: Raw = {"engine": "llamacpp", "model": model, "gpuLayers": 10}
    _, told, _ = plan_json(capsys, stack_file(tmp_path, {"nodes": {"a": node()}, "models": {"chat": server}}))
    assert told["models"]["chat"]["spilledLayers"] == layers


def test_the_only_pod_on_the_only_gpu_has_an_outage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, told, _ = plan_json(capsys, stack_file(tmp_path, {"nodes": {"a": node()}, "models": {"chat": vllm()}}))
    chat = told["models"]["chat"]
    assert chat["strategy"] == "Recreate"
    assert chat["outageSeconds"] > 0


def test_of_an_unknown_model_nothing_is_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = stack_file(tmp_path, {"nodes": {"a": node()}, "models": {"chat": vllm("someone/unheard-of")}})
    code, told, _ = plan_json(capsys, file)
    chat = told["models"]["chat"]
    assert code == 0
    assert chat["gpuMemoryMiB"] is None
    assert chat["concurrentFullLengthRequests"] is None
    assert told["nodes"]["a"]["fullestGpuMiB"] is None
    assert any(
        warning["path"] == "models.chat.model" and "not in the catalogue" in warning["message"]
        for warning in told["warnings"]
    )
    assert "not known" in drawn(file, width=80)


# --- what is wrong ---

TWO_MISTAKES = (
    "config:\n"
    "  llm-serving:nodes: {a: {gpus: {model: l4}}}\n"
    "  llm-serving:models:\n"
    "    chat: {engine: vlm, model: a/b}\n"
    "    help:\n"
    "      engine: ollama\n"
    "      pul: ['qwen3:4b']\n"
)


def test_every_problem_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "Pulumi.bad.yaml"
    file.write_text(TWO_MISTAKES)
    code, told, error = plan_json(capsys, file)
    assert code == 1
    assert (told["models"], told["nodes"]) == (None, None)
    places = [(problem["path"], problem["line"]) for problem in told["problems"]]
    assert places[0] == ("models.chat.engine", 4)
    assert ("models.help.pul", 7) in places
    for problem in told["problems"]:
        assert f"line {problem['line']}: {problem['path']}: {problem['message']}" in error


def test_what_does_not_fit_is_a_problem_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "Pulumi.bad.yaml"
    file.write_text(TWO_MISTAKES.replace("vlm, model: a/b", "vllm, model: a/b, gpus: 2").replace("pul:", "pull:"))
    code, told, error = plan_json(capsys, file)
    assert code == 1
    assert ("models.chat.gpus", 4) in {(problem["path"], problem["line"]) for problem in told["problems"]}
    assert "line 4: models.chat.gpus: " in error


@pytest.mark.parametrize(
    "prepared",
    ["host: 10.0.0.5", "user: root", "host: local, k3s: {version: latest}", "host: local, containerToolkit: {a: 1}"],
)
def test_what_does_not_fit_is_told_beside_a_host_that_is_wrong(
    prepared: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """How a host is prepared changes no model's place."""
    file = tmp_path / "Pulumi.bad.yaml"
    file.write_text(
        "config:\n"
        f"  llm-serving:nodes: {{a: {{gpus: {{model: l4}}, {prepared}}}}}\n"
        "  llm-serving:models:\n"
        "    chat: {engine: vllm, model: a/b, gpus: 2}\n"
    )
    code, told, _ = plan_json(capsys, file)
    assert code == 1
    places = [(problem["path"], problem["line"]) for problem in told["problems"]]
    assert places[0][0].startswith("nodes.a.")
    assert ("models.chat.gpus", 4) in places


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("Pulumi.b.yaml", "Pulumi.a.yaml", "Pulumi.yaml"):
        (tmp_path / name).touch()
    code, told, error = plan_json(capsys, tmp_path / "Pulumi.gone.yaml")
    assert code == 1
    [problem] = told["problems"]
    there = f"Stack files in {tmp_path}: Pulumi.a.yaml, Pulumi.b.yaml."
    message = f"cannot be read: No such file or directory. {there}"
    assert problem == {"path": None, "line": None, "message": message}
    assert "Pulumi.gone.yaml has 1 problem" in error


def test_a_file_that_may_not_be_read_is_told_in_json_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = stack_file(tmp_path, STACKS["one-vllm"])

    def denied(self: Path) -> bytes:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(os, "access", lambda *_args, **_more: False)  # root may read what nobody may
    monkeypatch.setattr(Path, "read_bytes", denied)
    done = CliRunner().invoke(app, ["plan", str(file), "--json"])
    assert done.exit_code == 1
    [problem] = json.loads(done.stdout)["problems"]
    assert problem["message"] == "cannot be read: Permission denied."


def test_without_json_only_standard_error_tells_problems(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "Pulumi.bad.yaml"
    file.write_text(TWO_MISTAKES)
    assert show(file, as_json=False) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "line 7: models.help.pul" in told.err


def test_warnings_have_lines_and_end_with_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "Pulumi.warned.yaml"
    file.write_text(
        "config:\n  llm-serving:nodes: {a: {gpus: {model: rtx-4090}}}\n  llm-serving:models:\n"
        "    chat:\n      engine: vllm\n      model: someone/unheard-of\n"
        "  llm-serving:security: {clientNamespaces: [apps]}\n"
    )
    code, told, error = plan_json(capsys, file)
    assert (code, error) == (0, "")
    assert [(warning["path"], warning["line"]) for warning in told["warnings"]] == [("models.chat.model", 6)]
    assert show(file, as_json=False) == 0
    assert "line 6: models.chat.model: someone/unheard-of is not in the catalogue" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "path", "message"),
    [
        ("models.chat: does not fit: too large.", "models.chat", "does not fit: too large."),
        ("models.my model.gpus: is wrong.", "models.my model.gpus", "is wrong."),
        ("cannot be read: gone.", None, "cannot be read: gone."),
        ("has no mapping 'config:' with keys.", None, "has no mapping 'config:' with keys."),
        ("(the file): expected a mapping.", None, "(the file): expected a mapping."),
    ],
)
def test_a_remark_has_a_path_where_it_names_one(text: str, path: str | None, message: str) -> None:
    assert (remark(text, None).path, remark(text, None).message) == (path, message)


# --- for people ---


@every_stack
def test_tables_fit_into_80_columns_and_name_every_model_and_node(raw: Raw, tmp_path: Path) -> None:
    told = drawn(stack_file(tmp_path, raw), width=80)
    assert max(len(line.rstrip()) for line in told.splitlines()) <= 80
    for name in (*raw["models"], *raw["nodes"]):
        assert any(line.startswith(f"{name} ") for line in told.splitlines()), name


def test_the_bar_is_the_card(tmp_path: Path) -> None:
    """A letter stands for a twentieth of the card, and the parts are as long as their memory."""
    file = stack_file(tmp_path, {"nodes": {"a": node()}, "models": {"chat": vllm(gpuMemoryUtilization=0.5)}})
    found = document(file)
    assert isinstance(found, PlanDocument)
    assert found.models is not None
    chat = found.models["chat"]
    memory = chat.gpu_memory_mib
    assert memory is not None
    [bar] = {word for line in drawn(file, width=80).splitlines() for word in line.split() if word.startswith("WW")}
    for letter, mib in {"W": memory.weights, "K": memory.kv_cache, "o": memory.other}.items():
        assert abs(bar.count(letter) - 20 * mib / chat.gpu_card_mib) <= 1, letter
    assert len(bar) == round(20 * memory.total / chat.gpu_card_mib) == 10, "half of the card is not this pod's"


def test_a_pipe_gets_full_lines_without_colours() -> None:
    for file in STACK_FILES[:2]:
        done = llmctl("plan", str(file))
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        for name, server in yaml.safe_load(file.read_text())["config"]["llm-serving:models"].items():
            assert any(
                line.startswith(name) and (server.get("model") or server["pull"][0]) in line
                for line in done.stdout.splitlines()
            )


def test_a_stack_is_found_by_its_name_and_a_file_by_its_path(tmp_path: Path) -> None:
    by_name = llmctl("plan", "--stack", "prod", "--json")
    assert json.loads(by_name.stdout)["stack"] == "prod"
    assert by_name.stdout == llmctl("plan", "--json", STACK="prod").stdout
    other = stack_file(tmp_path, {"nodes": {"a": node()}, "models": {"chat": vllm()}}, name="mine.yaml")
    told = json.loads(llmctl("plan", str(other), "--json").stdout)
    assert (told["file"], told["stack"]) == ("mine.yaml", None)


def test_a_stack_is_named_by_its_file_too() -> None:
    assert llmctl("plan", "--stack", "Pulumi.dev.yaml").stdout == llmctl("plan", "--stack", "dev").stdout


def test_a_file_and_a_stack_are_one_too_many() -> None:
    done = llmctl("plan", "--stack", "prod", "Pulumi.dev.yaml")
    assert (done.returncode, done.stdout) == (2, "")
    assert "give one of them" in done.stderr
    assert llmctl("plan", "Pulumi.dev.yaml", STACK="prod").returncode == 0, "the environment only says what is usual"


def test_numbers_are_whole_on_a_narrow_terminal() -> None:
    assert llmctl("plan", COLUMNS="60").stdout == llmctl("plan", COLUMNS="80").stdout


@pytest.mark.parametrize("arguments", [["plan"], ["plan", "--json"], ["catalogue", "list"]], ids=" ".join)
def test_an_output_that_nobody_takes_is_no_problem_of_the_stack(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "cli", *arguments]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as closed:
        done = subprocess.run(command, cwd=REPOSITORY, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (141, "")
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=REPOSITORY, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "\nThe output cannot be written: No space left on device.\n")


def test_neither_pulumi_nor_kubernetes_nor_ssh_is_loaded() -> None:
    """They would cost a second, and a plan is to be had where they are not installed."""
    program = (
        "import sys, runpy\n"
        "sys.argv = ['llmctl', 'plan', '--json']\n"
        "try:\n    runpy.run_module('cli', run_name='__main__')\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(yaml.safe_load(done.stderr))
    assert "planning" in loaded, "the test sees what is loaded"
    assert not loaded & {"pulumi", "pulumi_kubernetes", "kubernetes", "asyncssh", "grpc"}


# --- nodes ---


def planned(raw: Raw) -> Plan:
    return plan_of(settings_of(raw))


def test_a_sliced_gpu_is_as_full_as_the_largest_pods_that_may_meet_on_it() -> None:
    small, large = vllm(gpuShare=0.4), vllm(gpuShare=0.5)
    found = planned({"nodes": {"a": node(count=2, slices=2)}, "models": {"x": small, "y": large, "z": large}})
    models, nodes = model_summaries(found), node_summaries(found)
    totals = sorted(model.gpu_memory_mib.total for model in models.values() if model.gpu_memory_mib)
    # 480 MiB are the driver's, of which no share is given, and each process has a CUDA context of 527 MiB beside it.
    shares = 0.9 * 2 * 0.5
    expected = totals[-1] + totals[-2] + 2 * 527 + 480 - round(shares * 480)
    assert nodes["a"].fullest_gpu_mib is not None
    assert nodes["a"].fullest_gpu_mib == pytest.approx(expected, abs=2)
    assert nodes["a"].fullest_gpu_mib <= nodes["a"].gpu_card_mib
    assert not [line for line in found.warnings if line.startswith("nodes.a.gpus.timeSlices")]


def test_a_sliced_gpu_that_is_too_full_is_told() -> None:
    """Eight CUDA contexts are 4 GiB, and no share of vLLM's has them in it."""
    servers = {f"m{each}": vllm("Qwen/Qwen3-Embedding-0.6B", maxModelLen=512) for each in range(8)}
    found = planned({"nodes": {"a": node(slices=8)}, "models": servers})
    [told] = [line for line in found.warnings if line.startswith("nodes.")]
    assert told.startswith("nodes.a.gpus.timeSlices: the pods of m0, m1, ")
    assert "of the 24084 MiB that a rtx-4090 gives. The last to start would run out of memory." in told


@every_stack
def test_what_is_taken_and_free_is_what_nodes_advertise(raw: Raw) -> None:
    found = planned(raw)
    models, nodes = model_summaries(found), node_summaries(found)
    for name, each in nodes.items():
        assert each.taken + each.free == each.allocatable == each.gpus * each.time_slices
        assert each.free >= 0
        assert each.models == {m: count for m, model in models.items() if (count := model.nodes.count(name))}
    assert sum(each.taken for each in nodes.values()) == sum(m.gpus * m.max_replicas for m in models.values())


def test_every_committed_stack_is_among_those_looked_at() -> None:
    assert {file.name for file in STACK_FILES} <= STACKS.keys()
