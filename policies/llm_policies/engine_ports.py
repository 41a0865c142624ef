"""The ports that an engine has: what its container names, and where it listens."""

from __future__ import annotations

import re

from llm_policies.containers import Container

_USUAL: dict[str | None, int] = {"vllm": 8000, "sglang": 30000, "ollama": 11434, "llamacpp": 8080, "tgi": 80}
_VARIABLES: dict[str | None, str] = {"ollama": "OLLAMA_HOST", "llamacpp": "LLAMA_ARG_PORT"}
"""What tells an engine its port beside `--port`, alone or after an address."""

_AT_END = re.compile(r"(?:^|:)([0-9]{1,5})/?$")


def ports_of(engine: Container) -> set[str | int | None]:
    """Numbers and names of the ports that an engine has.

    Kubernetes lets a container listen where it names no port, so those that are named are not all.
    """
    declared = engine.value.get("ports").items()
    own: set[str | int | None] = {port.get("containerPort").integer() for port in declared}
    return own | {port.get("name").text() for port in declared} | {_listening(engine)}


def _listening(engine: Container) -> int | None:
    """The port that an engine is told, or else its usual one; None where it is told one that cannot be read."""
    if engine.has_flag("--port"):
        told = engine.number("--port")
        return None if told is None else int(told)
    name = _VARIABLES.get(engine.engine, "")
    variable = engine.variable(name)
    text = engine.assigned.get(name) or (variable.text() if variable is not None else None) or ""
    port = _AT_END.search(text)
    return int(port[1]) if port is not None else _USUAL.get(engine.engine)
