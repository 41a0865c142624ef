"""Secrets through all plugins at once: what is planted is in nothing that is printed or written to disk.

The markers are made at run time, so that no program text holds one, and are of letters and digits alone: JSON's and
URLs' escapes leave them as they are. Base64 does not; it is looked for in each of its three alignments.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex

import pytest
from api_server import ApiServer
from pulumi import automation
from workspace import PROJECT, Workspace

RESOURCES = """
import pulumi
import pulumi_kubernetes as k8s
from pulumi_command import local
config = pulumi.Config()
secret = config.require_secret
provider = k8s.Provider("site", kubeconfig=secret("kubeconfig"))
on_site = pulumi.ResourceOptions(provider=provider)
k8s.core.v1.Secret("secret", string_data={"key": secret("data")}, opts=on_site)
k8s.core.v1.ConfigMap("map", data={"text": secret("text"), "plain": "plain"}, opts=on_site)
made = local.Command("made", create="cat; echo $A", update="cat; echo $A $PULUMI_COMMAND_STDOUT", logging="none",
                     stdin=secret("stdin"), environment={"A": secret("variable")},
                     opts=pulumi.ResourceOptions(additional_secret_outputs=["stdout"]))
pulumi.export("made", made.stdout)
"""
FAILS = """
local.Command("fails", create="cat > /dev/null; test -n \\"$A\\" && exit 3", stdin=secret("stdin"),
              environment={"A": secret("variable")}, opts=pulumi.ResourceOptions(depends_on=[made]))
"""
RAISES = """
def reject(value):
    raise ValueError(f"cannot use {value}")
secret("text").apply(reject)
"""
PACK = """
from pulumi_policy import EnforcementLevel, PolicyPack, ReportViolation, ResourceValidationPolicy
def seen(args, report):
    if args.resource_type.endswith((":Secret", ":ConfigMap", ":Command")):
        held = args.props.get("data") or args.props.get("stringData") or args.props.get("environment")
        report(f"{args.name} holds {len(held)}")
PolicyPack("pack", [ResourceValidationPolicy("seen", "Sees all.", seen, EnforcementLevel.ADVISORY)])
"""


def forms(marker: str) -> list[bytes]:
    """What `marker` looks like: plain, and within the base64 of a text that holds it."""
    found = [marker.encode()]
    for before in range(3):
        encoded = base64.b64encode(b" " * before + marker.encode())
        whole = (before + len(marker)) // 3 * 4  # the rest depends on what follows
        found.append(encoded[-(-before * 8 // 6) : whole])
    return found


def holding(content: bytes, markers: Mapping[str, str]) -> set[str]:
    """Names of the markers that are in `content`."""
    return {name for name, marker in markers.items() if any(form in content for form in forms(marker))}


@dataclass
class Seen:
    """What was shown and kept while a stack went through everything."""

    workspace: Workspace
    markers: dict[str, str] = field(default_factory=dict)
    """All that were ever planted, by the name of the value and the round."""
    shown: dict[str, bytes] = field(default_factory=dict)
    """Standard output and error of each run."""

    def plant(self, kubeconfig: str) -> None:
        """Give each secret of the configuration a new value."""
        number = len(self.markers)
        new = {name: token_hex(12) for name in ("data", "text", "stdin", "variable")}
        self.markers |= {f"{name}-{number}": marker for name, marker in new.items()}
        values = {"kubeconfig": kubeconfig, **{name: f'{marker} "\u00fc&\n' for name, marker in new.items()}}
        given = {f"{PROJECT}:{name}": automation.ConfigValue(value, secret=True) for name, value in values.items()}
        self.workspace.stack.set_all_config(given)

    def run(self, name: str, *arguments: str, fails: bool = False) -> None:
        """Run the CLI and keep what it says under `name`."""
        workspace = self.workspace.stack.workspace
        done = subprocess.run(
            [workspace.pulumi_command.command, *arguments, "--stack", "dev", "--non-interactive"],
            cwd=self.workspace.folder,
            env={**os.environ, **workspace.env_vars},
            capture_output=True,
            check=False,
        )
        self.shown[name] = done.stdout + done.stderr
        assert bool(done.returncode) is fails, self.shown[name].decode()[-2000:]


@pytest.fixture(scope="module")
def seen(cli: automation.PulumiCommand, cluster: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """A stack that was made, changed twice, refreshed and broken twice, each with other flags."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "tmp").mkdir()
    pack = folder / "pack"
    pack.mkdir()
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
    (pack / "PulumiPolicy.yaml").write_text(json.dumps({"runtime": runtime}))
    (pack / "__main__.py").write_text(PACK)
    # PULUMI_DEBUG_COMMANDS uncovers --event-log; the engine writes its own logs to TMPDIR unless told otherwise.
    workspace = Workspace(folder, cli, {"TMPDIR": str(folder / "tmp"), "PULUMI_DEBUG_COMMANDS": "true"})
    found = Seen(workspace, {"kubeconfig": cluster.token})
    kubeconfig = cluster.kubeconfig.read_text()
    update, policies = ("up", "--yes", "--skip-preview"), ("--policy-pack", str(pack))
    found.plant(kubeconfig)
    workspace.program(RESOURCES)
    try:
        found.run("json", "preview", "--json", *policies)
        found.run("diff", "up", "--yes", "--diff", *policies, "--event-log", str(folder / "events"))
        found.plant(kubeconfig)
        found.run("debug", *update, "--diff", "--debug")
        found.plant(kubeconfig)
        workspace.program(RESOURCES + FAILS)
        found.run("verbose", *update, "-v=9", "--logtostderr", "--logflow", fails=True)
        found.run("failure", *update, "--diff", fails=True)
        found.run("refresh", "refresh", "--yes", "--diff")
        workspace.program(RESOURCES + RAISES)
        found.run("exception", *update, fails=True)
        found.run("export", "stack", "export")
        yield found
    finally:
        workspace.program("").destroy()


