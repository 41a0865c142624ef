"""A program's Python through the real CLI: environments of pip and uv, made without an index, and what they ask for."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import pulumi
from pulumi import automation
from wheels import provider_sdk, sdk
from workspace import Workspace

SAYS_WHERE = """
import os, sys
import pulumi
pulumi.export("told", [sys.prefix, os.environ.get("VIRTUAL_ENV"), os.environ["PATH"].split(":")[0]])
"""


@pytest.fixture
def workspace(make: Callable[..., Workspace], tmp_path: Path) -> Workspace:
    """A workspace whose pip and uv know one folder of wheels and no index, with a wheel that brings the SDK."""
    wheels = tmp_path / "wheels"
    sdk(wheels)
    return make(
        PATH=f"{sys.prefix}/bin:{os.environ['PATH']}",
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(wheels),
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        UV_NO_INDEX="1",
        UV_FIND_LINKS=str(wheels),
        UV_OFFLINE="1",
        UV_PYTHON_DOWNLOADS="never",
        UV_CACHE_DIR=str(tmp_path / "uv-cache"),
    ).program(SAYS_WHERE)


def options(workspace: Workspace, **given: str) -> None:
    """Set the runtime options of the project."""
    runtime = {"name": "python", "options": given} if given else "python"
    (workspace.folder / "Pulumi.yaml").write_text(json.dumps({"name": "test", "runtime": runtime}))


def told(workspace: Workspace) -> list[str]:
    """Where the program says that it runs."""
    workspace.up()
    found: list[str] = workspace.stack.outputs()["told"].value
    return found


def plugins(workspace: Workspace) -> dict[str, str]:
    """Versions of the plugins that the language host asks for, each from its package's pulumi-plugin.json."""
    # The engine's log, since it says nothing of one that is not installed and not used.
    log = pulumi(workspace, "preview", "--stack", "dev", "--logtostderr", "-v=7").stderr
    return dict(re.findall(r"package ([a-z]+)-([0-9.]+) \(.*?\) is required by language host", log))


def test_pip_makes_an_environment_that_is_not_there_and_install_brings_it_up_to_date(workspace: Workspace) -> None:
    options(workspace, toolchain="pip", virtualenv="venv")
    requirements = workspace.folder / "requirements.txt"
    requirements.write_text("sdk-of-the-tests\n")
    virtualenv = str(workspace.folder / "venv")
    assert told(workspace) == [virtualenv, virtualenv, f"{virtualenv}/bin"]

    provider_sdk(workspace.folder / "wheels", "acme", "1.2.3")
    requirements.write_text("sdk-of-the-tests\npulumi-acme\n")
    installed = pulumi(workspace, "install", "--no-plugins")
    assert installed.returncode == 0, installed.stderr
    assert "Successfully installed pulumi-acme-1.2.3" in installed.stdout
    assert plugins(workspace)["acme"] == "1.2.3"

    requirements.write_text("nowhere-to-be-found\n")
    failed = pulumi(workspace, "install", "--no-plugins")
    assert failed.returncode != 0
    assert "No matching distribution found for nowhere-to-be-found" in failed.stdout + failed.stderr


def test_uv_keeps_the_environment_as_the_lock_file_says_before_each_run(workspace: Workspace) -> None:
    options(workspace, toolchain="uv")
    project = workspace.folder / "pyproject.toml"
    text = '[project]\nname = "test"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = [%s]\n'
    project.write_text(text % '"sdk-of-the-tests"')
    virtualenv = str(workspace.folder / ".venv")
    assert told(workspace) == [virtualenv, virtualenv, f"{virtualenv}/bin"]
    assert "sdk-of-the-tests" in (workspace.folder / "uv.lock").read_text()

    provider_sdk(workspace.folder / "wheels", "acme", "1.2.3")
    project.write_text(text % '"sdk-of-the-tests", "pulumi-acme"')
    assert plugins(workspace)["acme"] == "1.2.3"

    project.write_text(text % '"nowhere-to-be-found"')
    with pytest.raises(automation.CommandError, match=r"(?s)`uv sync --inexact` failed.*nowhere-to-be-found"):
        workspace.preview()


def test_installing_with_uv_turns_requirements_into_a_project(workspace: Workspace) -> None:
    options(workspace, toolchain="uv")
    (workspace.folder / "requirements.txt").write_text("sdk-of-the-tests\n")
    installed = pulumi(workspace, "install", "--no-plugins")
    assert installed.returncode == 0, installed.stderr
    assert "Deleted requirements.txt" in installed.stdout
    assert not (workspace.folder / "requirements.txt").exists()
    # Without a toolchain in Pulumi.yaml, the lock file tells it.
    options(workspace)
    assert told(workspace)[0] == str(workspace.folder / ".venv")
    about = json.loads(pulumi(workspace, "about", "--json").stdout)
    assert about["runtime"]["toolchain"] == "Auto"
    assert about["runtime"]["executable"] == str(workspace.folder / ".venv" / "bin" / "python")


def test_uv_that_is_not_there_is_said(make: Callable[..., Workspace]) -> None:
    workspace = make(PATH="/usr/bin:/bin").program(SAYS_WHERE)
    options(workspace, toolchain="uv")
    with pytest.raises(automation.CommandError, match="Could not find `uv` executable"):
        workspace.preview()


def test_a_folder_that_is_no_environment_is_left_alone_and_said_with_the_way_to_make_one(workspace: Workspace) -> None:
    options(workspace, virtualenv="wheels")
    with pytest.raises(automation.CommandError, match=r"doesn't appear to be a virtual environment(?s:.*)python3 -m"):
        workspace.preview()
    assert [path.suffix for path in (workspace.folder / "wheels").iterdir()] == [".whl"]


def test_an_environment_without_the_sdk_is_said(workspace: Workspace) -> None:
    (workspace.folder / "bare" / "bin").mkdir(parents=True)
    # An environment needs no more than this to be one.
    (workspace.folder / "bare" / "bin" / "python").symlink_to(Path(sys._base_executable))  # type: ignore[attr-defined]
    (workspace.folder / "bare" / "pyvenv.cfg").write_text(f"home = {Path(sys._base_executable).parent}\n")  # type: ignore[attr-defined]
    options(workspace, virtualenv="bare")
    with pytest.raises(automation.CommandError, match=r"The Pulumi SDK is not installed in .*bare"):
        workspace.preview()
