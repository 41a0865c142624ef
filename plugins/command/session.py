"""Runs one command over an SSH connection and collects what it says."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Mapping
from typing import Any

import asyncssh
from asyncssh.packet import String

from plugins.command.process import CommandFailed, Outcome, quoted

# What a command has started belongs to its session's process group, and sshd is the parent of each session's first
# process. The `signal` request of SSH would be simpler, but OpenSSH refuses it where root has logged in.
END = (
    "exec /bin/sh -c '"
    'groups=$(ps -A -o pid= -o ppid= | awk -v sshd=$PPID -v self=$$ "\\$2 == sshd && \\$1 != self { print \\$1 }"); '
    '[ "$groups" ] || { echo no such process >&2; exit 1; }; status=0; '
    "for group in $groups; do kill -s TERM -- -$group || status=1; done; sleep 1; "
    "for group in $groups; do kill -s KILL -- -$group 2>/dev/null; done; exit $status'"
)
"""Ends the commands of the other sessions on the connection: asks, and a second later does not ask any more."""

_END_SECONDS = 3.0
"""How long `END` may take. The CLI kills the whole plugin 5 s after it was told to cancel."""


class EnvironmentRefused(Exception):
    """The server did not take a variable, and the command was not started."""


class _Session(asyncssh.SSHClientSession[bytes]):
    """Sets the variables, then collects what the command writes, in the order in which it comes."""

    def __init__(
        self,
        required: Mapping[str, str],
        wished: Mapping[str, str],
        on_line: Mapping[str, Callable[[str], None]],
    ) -> None:
        self.written: dict[str, list[bytes]] = {"stdout": [], "stderr": [], "both": []}
        self.refused: list[str] = []
        """Those of `wished` that the server did not take."""
        self._required = required
        self._wished = wished
        self._on_line = on_line
        self._begun: dict[str, bytes] = {"stdout": b"", "stderr": b""}

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        """Have each variable confirmed before the command is started.

        asyncssh sends them without asking for an answer, and has no public way to ask for one.
        """
        ask = chan._make_request

        async def make_request(request: bytes, *args: bytes) -> bool | None:
            if request == b"exec":
                for variable, value in self._required.items():
                    if not await ask(b"env", String(variable), String(value)):
                        raise EnvironmentRefused(variable)
                for variable, value in self._wished.items():
                    if not await ask(b"env", String(variable), String(value)):
                        self.refused.append(variable)
            return await ask(request, *args)

        chan._make_request = make_request  # type: ignore[method-assign]  # see above

    def data_received(self, data: bytes, datatype: int | None) -> None:
        """Keep what was written, and pass on the lines that are complete."""
        name = "stderr" if datatype == asyncssh.EXTENDED_DATA_STDERR else "stdout"
        self.written[name].append(data)
        self.written["both"].append(data)
        *lines, self._begun[name] = (self._begun[name] + data).split(b"\n")
        for line in lines:
            self._show(name, line)

    def connection_lost(self, _exc: Exception | None) -> None:
        """Pass on last lines without an end."""
        for name, rest in self._begun.items():
            if rest:
                self._show(name, rest)

    def text(self, name: str) -> str:
        """All that was written to `stdout`, `stderr` or `both`."""
        return b"".join(self.written[name]).decode(errors="replace")

    def _show(self, name: str, line: bytes) -> None:
        if name in self._on_line:
            self._on_line[name](line.decode(errors="replace").rstrip("\r"))


async def run(
    client: asyncssh.SSHClientConnection,
    command: str,
    *,
    environment: Mapping[str, str],
    previous: Mapping[str, str],
    stdin: str,
    on_line: Mapping[str, Callable[[str], None]],
    warn: Callable[[str], None],
) -> Outcome:
    """Run `command` to its end, by the shell of the user who has logged in.

    Args:
        client: the connection; no other command may run on it, because being cancelled ends them all.
        command: the command line.
        environment: variables that the server has to take.
        previous: variables that it need not take.
        stdin: what the command reads; nothing if empty.
        on_line: for `stdout` and `stderr`, what is given each line as it comes.
        warn: is told of variables in `previous` that the server did not take.

    Raises:
        CommandFailed: it could not be started, failed or was cancelled.
    """
    session = _Session(environment, previous, on_line)
    try:
        channel, _ = await client.create_session(lambda: session, command, encoding=None)
        for name in session.refused:
            warn(f"Unable to set {name}: {_accept_env(name)} Or set addPreviousOutputInEnv to false.")
        with contextlib.suppress(BrokenPipeError):  # a command need not read what it is given
            if stdin:
                channel.write(stdin.encode())
            channel.write_eof()
        await channel.wait_closed()
    except EnvironmentRefused as error:
        raise CommandFailed(f'could not set environment variable "{error}": {_accept_env(str(error))}') from error
    except (OSError, asyncssh.Error) as error:
        raise CommandFailed(f"{error}: running {quoted(command)}:\n{session.text('both')}") from error
    except asyncio.CancelledError:
        how = await _end(client)
        raise CommandFailed(f"{how}: running {quoted(command)}:\n{session.text('both')}") from None
    how = _ending(channel)
    if how:
        raise CommandFailed(f"{how}: running {quoted(command)}:\n{session.text('both')}")
    return Outcome(session.text("stdout").removesuffix("\n"), session.text("stderr").removesuffix("\n"))


async def _end(client: asyncssh.SSHClientConnection) -> str:
    """End the command that runs on `client`; gives what has become of it."""
    unsure = "cancelled, but the command may still run on the host"
    try:
        ended = await asyncio.wait_for(client.run(END), _END_SECONDS)
    except (OSError, asyncssh.Error) as error:
        return f"{unsure} ({str(error) or 'no answer'})"
    return f"{unsure} ({str(ended.stderr).strip()})" if ended.exit_status else "cancelled"


def _ending(channel: asyncssh.SSHClientChannel[Any]) -> str:
    """How a command has ended, in the words of the official plugin; empty if well."""
    killed = channel.get_exit_signal()
    if killed is not None:
        name = killed[0]
        number = getattr(signal, f"SIG{name}", 0)
        return f"Process exited with status {128 + number} from signal {name}"
    status = channel.get_exit_status()
    if status is None:
        return "wait: remote command exited without exit status or exit signal"
    return f"Process exited with status {status}" if status else ""


def _accept_env(name: str) -> str:
    return (
        f"the SSH server did not accept it. Let its sshd_config say `AcceptEnv {name}`; or, where a shell such as Bash "
        f"runs the command, begin it with `{name}=value`."
    )