def test_a_marker_is_found_in_each_of_its_forms() -> None:
    marker = token_hex(12)
    for form in (marker, f"a{marker}", f"ab{marker}z", f"abc{marker}"):
        for text in (form.encode(), base64.b64encode(form.encode()), json.dumps(f'"{form}').encode()):
            assert holding(b"<" + text + b">", {"it": marker}) == {"it"}
    assert holding(b"something else", {"it": marker}) == set()


@pytest.mark.parametrize("run", ["json", "diff", "failure", "refresh", "exception", "export"])
def test_nothing_that_is_printed_holds_a_secret(seen: Seen, run: str) -> None:
    assert holding(seen.shown[run], seen.markers) == set()


def test_what_was_to_be_shown_was_shown_without_it(seen: Seen) -> None:
    assert b"[secret]" in seen.shown["diff"]
    for name in ("secret", "map", "made"):
        assert re.search(rf"{name} holds \d".encode(), seen.shown["diff"]), "the policy has not found it"
    assert b"exit status 3: running" in seen.shown["failure"]
    assert b"ValueError: cannot use [secret]" in seen.shown["exception"], "the CLI replaces what it has decrypted"


SDK = rb"(?:register resource outputs prepared|resource registration successful): "
"""The Python SDK's debug messages that hold a resource's properties as they go to the engine: plain, and by its own
choice. The CLI takes out only what stands there as it was in the configuration."""
ENGINE = rb"(?:Unm|M)arshaling property for RPC\["
"""The engine's own log of each property that it sends and gets, from -v=9 on."""


def test_debug_messages_hold_secrets_only_where_the_sdk_itself_writes_properties(seen: Seen) -> None:
    shown = seen.shown["debug"]
    others = re.sub(rb"(?ms)^ *debug: " + SDK + rb".*?(?=^ *debug: |^[^ ]*[A-Z]|\Z)", b"", shown)
    assert holding(others, seen.markers) == set()
    assert len(others) < len(shown), "the SDK does so no more: take the exception away"


def test_the_verbose_log_holds_secrets_only_where_the_engine_itself_writes_properties(seen: Seen) -> None:
    lines = seen.shown["verbose"].splitlines()
    found = [line for line in lines if holding(line, seen.markers)]
    allowed = re.compile(rb'"msg":"(?:' + ENGINE + rb"|(?:eventSink::Debug\(.*?)?" + SDK + rb")")
    assert [line for line in found if not allowed.search(line)] == []
    assert [line for line in found if re.search(ENGINE, line)], "the engine does so no more: take the exception away"


def test_the_event_log_holds_secrets_only_where_the_sdk_itself_writes_properties(seen: Seen) -> None:
    """It holds debug messages whether or not `--debug` is given; resources' secrets are `[secret]` there."""
    events = (seen.workspace.folder / "events").read_bytes().splitlines()
    found = [event for event in events if holding(event, seen.markers)]
    assert [event for event in found if not re.search(rb'"message":"' + SDK, event)] == []
    assert found, "the SDK does so no more: take the exception away"


def test_nothing_on_disk_holds_a_secret(seen: Seen) -> None:
    state = Path(os.environ["XDG_STATE_HOME"])
    files = [path for path in seen.workspace.folder.rglob("*") if path.is_file() and path.name != "events"]
    files += [path for path in state.rglob("*") if path.is_file() and path.name != "pulumi"]  # the CLI itself
    assert [path for path in files if holding(path.read_bytes(), seen.markers)] == []
    assert any(b"ciphertext" in path.read_bytes() for path in files), "the state is not among them"
    held = seen.workspace.state()["command:local:Command::made"]
    assert "plaintext" in held["outputs"]["stdin"], "the secrets have got lost, instead of being kept"
