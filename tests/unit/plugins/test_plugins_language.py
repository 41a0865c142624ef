"""The language host's choices: which Python, which plugins, and what is refused."""

from __future__ import annotations

import base64
import importlib.metadata
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
from google.protobuf import struct_pb2  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import language_pb2 as pb

from plugins.language_python.children import Children
from plugins.language_python.environment import (
    EnvironmentProblem,
    PythonEnvironment,
    python_environment,
    toolchain_name,
)
from plugins.language_python.host import LanguageHost, _program_arguments
from plugins.language_python.packages import (
    dependencies,
    installed,
    needed_by_others,
    plugin_version,
    required_packages,
)


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


def test_uv_keeps_its_environment_beside_its_lock_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "uv.lock").touch()
    (tmp_path / "deep").mkdir()
    assert python_environment(info(tmp_path / "deep", toolchain="uv")).virtualenv == tmp_path / ".venv"
    monkeypatch.setenv("UV_PROJECT_ENVIRONMENT", "elsewhere")
    assert python_environment(info(tmp_path / "deep", toolchain="uv")).virtualenv == tmp_path / "elsewhere"


def test_without_a_toolchain_the_lock_file_tells_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep"
    folder.mkdir()
    assert python_environment(info(folder)).toolchain == "pip"
    (tmp_path / "poetry.lock").touch()
    with pytest.raises(EnvironmentProblem, match=r"toolchain poetry \(found poetry.lock\)"):
        python_environment(info(folder))
    (tmp_path / "uv.lock").touch()
    assert python_environment(info(folder)).toolchain == "uv"
    assert python_environment(info(folder, toolchain="pip")).toolchain == "pip"
    assert [toolchain_name(info(folder)), toolchain_name(info(folder, toolchain="uv"))] == ["Auto", "Uv"]


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


def environment(virtualenv: Path | None) -> PythonEnvironment:
    return PythonEnvironment("pip", virtualenv, "v", Path("/program"))


def test_activating_puts_the_environments_programs_first() -> None:
    activated = environment(Path("/v")).variables({"PATH": "/usr/bin", "PYTHONHOME": "/x"})
    assert activated == {"PATH": "/v/bin:/usr/bin", "VIRTUAL_ENV": "/v"}
    assert environment(None).variables({"A": "b"}) == {"A": "b"}


@pytest.mark.parametrize(
    ("package", "plugin"),
    [
        ("4.34.2", "4.34.2"),
        ("4.2", "4.2.0"),
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.post1", "1.2.3+post1"),
        ("4.2.0a1605583329", "4.2.0-alpha.1605583329"),
        ("4.2.0b1", "4.2.0-beta.1"),
        ("4.2rc2", "4.2.0-rc.2"),
        ("1.2.3.post4.dev5", "1.2.3+post4dev5"),
        ("1.2.3.dev7", "1.2.3+dev7"),
        ("1!2.0", None),
        ("1.2.3+local", None),
    ],
)
def test_a_plugins_version_follows_its_packages(package: str, plugin: str | None) -> None:
    assert plugin_version(package) == plugin


def test_required_plugins_are_those_that_the_packages_tell() -> None:
    packages: dict[str, dict[str, Any]] = {
        "pulumi-kubernetes": {"version": "4.34.2", "plugin": {"resource": True, "name": "kubernetes"}},
        "pulumi-policy": {"version": "1.21.0", "plugin": None},
        "pulumi-without": {"version": "1.0.0", "plugin": {"resource": False}},
        "pulumi-old": {"version": "2.1", "plugin": None},
        "pulumi-odd": {"version": "1!2.1", "plugin": None},
        "acme-cloud": {"version": "1", "plugin": {"resource": True, "version": "v3.0.0", "server": "https://a"}},
        "rich": {"version": "1", "plugin": None},
    }
    found = [(package.name, package.version, package.kind, package.server) for package in required_packages(packages)]
    assert found == [
        ("acme-cloud", "v3.0.0", "resource", "https://a"),
        ("kubernetes", "v4.34.2", "resource", ""),
        ("old", "v2.1.0", "resource", ""),
    ]


def test_a_packages_parameters_are_passed_on() -> None:
    parameters = {"name": "x", "version": "1.0.0", "value": base64.b64encode(b"schema").decode()}
    plugin = {"resource": True, "name": "terraform-provider", "version": "0.9.0", "parameterization": parameters}
    (found,) = required_packages({"pulumi-x": {"version": "1.0.0", "plugin": plugin}})
    said = found.parameterization
    assert (found.name, said.name, said.version, said.value) == ("terraform-provider", "x", "1.0.0", b"schema")


def test_installed_packages_are_those_of_the_programs_python() -> None:
    here = environment(Path(sys.prefix))
    found = installed(here)
    assert {name: package["version"] for name, package in found.items()} == {
        re.sub(r"[-_.]+", "-", package.name).lower(): package.version for package in importlib.metadata.distributions()
    }
    assert found["pulumi-kubernetes"]["plugin"]["name"] == "kubernetes"
    direct = {item.name for item in dependencies(found, needed_by_others(here))}
    assert "pulumi-kubernetes" in direct
    assert "protobuf" not in direct
    assert "protobuf" in {item.name for item in dependencies(found)}


def test_files_of_the_callers_folder_are_not_taken_for_pythons_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('the wrong json')")
    monkeypatch.chdir(tmp_path)
    assert "pulumi" in installed(environment(Path(sys.prefix)))


def test_the_version_of_what_installs_is_told_without_asking_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = cast("grpc.ServicerContext", None)
    here = LanguageHost("").About(pb.AboutRequest(info=info(tmp_path, virtualenv=sys.prefix)), context)
    assert here.metadata["toolchainVersion"] == importlib.metadata.version("pip")
    asked = pb.AboutRequest(info=info(tmp_path, virtualenv=sys.prefix, toolchain="uv"))
    monkeypatch.setenv("PATH", f"{sys.prefix}/bin")
    assert LanguageHost("").About(asked, context).metadata["toolchainVersion"] == importlib.metadata.version("uv")
    # An environment that uv has made runs without it.
    monkeypatch.setenv("PATH", "/nowhere")
    assert LanguageHost("").About(asked, context).executable == f"{sys.prefix}/bin/python"


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
