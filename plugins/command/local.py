"""`command:local:Command` and `command:local:run`: from their properties to a process, and back to outputs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugins._engine import Status
from plugins._provider import Failure
from plugins._values import reveal
from plugins.command import found_files
from plugins.command.process import CommandFailed, run
from plugins.command.properties import LOGGED, environment, previous_output


def execute(
    command: str,
    properties: Mapping[str, Any],
    before: Mapping[str, Any],
    *,
    status: Status,
    cancelled: threading.Event,
    seconds: float = 0,
) -> dict[str, Any]:
    """Run `command` as `properties` say.

    Args:
        command: the command line.
        properties: the inputs, with their secrets marked.
        before: the outputs of the last run, where there was one.
        status: shows the output as it comes, unless `logging` says no.
        cancelled: ends the command when it is set.
        seconds: how long it may take; 0 for no end.

    Returns:
        The outputs. None is secret, whatever the inputs are: the official plugin leaves that to the program
        (`additionalSecretOutputs`), and here must not hide that a program has forgotten it.

    Raises:
        Failure: the command failed, or what `assetPaths` and `archivePaths` name cannot be read.
    """
    plain = reveal(dict(properties))
    folder = plain.get("dir") or str(Path.cwd())
    try:
        outcome = run(
            command,
            interpreter=plain.get("interpreter") or [],
            folder=folder,
            environment={**environment(plain), **previous_output(plain, before)},
            stdin=plain.get("stdin") or "",
            on_line=dict.fromkeys(LOGGED[plain.get("logging")], status.show),
            cancelled=cancelled,
            seconds=seconds,
        )
        return {**_found(folder, plain), "stdout": outcome.stdout, "stderr": outcome.stderr}
    except (CommandFailed, found_files.BadPattern, OSError) as error:
        raise Failure(str(error)) from error


def _found(folder: str, plain: Mapping[str, Any]) -> dict[str, Any]:
    """The files that the command has left behind, as far as they are asked for."""
    result: dict[str, Any] = {}
    if plain.get("assetPaths") is not None:
        result["assets"] = found_files.find(folder, plain["assetPaths"])
    if plain.get("archivePaths") is not None:
        result["archive"] = found_files.archive(found_files.find(folder, plain["archivePaths"]))
    return result
