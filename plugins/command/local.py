"""`command:local:Command` and `command:local:run`: from their properties to a process, and back to outputs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from plugins._engine import Status
from plugins._provider import Failure, Refused
from plugins._values import UNKNOWN, Secret, has_secret, reveal
from plugins.command.process import CommandFailed, run

COMMAND = "command:local:Command"
RUN = "command:local:run"

_SHARED = {
    "stdin": str,
    "logging": str,
    "interpreter": list,
    "dir": str,
    "environment": dict,
    "addPreviousOutputInEnv": bool,
}
_KINDS: dict[str, dict[str, type]] = {
    COMMAND: {**_SHARED, "create": str, "update": str, "delete": str, "triggers": list},
    RUN: {**_SHARED, "command": str},
}
_REFUSED = ("assetPaths", "archivePaths")
_LOGGED = {
    None: ("stdout", "stderr"),
    "stdoutAndStderr": ("stdout", "stderr"),
    "stdout": ("stdout",),
    "stderr": ("stderr",),
    "none": (),
}
_NAMES = {str: "a string", list: "a list", dict: "a map", bool: "a boolean"}


def problems(token: str, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(property, reason) for each property that is unknown to `token` or of another type than it should be.

    Raises:
        Refused: a property that the official provider takes and this one does not.
    """
    for name in _REFUSED:
        if inputs.get(name) is not None:
            raise Refused(f"{token}: {name}")
    kinds, found = _KINDS[token], []
    for name, value in reveal(dict(inputs)).items():
        if name not in kinds:
            found.append((name, f"{token} has no property {name}; it has {', '.join(sorted(kinds))}"))
        elif value is not None and value is not UNKNOWN and not isinstance(value, kinds[name]):
            found.append((name, f"{name} must be {_NAMES[kinds[name]]}"))
    logging = reveal(inputs.get("logging"))
    if logging is not UNKNOWN and logging not in _LOGGED:
        found.append(("logging", f"logging is {logging!r}; it may be {', '.join(name for name in _LOGGED if name)}"))
    if token == RUN and inputs.get("command") is None:
        found.append(("command", "command is missing"))
    return found


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
    environment = {name: str(value) for name, value in (plain.get("environment") or {}).items()}
    if plain.get("addPreviousOutputInEnv") is not False:
        for name in ("stdout", "stderr"):
            if reveal(before.get(name)):
                environment[f"PULUMI_COMMAND_{name.upper()}"] = reveal(before[name])
    show: dict[str, Callable[[str], None]] = dict.fromkeys(_LOGGED[plain.get("logging")], status.show)
    try:
        outcome = run(
            command,
            interpreter=[str(part) for part in plain.get("interpreter") or []],
            folder=plain.get("dir"),
            environment=environment,
            stdin=plain.get("stdin") or "",
            on_line=show,
            cancelled=cancelled,
        )
    except CommandFailed as error:
        raise Failure(str(error)) from error
    return outputs(properties, outcome.stdout, outcome.stderr)


def outputs(properties: Mapping[str, Any], stdout: Any, stderr: Any) -> dict[str, Any]:
    """`stdout` and `stderr` as outputs, secret if any of `properties` is."""
    if has_secret(dict(properties)):
        return {"stdout": Secret(stdout), "stderr": Secret(stderr)}
    return {"stdout": stdout, "stderr": stderr}


def unknown_outputs() -> dict[str, Any]:
    """What a preview knows of the outputs: nothing."""
    return {"stdout": UNKNOWN, "stderr": UNKNOWN}
