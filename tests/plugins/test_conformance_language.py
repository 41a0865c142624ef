"""The Python language host through the real CLI: programs, their errors, policy packs, and how they end."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import pulumi
from pulumi import automation
from workspace import COMPONENT, Workspace

from plugins._folder import root

EXECUTABLES = [
    "lib/pulumi-language-python",
    "home/plugins/*/pulumi-resource-kubernetes",
    "home/plugins/*/pulumi-resource-command",
]


@pytest.fixture
def workspace(make: Callable[..., Workspace]) -> Workspace:
    """A workspace without a cluster."""
    return make()


def running(marker: str) -> list[str]:
    """Command lines of the processes that have `marker` in their environment or command line."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                told = (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes()
            except OSError:  # it has ended meanwhile, or is not ours
                continue
            if marker.encode() in told:
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
    return found


def ends(marker: str, seconds: float = 10) -> bool:
    """Whether all processes with `marker` end within `seconds`."""
    deadline = time.monotonic() + seconds
    while running(marker) and time.monotonic() < deadline:
        time.sleep(0.1)
    return running(marker) == []


def test_a_program_of_components_has_its_steps_outputs_and_configuration(workspace: Workspace) -> None:
    workspace.configure(plain="p")
    workspace.stack.set_config("hidden", automation.ConfigValue("planted", secret=True))
    workspace.program(
        f"{COMPONENT}config = pulumi.Config()\n"
        "told = [pulumi.get_stack(), pulumi.get_project(), pulumi.get_organization()]\n"
        'pulumi.export("told", [*told, config.get("plain")])\n'
        'pulumi.export("hidden", config.require_secret("hidden"))\n'
        'pulumi.export("preview", pulumi.runtime.is_dry_run())\n'
    )
    assert workspace.preview().steps["test:index:Box::box"].operation == "create"
    workspace.up()
    outputs = workspace.stack.outputs()
    assert outputs["told"].value == ["dev", "test", "organization", "p"]
    assert outputs["preview"].value is False
    assert outputs["hidden"].secret


def test_the_cli_knows_the_program_and_its_plugins_and_warns_of_nothing(workspace: Workspace) -> None:
    shown = pulumi(workspace, "about", "--json")
    about = json.loads(shown.stdout)
    assert {(plugin["name"], plugin["version"]) for plugin in about["plugins"]} == {
        (name, importlib.metadata.version(package))
        for name, package in (("kubernetes", "pulumi-kubernetes"), ("command", "pulumi-command"), ("python", "pulumi"))
    }
    assert about["runtime"] == {
        "language": "python",
        "executable": f"{sys.prefix}/bin/python",
        "version": platform.python_version(),
        "toolchain": "Pip",
        "toolchainVersion": importlib.metadata.version("pip"),
        "typechecker": "None",
    }
    direct = {dependency["name"]: dependency["version"] for dependency in about["dependencies"]}
    assert direct["pulumi-policy"] == importlib.metadata.version("pulumi-policy")
    assert "protobuf" not in direct
    assert "warning" not in (shown.stderr + workspace.program(COMPONENT).preview().output).lower()


def test_flags_of_the_cli_for_its_plugins_do_not_disturb(workspace: Workspace) -> None:
    trace = workspace.folder / "trace"
    workspace.program(COMPONENT)
    done = pulumi(workspace, "preview", "--stack", "dev", "--tracing", f"file:{trace}", "--logflow", "-v=3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "test:index:Box box create" in done.stdout
    assert trace.stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["convert", "--from", "pcl", "--language", "python", "--out", "converted"], "pulumi convert"),
        (["preview", "--stack", "dev", "--attach-debugger"], "attaching a debugger"),
        (["install", "--no-plugins", "--use-language-version-tools"], "installing Python itself"),
    ],
)
def test_what_is_not_done_is_refused_by_name(workspace: Workspace, arguments: list[str], what: str) -> None:
    done = pulumi(workspace, *arguments)
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert what in said
    assert "not done by this language host, a stand-in for the official one: use the official Pulumi." in said


SLEEPS = """
import os, subprocess, sys, time
print("started", flush=True)
subprocess.Popen(["sleep", "600"])
open("started", "w").close()
try:
    time.sleep(600)
finally:
    open("tidied", "w").close()
"""


def sleeping(workspace: Workspace, cli: automation.PulumiCommand, marker: str) -> subprocess.Popen[bytes]:
    """A preview whose program sleeps, once it does."""
    workspace.program(SLEEPS)
    process = subprocess.Popen(
        [cli.command, "preview", "--stack", "dev", "--non-interactive"],
        cwd=workspace.folder,
        env={**os.environ, **workspace.stack.workspace.env_vars, "MARKER": marker},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 30
    while not (workspace.folder / "started").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cancelled_program_tidies_up_and_nothing_stays(
    workspace: Workspace, cli: automation.PulumiCommand, number: signal.Signals
) -> None:
    marker = f"marker-{workspace.folder}"
    process = sleeping(workspace, cli, marker)
    start = time.monotonic()
    process.send_signal(number)
    assert process.wait(15) != 0
    assert ends(marker)
    assert time.monotonic() - start < 5
    assert (workspace.folder / "tidied").exists()


def test_a_killed_cli_leaves_nothing_running(workspace: Workspace, cli: automation.PulumiCommand) -> None:
    marker = f"marker-{workspace.folder}"
    process = sleeping(workspace, cli, marker)
    assert any("runner.py" in command for command in running(marker))
    process.kill()
    process.wait()
    assert ends(marker), running(marker)


@pytest.mark.usefixtures("cli")  # it installs the plugins
@pytest.mark.parametrize("executable", EXECUTABLES)
def test_a_plugin_that_starts_when_its_cli_is_already_gone_ends(executable: str, tmp_path: Path) -> None:
    """As after `pulumi stack select` with a wrong passphrase: the CLI has ended before its plugin has begun."""
    [plugin] = root().glob(executable)
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))  # and never listens
        engine = f"127.0.0.1:{unheard.getsockname()[1]}"
        subprocess.run(["sh", "-c", '"$1" "$2" > "$3" & ', "sh", plugin, engine, tmp_path / "port"], check=True)
        deadline = time.monotonic() + 30
        while not (tmp_path / "port").read_text().strip().isdigit():
            assert time.monotonic() < deadline, "it has not begun to serve"
            time.sleep(0.1)
        assert ends(engine), running(engine)
