"""`command:local:Command` and `command:local:run`: from their properties to a process, and back to outputs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from plugins._engine import Status
from plugins._provider import Failure
from plugins._values import reveal
from plugins.command.process import CommandFailed, run
from plugins.command.properties import LOGGED, environment, outputs, previous_output


def execute(
    command: str,
    properties: Mapping[str, Any],
    before: Mapping[str, Any],
    *,
    status: Status,
    cancelled: threading.Event,
) -> dict[str, Any]:
    """Run `command` as `properties` say.

    Args:
        command: the command line.
        properties: the inputs, with their secrets marked.
        before: `stdout` and `stderr` of the last run, where there was one.
        status: shows the output as it comes, unless `logging` says no.
        cancelled: ends the command when it is set.

    Returns:
        `stdout` and `stderr`; secret if any input is, because either may have got into the output.

    Raises:
        Failure: the command failed.
    """
    plain = reveal(dict(properties))
    try:
        outcome = run(
            command,
            interpreter=[str(part) for part in plain.get("interpreter") or []],
            folder=plain.get("dir"),
            environment={**environment(plain), **previous_output(plain, before)},
            stdin=plain.get("stdin") or "",
            on_line=dict.fromkeys(LOGGED[plain.get("logging")], status.show),
            cancelled=cancelled,
        )
    except CommandFailed as error:
        raise Failure(str(error)) from error
    return outputs(properties, outcome.stdout, outcome.stderr)
