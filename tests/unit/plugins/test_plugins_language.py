"""The language host's choices: which Python, which plugins, and what is refused."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import struct_pb2  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import language_pb2 as pb

from plugins.language_python.children import Children
from plugins.language_python.environment import EnvironmentProblem, PythonEnvironment, python_environment
from plugins.language_python.host import _program_arguments
from plugins.language_python.packages import dependencies, installed, plugin_version, required_packages


def info(root: Path, **options: str) -> pb.ProgramInfo:
    given = struct_pb2.Struct()
    given.update(options)
    return pb.ProgramInfo(root_directory=str(root), program_directory=str(root), entry_point=".", options=given)


def test_a_virtual_environment_is_found_from_the_projects_folder(tmp_path: Path) -> None:
    (tmp_path / "venv" / "bin").mkdir(parents=True)
    (tmp_path / "venv" / "bin" / "python").touch()
    found = python_environment(info(tmp_path / "project", toolchain="pip", virtualenv="../venv"))
    assert found.python() == str(tmp_path / "venv" / "bin" / "python")


def test_without_one_the_ambient_python_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PULUMI_PYTHON_CMD", "sh")
    assert python_environment(info(tmp_path)).python().endswith("/sh")
    monkeypatch.setenv("PULUMI_PYTHON_CMD", "no-such-python")
    with pytest.raises(EnvironmentProblem, match="No no-such-python on PATH"):
        python_environment(info(tmp_path)).python()


def test_one_that_is_not_there_comes_with_the_commands_that_make_it(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"(?s)\"venv\", but .* doesn't exist; .*python3 -m venv"):
        python_environment(info(tmp_path, virtualenv="venv")).python()
    (tmp_path / "venv").mkdir()
    with pytest.raises(EnvironmentProblem, match="doesn't appear to be a virtual environment"):
        python_environment(info(tmp_path, virtualenv="venv")).python()


def test_uv_keeps_its_environment_beside_its_lock_file(tmp_path: Path) -> None:
    (tmp_path / "uv.lock").touch()
    (tmp_path / "deep").mkdir()
    assert python_environment(info(tmp_path / "deep", toolchain="uv")).virtualenv == tmp_path / ".venv"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"toolchain": "poetry"}, "toolchain poetry"),
        ({"typechecker": "mypy"}, "typechecker mypy"),
        ({"useSomething": "x"}, "runtime option useSomething"),
    ],
)
def test_options_that_are_not_done_are_refused_by_name(tmp_path: Path, options: dict[str, str], said: str) -> None:
    with pytest.raises(EnvironmentProblem, match=said):
        python_environment(info(tmp_path, **options))


def test_activating_puts_the_environments_programs_first() -> None:
    activated = PythonEnvironment("pip", Path("/v"), "v").variables({"PATH": "/usr/bin", "PYTHONHOME": "/x"})
    assert activated == {"PATH": "/v/bin:/usr/bin", "VIRTUAL_ENV": "/v"}
    assert PythonEnvironment("pip", None, "").variables({"A": "b"}) == {"A": "b"}


@pytest.mark.parametrize(
    ("package", "plugin"),
    [("4.34.2", "4.34.2"), ("4.2", "4.2.0"), ("1.2.3.post1", "1.2.3"), ("4.2.0a1605583329", None), ("1!2.0", None)],
)
def test_a_plugins_version_follows_its_packages(package: str, plugin: str | None) -> None:
    assert plugin_version(package) == plugin


def test_required_plugins_are_those_that_the_packages_tell() -> None:
    packages: dict[str, dict[str, Any]] = {
        "pulumi-kubernetes": {
            "version": "4.34.2",
            "plugin": {"resource": True, "name": "kubernetes"},
            "needs": ["pulumi"],
        },
        "pulumi-policy": {"version": "1.21.0", "plugin": None, "needs": []},
        "pulumi-without": {"version": "1.0.0", "plugin": {"resource": False}, "needs": []},
        "pulumi-old": {"version": "2.1", "plugin": None, "needs": []},
        "rich": {"version": "1", "plugin": None, "needs": []},
    }
    found = [(package.name, package.version, package.kind) for package in required_packages(packages)]
    assert found == [("kubernetes", "v4.34.2", "resource"), ("old", "v2.1.0", "resource")]
    assert "pulumi-kubernetes" in {item.name for item in dependencies(packages, transitive=False)}


def test_a_parameterized_package_is_refused() -> None:
    plugin = {"resource": True, "parameterization": {"name": "x"}}
    with pytest.raises(EnvironmentProblem, match="package pulumi-x has a parameterized plugin"):
        required_packages({"pulumi-x": {"version": "1.0.0", "plugin": plugin, "needs": []}})


def test_installed_packages_are_those_of_the_programs_python() -> None:
    here = PythonEnvironment("pip", Path(sys.prefix), "")
    found = installed(here)
    assert found["pulumi-kubernetes"]["plugin"]["name"] == "kubernetes"
    direct = {item.name for item in dependencies(found, transitive=False)}
    assert "pulumi-kubernetes" in direct
    assert "protobuf" not in direct


def test_the_runner_is_told_only_what_the_engine_has_said() -> None:
    request = pb.RunRequest(
        project="p",
        stack="s",
        dryRun=True,
        parallel=4,
        monitor_address="m",
        args=["--own"],
        info=pb.ProgramInfo(entry_point="."),
    )
    arguments = _program_arguments(request, "e")
    assert arguments[-2:] == [".", "--own"]
    assert "--organization" not in arguments
    assert arguments[arguments.index("--dry_run") + 1] == "true"


def test_stopping_interrupts_and_kills_what_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("plugins.language_python.children.KILL_AFTER_SECONDS", 0.5)
    deaf = subprocess.Popen(["sh", "-c", 'trap "" INT; echo up; while :; do sleep 0.1; done'], stdout=subprocess.PIPE)
    willing = subprocess.Popen(
        [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"], stdout=subprocess.PIPE
    )
    children = Children()
    with deaf, willing:
        for process in (deaf, willing):
            assert process.stdout is not None
            process.stdout.readline()
        with children.keep(deaf), children.keep(willing):
            start = time.monotonic()
            children.stop()
            assert time.monotonic() - start < 5
        assert deaf.returncode == -signal.SIGKILL
        assert willing.returncode is not None
        late = subprocess.Popen(["sleep", "60"])
        with children.keep(late):
            assert late.poll() is not None
