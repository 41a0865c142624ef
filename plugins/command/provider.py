"""The ResourceProvider service for commands and copies."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from typing import Any, Protocol

import grpc
from google.protobuf import empty_pb2, struct_pb2  # type: ignore[import-untyped]  # stubs lie in a namespace package
from pulumi.runtime.proto import provider_pb2 as pb

from plugins._engine import Status
from plugins._provider import Provider, Refused, rpc
from plugins._values import UNKNOWN, from_struct, has_unknown, reveal, to_struct
from plugins.command import copy_to_remote, local, remote
from plugins.command.diffing import diff
from plugins.command.properties import (
    COMMAND,
    COPY,
    OUTPUTS,
    REMOTE_COMMAND,
    RUN,
    checked,
    problems,
    unknown_outputs,
    without_outputs,
)


class _Execute(Protocol):
    """Runs a command and gives its outputs."""

    def __call__(
        self,
        command: str,
        properties: Mapping[str, Any],
        before: Mapping[str, Any],
        *,
        status: Status,
        cancelled: threading.Event,
        seconds: float = 0,
    ) -> dict[str, Any]: ...


class _Request(Protocol):
    """What is alike in the requests to create, update and delete."""

    urn: str
    timeout: float


_EXECUTE: dict[str, _Execute] = {COMMAND: local.execute, REMOTE_COMMAND: remote.execute}


class CommandProvider(Provider):
    """Commands and copies as resources."""

    def __init__(self, version: str, engine: str) -> None:
        super().__init__("command", version, engine)

    @rpc
    def CheckConfig(self, request: pb.CheckRequest, _context: grpc.ServicerContext) -> pb.CheckResponse:
        """There is nothing to configure."""
        return pb.CheckResponse(inputs=request.news)

    @rpc
    def DiffConfig(self, _request: pb.DiffRequest, _context: grpc.ServicerContext) -> pb.DiffResponse:
        """There is nothing that could change."""
        return pb.DiffResponse(changes=pb.DiffResponse.DIFF_NONE)

    @rpc
    def Configure(self, _request: pb.ConfigureRequest, _context: grpc.ServicerContext) -> pb.ConfigureResponse:
        """Previews are served: outputs are unknown until the command has run."""
        return pb.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    @rpc
    def Check(self, request: pb.CheckRequest, _context: grpc.ServicerContext) -> pb.CheckResponse:
        """Refuse what is not done, and properties that are not there."""
        token = _token(request.urn)
        if token not in (*_EXECUTE, COPY):
            raise Refused(token)
        inputs = _read(request.news)
        found = problems(token, inputs)
        if token == COPY and reveal(inputs.get("source")) not in (None, UNKNOWN):
            found += copy_to_remote.source_problems(reveal(inputs["source"]))
        failures = [pb.CheckFailure(property=name, reason=reason) for name, reason in found]
        return pb.CheckResponse(inputs=to_struct(checked(inputs)), failures=failures)

    @rpc
    def Diff(self, request: pb.DiffRequest, _context: grpc.ServicerContext) -> pb.DiffResponse:
        """A change of the triggers replaces, any other one updates."""
        before = _read(request.old_inputs) or without_outputs(_read(request.olds))
        return diff(before, _read(request.news))

    @rpc
    def Create(self, request: pb.CreateRequest, _context: grpc.ServicerContext) -> pb.CreateResponse:
        """Run `create`, or copy; the state is the inputs and what was written."""
        token, inputs = _token(request.urn), _read(request.properties)
        if request.preview:
            return pb.CreateResponse(properties=to_struct({**inputs, **_previewed(token)}))
        if token == COPY:
            self._copy(request, inputs)
            return pb.CreateResponse(id=secrets.token_hex(4), properties=to_struct(inputs))
        name = request.name or request.urn.rpartition("::")[2]
        command = reveal(inputs.get("create"))
        written = {"stdout": "", "stderr": ""} if command is None else self._run(request, command, inputs, {})
        return pb.CreateResponse(id=f"{name}{secrets.token_hex(4)}", properties=to_struct({**inputs, **written}))

    @rpc
    def Update(self, request: pb.UpdateRequest, _context: grpc.ServicerContext) -> pb.UpdateResponse:
        """Run `update`, or `create` again, or copy what is new; with nothing to run, the outputs stay."""
        token, inputs, before = _token(request.urn), _read(request.news), _read(request.olds)
        kept = {name: reveal(before[name]) for name in OUTPUTS if name in before}
        if request.preview:
            unknown = {**dict.fromkeys(kept, UNKNOWN), **_previewed(token)}
            return pb.UpdateResponse(properties=to_struct({**inputs, **unknown}))
        if token == COPY:
            if copy_to_remote.needed(inputs, before):
                self._copy(request, inputs)
            return pb.UpdateResponse(properties=to_struct(inputs))
        plain = reveal(inputs)
        command = plain.get("create") if plain.get("update") is None else plain["update"]
        written = {} if command is None else self._run(request, command, inputs, before)
        return pb.UpdateResponse(properties=to_struct({**inputs, **kept, **written}))

    @rpc
    def Read(self, request: pb.ReadRequest, _context: grpc.ServicerContext) -> pb.ReadResponse:
        """The state as it was: what a command has done cannot be looked at."""
        return pb.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    @rpc
    def Delete(self, request: pb.DeleteRequest, _context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Run `delete`, if there is one; what was copied stays."""
        state = _read(request.properties)
        command = reveal(state.get("delete"))
        if command is not None:
            self._run(request, command, without_outputs(state), state)
        return empty_pb2.Empty()

    @rpc
    def Invoke(self, request: pb.InvokeRequest, _context: grpc.ServicerContext) -> pb.InvokeResponse:
        """`command:local:run`: runs at every preview and update."""
        if request.tok != RUN:
            raise Refused(request.tok)
        inputs = _read(request.args)
        failures = [pb.CheckFailure(property=name, reason=reason) for name, reason in problems(request.tok, inputs)]
        if failures:
            return pb.InvokeResponse(failures=failures)
        if has_unknown(inputs):
            return pb.InvokeResponse(**{"return": to_struct({**inputs, **unknown_outputs()})})
        status = Status(self.engine, "")
        written = local.execute(reveal(inputs["command"]), inputs, {}, status=status, cancelled=self.cancelled)
        return pb.InvokeResponse(**{"return": to_struct({**inputs, **written})})

    def _run(self, request: _Request, command: str, inputs: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
        return _EXECUTE[_token(request.urn)](
            command,
            inputs,
            before,
            status=Status(self.engine, request.urn),
            cancelled=self.cancelled,
            seconds=request.timeout,
        )

    def _copy(self, request: _Request, inputs: dict[str, Any]) -> None:
        status = Status(self.engine, request.urn)
        copy_to_remote.copy(inputs, status=status, cancelled=self.cancelled, seconds=request.timeout)


def _read(properties: struct_pb2.Struct) -> dict[str, Any]:
    return from_struct(properties, assets=True)


def _token(urn: str) -> str:
    """The type of the resource itself, without those of its parents."""
    return urn.split("::")[2].rpartition("$")[2]


def _previewed(token: str) -> dict[str, Any]:
    """What a preview knows of the outputs beside the inputs."""
    return {} if token == COPY else unknown_outputs()
