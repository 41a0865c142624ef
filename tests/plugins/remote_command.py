"""Programs with one `command:remote:Command`, as the tests of remote commands and of connections run them."""

from __future__ import annotations

import json

from workspace import Workspace

PROGRAM = """
import json
from pathlib import Path
import pulumi
from pulumi_command import remote
connection = json.loads(Path("connection.json").read_text())
"""
NAME = "command:remote:Command::c"


def connect(workspace: Workspace, connection: dict[str, object]) -> Workspace:
    """Set what the workspace's programs find in `connection`."""
    (workspace.folder / "connection.json").write_text(json.dumps(connection))
    return workspace


def command(**properties: object) -> str:
    """A program with one command; `connection` is that of the workspace."""
    given = "".join(f", {name}={value!r}" for name, value in properties.items())
    return f'{PROGRAM}c = remote.Command("c", connection=connection{given})\npulumi.export("out", c.stdout)\n'


def out(workspace: Workspace) -> str:
    """The command's output."""
    return str(workspace.stack.outputs()["out"].value)


def stored(workspace: Workspace) -> str:
    """All that the backend holds, history and all."""
    return "".join(path.read_text() for path in (workspace.folder / "backend").rglob("*.json*"))
