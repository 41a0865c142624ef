"""`command:remote:Command`: from its properties to a command over SSH, and back to outputs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

from plugins._engine import WARNING, Status
from plugins._provider import Failure
from plugins._values import reveal
from plugins.command.connection import Connection, connected
from plugins.command.process import CommandFailed, Outcome
from plugins.command.properties import LOGGED, environment, previous_output
from plugins.command.session import run

Result = TypeVar("Result")

_POLL_SECONDS = 0.1


def execute(
    command: str,
    properties: Mapping[str, Any],
    before: Mapping[str, Any],
    *,
    status: Status,
    cancelled: threading.Event,
    seconds: float = 0,
) -> dict[str, Any]:
    """Run `command` where `connection` leads; as `execute` of local commands for the rest.

    `seconds` is how long connecting may take: the official plugin lets a command that has begun come to its end.

    Raises:
        Failure: there is no connection to be had, or the command failed.
    """
    plain = reveal(dict(properties))

    async def work() -> Outcome:
        async with connected(Connection.from_properties(plain["connection"]), status, seconds) as client:
            return await run(
                client,
                command,
                environment=environment(plain),
                previous=previous_output(plain, before),
                stdin=plain.get("stdin") or "",
                on_line=dict.fromkeys(LOGGED[plain.get("logging")], status.show),
                warn=lambda message: status.log(WARNING, message),
            )

    try:
        outcome = finish(work(), cancelled)
    except CommandFailed as error:
        raise Failure(str(error)) from error
    return {"stdout": outcome.stdout, "stderr": outcome.stderr}


def finish(work: Coroutine[Any, Any, Result], cancelled: threading.Event) -> Result:
    """Run `work` to its end in a loop of its own; it is cancelled, once, when `cancelled` is set.

    Raises:
        Failure: it was cancelled and said nothing else about that.
    """

    async def watched() -> Result:
        task = asyncio.ensure_future(work)
        while not task.done() and not cancelled.is_set():
            await asyncio.wait({task}, timeout=_POLL_SECONDS)
        task.cancel()  # does nothing if it is done
        return await task

    try:
        return asyncio.run(watched())
    except asyncio.CancelledError:
        raise Failure("cancelled") from None
