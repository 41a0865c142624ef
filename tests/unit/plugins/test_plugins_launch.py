"""How the CLI is started: its environment, the folder it lies in, and which `pulumi` bin/pulumi takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from plugins import installation, launch
from plugins._folder import root
from plugins._serving import engine_address
from toolchain.paths import REPOSITORY


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.parametrize(
    ("arguments", "address"),
    [
        (["127.0.0.1:1"], "127.0.0.1:1"),
        (["--logtostderr", "-v=9", "--tracing", "file:/tmp/trace", "127.0.0.1:1"], "127.0.0.1:1"),
        ([], ""),
        (["-v=9"], ""),
    ],
)
def test_the_engines_address_is_found_behind_the_flags(arguments: list[str], address: str) -> None:
    assert engine_address(arguments) == address


def test_a_plugins_process_loads_the_stubs_without_the_sdk() -> None:
    code = (
        "import sys; from plugins import _stubs; _stubs.without_the_sdk(); import plugins.language_python.host; "
        "print('pulumi.resource' in sys.modules, 'opentelemetry' in sys.modules, 'pulumi.runtime.proto' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False", "True"]


def test_the_sdk_stays_where_it_is_loaded_already() -> None:
    code = (
        "import sys, pulumi; from plugins import _stubs; _stubs.without_the_sdk(); "
        "print(sys.modules['pulumi'] is pulumi)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_the_callers_backend_and_passphrase_go_first() -> None:
    given = {"PULUMI_BACKEND_URL": "s3://mine", "PULUMI_CONFIG_PASSPHRASE": ""}
    found = launch.environment(given)
    assert found["PULUMI_BACKEND_URL"] == "s3://mine"
    assert found["PULUMI_CONFIG_PASSPHRASE"] == ""
    assert "PULUMI_CONFIG_PASSPHRASE_FILE" not in found


def test_else_there_is_a_backend_and_a_passphrase_for_the_owner_only(capfd: pytest.CaptureFixture[str]) -> None:
    found = launch.environment({})
    folder = Path(found["PULUMI_BACKEND_URL"].removeprefix("file://"))
    passphrase = Path(found["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert folder.is_dir()
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert str(passphrase) in capfd.readouterr().err
    secret = passphrase.read_text()
    assert len(secret) > 30
    assert Path(launch.environment({})["PULUMI_CONFIG_PASSPHRASE_FILE"]).read_text() == secret
    assert capfd.readouterr().err == ""
    assert list(passphrase.parent.glob("tmp*")) == []


def test_nothing_is_looked_up_or_fetched_by_the_cli_itself() -> None:
    found = launch.environment({"PYTHONDONTWRITEBYTECODE": "1"})
    assert found["PULUMI_SKIP_UPDATE_CHECK"] == found["PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION"] == "true"
    assert found["PULUMI_HOME"] == str(root() / "home")
    assert "PYTHONDONTWRITEBYTECODE" not in found


def test_the_folder_holds_the_cli_and_the_plugins_where_the_cli_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cli = tmp_path / "cache" / "pulumi"
    cli.parent.mkdir()
    cli.write_text("the cli")
    monkeypatch.setattr("plugins.installation.gobuild.build", lambda _names: {"pulumi": cli})
    folder = installation.install()
    assert (folder / "lib" / "pulumi").samefile(cli)
    version = installation.kubernetes_version()
    launchers = [
        folder / "bin" / "pulumi",
        folder / "lib" / "pulumi-language-python",
        folder / "home" / "plugins" / f"resource-kubernetes-v{version}" / "pulumi-resource-kubernetes",
        folder / "home" / "plugins" / f"resource-command-v{installation.command_version()}" / "pulumi-resource-command",
    ]
    for launcher in launchers:
        assert os.access(launcher, os.X_OK)
        assert str(REPOSITORY) in launcher.read_text()
    before = launchers[0].stat().st_mtime_ns
    installation.install()
    assert launchers[0].stat().st_mtime_ns == before
    cli.unlink()
    cli.write_text("another cli")
    installation.install()
    assert (folder / "lib" / "pulumi").read_text() == "another cli"


def test_a_pulumi_on_path_is_taken_before_ours_and_said(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "pulumi").write_text('#!/bin/sh\necho "theirs $*"\n')
    (theirs / "pulumi").chmod(0o755)
    path = os.pathsep.join([str(REPOSITORY / "bin"), str(theirs), str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [REPOSITORY / "bin" / "pulumi", "version"],
        env={**os.environ, "PATH": path},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "theirs version\n"
    assert done.stderr == f"pulumi: using {theirs / 'pulumi'} with its own plugins\n"
