"""What a plugin tells the engine beside its answers: messages and passing statuses."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, TypeAlias

import grpc
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc

from plugins._serving import CHANNEL_OPTIONS

if TYPE_CHECKING:
    Severity: TypeAlias = engine_pb2.LogSeverity.ValueType
else:
    Severity = int

DEBUG, INFO, WARNING, ERROR = engine_pb2.DEBUG, engine_pb2.INFO, engine_pb2.WARNING, engine_pb2.ERROR


class Engine:
    """The engine's log; with no address everything is dropped (a plugin started by hand)."""

    def __init__(self, address: str) -> None:
        self._stub: engine_pb2_grpc.EngineStub | None = None
        if address:
            channel = grpc.insecure_channel(address, options=CHANNEL_OPTIONS)
            self._stub = engine_pb2_grpc.EngineStub(channel)

    def log(self, severity: Severity, message: str, urn: str = "") -> None:
        """Show `message` for good, at the resource `urn` if one is given."""
        self._send(severity, message, urn, ephemeral=False)

    def status(self, severity: Severity, message: str, urn: str) -> None:
        """Show `message` beside the resource until the next one; an empty one clears it."""
        self._send(severity, message, urn, ephemeral=True)

    def _send(self, severity: Severity, message: str, urn: str, *, ephemeral: bool) -> None:
        if self._stub is None:
            return
        request = engine_pb2.LogRequest(severity=severity, message=message, urn=urn, ephemeral=ephemeral)
        # The engine may be on its way out; a message that nobody hears must not fail the operation it is about.
        with contextlib.suppress(grpc.RpcError):
            self._stub.Log(request, timeout=10)


class Status:
    """Statuses of one resource's operation; one that is already shown is not sent again."""

    def __init__(self, engine: Engine, urn: str) -> None:
        self._engine = engine
        self._urn = urn
        self._shown = ""

    def show(self, message: str, severity: Severity = INFO) -> None:
        """Show `message` beside the resource."""
        if message != self._shown:
            self._shown = message
            self._engine.status(severity, message, self._urn)

    def warn(self, message: str) -> None:
        """Show `message` as a warning beside the resource."""
        self.show(message, WARNING)

    def log(self, severity: Severity, message: str) -> None:
        """Show `message` for good."""
        self._engine.log(severity, message, self._urn)

    def clear(self) -> None:
        """Take the status away."""
        self.show("")
