"""Commands of the real CLI in a workspace's folder, for what the Automation API does not offer."""

from __future__ import annotations

import os
import subprocess

from workspace import Workspace


def pulumi(workspace: Workspace, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `pulumi <arguments>` to its end; its exit code is the caller's to look at.

    Args:
        workspace: tells the CLI, the folder and the variables.
        arguments: the command line.
        environment: variables on top of the workspace's.
    """
    command = workspace.stack.workspace.pulumi_command.command
    return subprocess.run(
        [command, *arguments],
        cwd=workspace.folder,
        env={**os.environ, **workspace.stack.workspace.env_vars, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
