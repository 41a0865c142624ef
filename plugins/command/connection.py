"""SSH connections as `connection` describes them: keys, jump host, and attempts until one succeeds."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import asyncssh

from plugins._engine import Status
from plugins._provider import Failure
from plugins.command.properties import CONNECTION_DEFAULTS

FIRST_DELAY_SECONDS = 0.1
DELAY_FACTOR = 1.5
LONGEST_DELAY_SECONDS = 5.0
"""Waits between attempts, as Pulumi's own retries do (sdk/go/common/util/retry)."""

UNLIMITED = -1


@dataclass(frozen=True)
class Connection:
    """Where to connect to and as whom; secrets are left out of its representation."""

    host: str
    port: int
    user: str
    dial_error_limit: int
    """Failed attempts before the connection is given up; -1 for no end."""
    per_dial_timeout: int
    """Seconds for one attempt; 0 for no end."""
    host_key: str | None = None
    """The server's public key; None to take any."""
    agent_socket_path: str | None = None
    password: str | None = field(default=None, repr=False)
    private_key: str | None = field(default=None, repr=False)
    private_key_password: str | None = field(default=None, repr=False)
    proxy: Connection | None = None
    """A host through which the way leads."""

    @classmethod
    def from_properties(cls, plain: Mapping[str, Any]) -> Connection:
        """From the checked property `connection`, with its secrets laid open."""
        given = {**CONNECTION_DEFAULTS, **{name: value for name, value in plain.items() if value is not None}}
        return cls(
            host=given["host"],
            port=int(given["port"]),
            user=given["user"],
            dial_error_limit=int(given["dialErrorLimit"]),
            per_dial_timeout=int(given["perDialTimeout"]),
            host_key=given.get("hostKey"),
            agent_socket_path=given.get("agentSocketPath") or os.environ.get("SSH_AUTH_SOCK") or None,
            password=given.get("password"),
            private_key=given.get("privateKey"),
            private_key_password=given.get("privateKeyPassword"),
            proxy=cls.from_properties(given["proxy"]) if "proxy" in given else None,
        )


@asynccontextmanager
async def connected(
    connection: Connection, status: Status, seconds: float = 0
) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A connection, ended with the context.

    Args:
        connection: where to.
        status: shows each attempt that fails.
        seconds: how long all attempts together may take (the resource's `customTimeouts`); 0 for no end.

    Raises:
        Failure: a key cannot be read, the agent cannot be reached, or the attempts or the time are used up.
    """
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(seconds or None):
                client = await _way(connection, status, stack)
        except TimeoutError as error:
            raise Failure(f"no connection after {seconds:g} s, the limit of customTimeouts") from error
        yield client


async def _way(connection: Connection, status: Status, stack: AsyncExitStack) -> asyncssh.SSHClientConnection:
    """Connect to the jump host, if there is one, and through it to the host."""
    if connection.proxy is None:
        return await _dial(connection, "Dial", status, stack)
    try:
        tunnel = await _dial(connection.proxy, "Dial proxy", status, stack)
        return await _dial(connection, "Dial from proxy", status, stack, tunnel)
    except Failure as error:
        raise Failure(f"proxy: {error}") from error


async def _dial(
    connection: Connection,
    label: str,
    status: Status,
    stack: AsyncExitStack,
    tunnel: asyncssh.SSHClientConnection | None = None,
) -> asyncssh.SSHClientConnection:
    """Connect, again and again: a host that was just created does not listen or know its keys at once."""
    options = await _options(connection, stack)
    delay, limit = FIRST_DELAY_SECONDS, connection.dial_error_limit
    for failed in itertools.count(1):
        try:
            client = await asyncssh.connect(
                connection.host, connection.port, tunnel=tunnel, options=options, config=None
            )
        except (OSError, asyncssh.Error) as error:
            if limit != UNLIMITED and failed > limit:
                where = f"{connection.user}@{connection.host}:{connection.port}"
                raise Failure(f"after {limit} failed attempts: {where}: {_reason(error, connection)}") from error
            status.show(f"{label} {failed}/{'inf' if limit == UNLIMITED else limit} failed: retrying")
        else:
            return await stack.enter_async_context(client)
        await asyncio.sleep(delay)
        delay = min(delay * DELAY_FACTOR, LONGEST_DELAY_SECONDS)
    raise AssertionError("counting has no end")


async def _options(connection: Connection, stack: AsyncExitStack) -> asyncssh.SSHClientConnectionOptions:
    """What is asked of asyncssh: all of it said here, nothing taken from ~/.ssh."""
    known_hosts: tuple[list[asyncssh.SSHKey], list[asyncssh.SSHKey], list[asyncssh.SSHKey]] | None = (
        None  # any host key is taken
    )
    host_key_algorithms: str | list[str] = "default"
    if connection.host_key is not None:
        try:
            host_key = asyncssh.import_public_key(connection.host_key)
        except asyncssh.KeyImportError as error:
            raise Failure(f"hostKey: {error}. Give what /etc/ssh/ssh_host_ed25519_key.pub on the host says") from error
        known_hosts = ([host_key], [], [])
        # The official plugin offers nothing but the key's own type, so that ssh-rsa fails with today's servers.
        host_key_algorithms = [host_key.get_algorithm()]
    return asyncssh.SSHClientConnectionOptions(
        username=connection.user,
        password=connection.password,
        client_keys=await _client_keys(connection, stack) or None,
        agent_path=None,  # asked by _client_keys, so that one that does not answer is an error
        known_hosts=known_hosts,
        server_host_key_algs=host_key_algorithms,
        x509_trusted_certs=None,
        gss_kex=False,
        gss_auth=False,
        preferred_auth="publickey,password,keyboard-interactive",
        connect_timeout=connection.per_dial_timeout or None,
        config=None,
    )


async def _client_keys(connection: Connection, stack: AsyncExitStack) -> list[asyncssh.SSHKey | asyncssh.SSHKeyPair]:
    """The private key, else those of the agent; an agent that is named has to answer in either case."""
    keys: list[asyncssh.SSHKey | asyncssh.SSHKeyPair] = []
    if connection.agent_socket_path is not None:
        try:
            agent = await stack.enter_async_context(await asyncssh.connect_agent(connection.agent_socket_path))
            keys = list(await agent.get_keys())
        except (OSError, ValueError, asyncssh.Error) as error:
            raise Failure(f"SSH agent at {connection.agent_socket_path}: {error}") from error
    if connection.private_key is None:
        return keys
    try:
        return [asyncssh.import_private_key(connection.private_key, connection.private_key_password)]
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
        raise Failure(f"privateKey of {connection.user}@{connection.host}: {error}") from error


def _reason(error: Exception, connection: Connection) -> str:
    if isinstance(error, TimeoutError):
        return f"no answer within {connection.per_dial_timeout} s"
    return str(error) or type(error).__name__
