"""The properties of commands and copies: which there are, what is wrong with them, which are secret."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from plugins._values import UNKNOWN, Secret, reveal

COMMAND = "command:local:Command"
RUN = "command:local:run"
REMOTE_COMMAND = "command:remote:Command"
COPY = "command:remote:CopyToRemote"

OUTPUTS = ("stdout", "stderr", "assets", "archive")
"""What a state may hold beside the inputs; the last two come from local commands only."""

LOGGED = {
    None: ("stdout", "stderr"),
    "stdoutAndStderr": ("stdout", "stderr"),
    "stdout": ("stdout",),
    "stderr": ("stderr",),
    "none": (),
}
"""Streams that are shown while a command runs, by the value of `logging`."""

Kind = type | tuple[type, ...]
Problem = tuple[str, str]
"""A property's path, and what is wrong with it."""

_NUMBER = (int, float)
_NAMES: dict[Kind, str] = {
    str: "a string",
    list: "a list",
    dict: "a map",
    bool: "a boolean",
    int: "a whole number",
    _NUMBER: "a number",
    object: "anything",
}
_RUN_BY_ALL: dict[str, Kind] = {"stdin": str, "logging": str, "environment": dict, "addPreviousOutputInEnv": bool}
_LOCAL: dict[str, Kind] = {
    **_RUN_BY_ALL,
    "interpreter": list,
    "dir": str,
    "assetPaths": list,
    "archivePaths": list,
}
_RESOURCE: dict[str, Kind] = {"create": str, "update": str, "delete": str, "triggers": list}
_KINDS: dict[str, dict[str, Kind]] = {
    COMMAND: {**_LOCAL, **_RESOURCE},
    RUN: {**_LOCAL, "command": str},
    REMOTE_COMMAND: {**_RUN_BY_ALL, **_RESOURCE, "connection": dict},
    COPY: {"connection": dict, "source": object, "remotePath": str, "triggers": list},
}
_REQUIRED = {RUN: ("command",), REMOTE_COMMAND: ("connection",), COPY: ("connection", "source", "remotePath")}
_OF_STRINGS = ("environment", "interpreter", "assetPaths", "archivePaths")

_PROXY: dict[str, Kind] = {
    "host": str,
    "port": _NUMBER,
    "user": str,
    "password": str,
    "privateKey": str,
    "privateKeyPassword": str,
    "agentSocketPath": str,
    "hostKey": str,
    "dialErrorLimit": int,
    "perDialTimeout": int,
}
_CONNECTION: dict[str, Kind] = {**_PROXY, "proxy": dict}
_HIDDEN = ("password", "privateKey", "privateKeyPassword")
CONNECTION_DEFAULTS = {"user": "root", "port": 22, "dialErrorLimit": 10, "perDialTimeout": 15}
"""The official plugin's (its schema and its Python SDK); seconds, and failed attempts before giving up."""


def problems(token: str, inputs: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with the inputs of `token`: missing, unknown, or of another type than they should be."""
    plain = reveal(dict(inputs))
    found = list(_mistyped(token, plain, _KINDS[token]))
    found += [(name, f"{name} is missing") for name in _REQUIRED.get(token, ()) if plain.get(name) is None]
    logging = plain.get("logging")
    if logging is not UNKNOWN and logging not in LOGGED:
        found.append(("logging", f"logging is {logging!r}; it may be {', '.join(name for name in LOGGED if name)}"))
    connection = plain.get("connection")
    if isinstance(connection, dict):
        found += _connection_problems(connection, "connection", _CONNECTION)
        if isinstance(connection.get("proxy"), dict):
            found += _connection_problems(connection["proxy"], "connection.proxy", _PROXY)
    return found


def _connection_problems(connection: dict[str, Any], path: str, kinds: Mapping[str, Kind]) -> list[Problem]:
    found = [(f"{path}.{name}", reason) for name, reason in _mistyped(path, connection, kinds)]
    if connection.get("host") is None:
        found.append((f"{path}.host", f"{path}.host is missing"))
    return found


def _mistyped(owner: str, values: Mapping[str, Any], kinds: Mapping[str, Kind]) -> Iterator[Problem]:
    for name, value in values.items():
        if name not in kinds:
            yield name, f"{owner} has no property {name}; it has {', '.join(sorted(kinds))}"
        elif value is None or value is UNKNOWN:
            continue
        elif not isinstance(value, kinds[name]) or (isinstance(value, bool) and kinds[name] in (int, _NUMBER)):
            yield name, f"{name} must be {_NAMES[kinds[name]]}"
        elif name in _OF_STRINGS:
            for path, item in _items(name, value):
                if not isinstance(item, str) and item not in (None, UNKNOWN):
                    yield path, f"{path} must be a string"


def _items(name: str, values: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(values, dict):
        return ((f"{name}.{key}", item) for key, item in values.items())
    return ((f"{name}[{index}]", item) for index, item in enumerate(values))


def checked(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs as they go into the state: a connection is a secret, and complete with its defaults.

    Its passwords and keys are secrets within that secret. This shows nowhere, but the official plugin has it so and
    would else take the connection for another one, and run every command again, when it takes a stack over.
    """
    connection = inputs.get("connection")
    if isinstance(connection, Secret):
        connection = connection.value
    if not isinstance(connection, dict):  # there is none, or it is not known yet
        return dict(inputs)
    complete = _checked_connection(connection)
    if isinstance(complete.get("proxy"), dict):
        complete["proxy"] = _checked_connection(complete["proxy"])
    return {**inputs, "connection": Secret(complete)}


def _checked_connection(given: Mapping[str, Any]) -> dict[str, Any]:
    complete = {**CONNECTION_DEFAULTS, **_without_nulls(given)}
    hidden = {name: Secret(reveal(complete[name])) for name in _HIDDEN if name in complete}
    return {**complete, **hidden}


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def environment(plain: Mapping[str, Any]) -> dict[str, str]:
    """The variables that `environment` asks for."""
    return _without_nulls(plain.get("environment") or {})


def previous_output(plain: Mapping[str, Any], before: Mapping[str, Any]) -> dict[str, str]:
    """Variables with what the last run has written, unless there was none or `addPreviousOutputInEnv` says no."""
    if plain.get("addPreviousOutputInEnv") is False:
        return {}
    written = {name: reveal(before.get(name)) for name in ("stdout", "stderr")}
    return {f"PULUMI_COMMAND_{name.upper()}": text for name, text in written.items() if text}


def unknown_outputs() -> dict[str, Any]:
    """What a preview knows of the outputs: nothing."""
    return {"stdout": UNKNOWN, "stderr": UNKNOWN}


def without_outputs(state: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs in a resource's state."""
    return {name: value for name, value in state.items() if name not in OUTPUTS}
