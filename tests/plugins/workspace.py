"""A program in a folder of its own, taken through the real CLI by the Automation API."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pulumi import automation
from pulumi.automation import events

PROJECT = "test"
COMPONENT = """
import pulumi
class Box(pulumi.ComponentResource):
    def __init__(self, name):
        super().__init__("test:index:Box", name)
        self.register_outputs({"width": 2})
Box("box")
"""
"""A program that needs no plugin."""


@dataclass(frozen=True)
class Step:
    """What the engine does to one resource."""

    operation: str
    diff: dict[str, tuple[str, bool]]
    """Kind and `inputDiff` by property path."""
    replace_keys: frozenset[str]


@dataclass
class Run:
    """What an operation has shown."""

    steps: dict[str, Step]
    """By `type::name`, without those that stay the same."""
    messages: list[str]
    """Diagnostics with their severity."""
    output: str


class Workspace:
    """A stack `dev` of a project in `folder`, with a backend there too."""

    def __init__(self, folder: Path, cli: automation.PulumiCommand, environment: dict[str, str]) -> None:
        self.folder = folder
        runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
        (folder / "Pulumi.yaml").write_text(json.dumps({"name": PROJECT, "runtime": runtime}))
        (folder / "__main__.py").write_text("")
        (folder / "backend").mkdir()
        variables = {
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            **environment,
        }
        options = automation.LocalWorkspaceOptions(pulumi_command=cli, env_vars=variables)
        self.stack = automation.create_or_select_stack("dev", work_dir=str(folder), opts=options)

    def program(self, text: str) -> Workspace:
        """Set the program."""
        (self.folder / "__main__.py").write_text(text)
        return self

    def configure(self, **values: object) -> Workspace:
        """Set configuration values."""
        for name, value in values.items():
            self.stack.set_config(name, automation.ConfigValue(str(value)))
        return self

    def preview(self, **options: Any) -> Run:
        """Preview; raises automation.CommandError if it fails."""
        heard: list[events.EngineEvent] = []
        done = self.stack.preview(on_event=heard.append, **options)
        return _run(heard, done.stdout + done.stderr)

    def up(self, **options: Any) -> Run:
        """Update; raises automation.CommandError if it fails."""
        heard: list[events.EngineEvent] = []
        done = self.stack.up(on_event=heard.append, **options)
        return _run(heard, done.stdout + done.stderr)

    def up_fails(self) -> str:
        """Update, which must fail; gives all that was shown."""
        try:
            done = self.stack.up()
        except automation.CommandError as error:
            return str(error)
        raise AssertionError(f"the update did not fail:\n{done.stdout}")

    def refresh(self) -> Run:
        """Refresh; raises automation.CommandError if it fails."""
        heard: list[events.EngineEvent] = []
        done = self.stack.refresh(on_event=heard.append)
        return _run(heard, done.stdout + done.stderr)

    def destroy(self) -> None:
        """Destroy; raises automation.CommandError if it fails."""
        self.stack.destroy()

    def state(self) -> dict[str, dict[str, Any]]:
        """The resources in the state by `type::name`, secrets as they are stored."""
        deployment = self.stack.export_stack().deployment or {}
        return {_short(resource["urn"]): resource for resource in deployment.get("resources") or []}


def _run(heard: list[events.EngineEvent], output: str) -> Run:
    steps, messages = {}, []
    for event in heard:
        if event.resource_pre_event:
            metadata = event.resource_pre_event.metadata
            operation = metadata.op.value
            if operation not in ("same", "create-replacement", "delete-replaced", "read"):
                diff = {
                    path: (change.diff_kind.value, change.input_diff)
                    for path, change in (metadata.detailed_diff or {}).items()
                }
                steps[_short(metadata.urn)] = Step(operation, diff, frozenset(metadata.keys or ()))
        if event.diagnostic_event and not event.diagnostic_event.ephemeral:
            messages.append(f"{event.diagnostic_event.severity}: {event.diagnostic_event.message}")
    return Run(steps, messages, output)


def _short(urn: str) -> str:
    return urn.split("::", 2)[2]
