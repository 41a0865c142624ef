"""The ResourceProvider service for commands. `command:remote:...` is refused by name until it is written."""

from __future__ import annotations

import secrets
from typing import Any

import grpc
from google.protobuf import empty_pb2  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import provider_pb2 as pb

from plugins._engine import Status
from plugins._properties import property_changes
from plugins._provider import Provider, Refused, rpc
from plugins._values import from_struct, has_unknown, reveal, to_struct
from plugins.command import local

_OUTPUTS = ("stdout", "stderr", "assets", "archive")


class CommandProvider(Provider):
    """Commands as resources."""

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
        token = request.urn.split("::")[2].rpartition("$")[2]
        if token != local.COMMAND:
            raise Refused(token)
        failures = [
            pb.CheckFailure(property=name, reason=reason)
            for name, reason in local.problems(token, from_struct(request.news))
        ]
        return pb.CheckResponse(inputs=request.news, failures=failures)

    @rpc
    def Diff(self, request: pb.DiffRequest, _context: grpc.ServicerContext) -> pb.DiffResponse:
        """A change of the triggers replaces, any other one runs `update`, or `create` again."""
        before = from_struct(request.old_inputs) or _inputs(from_struct(request.olds))
        return property_changes(reveal(before), reveal(from_struct(request.news)), replacing={"triggers"})

    @rpc
    def Create(self, request: pb.CreateRequest, _context: grpc.ServicerContext) -> pb.CreateResponse:
        """Run `create`; the state is the inputs and what it wrote."""
        inputs = from_struct(request.properties)
        if request.preview:
            return pb.CreateResponse(properties=to_struct({**inputs, **local.unknown_outputs()}))
        name = request.name or request.urn.rpartition("::")[2]
        command = reveal(inputs.get("create"))
        written = local.outputs(inputs, "", "") if command is None else self._run(request.urn, command, inputs, {})
        return pb.CreateResponse(id=f"{name}{secrets.token_hex(4)}", properties=to_struct({**inputs, **written}))

    @rpc
    def Update(self, request: pb.UpdateRequest, _context: grpc.ServicerContext) -> pb.UpdateResponse:
        """Run `update`, or `create` again; with neither, the outputs stay."""
        inputs, before = from_struct(request.news), from_struct(request.olds)
        if request.preview:
            return pb.UpdateResponse(properties=to_struct({**inputs, **local.unknown_outputs()}))
        command = reveal(inputs.get("update") or inputs.get("create"))
        kept = {name: before[name] for name in _OUTPUTS if name in before}
        written = kept if command is None else self._run(request.urn, command, inputs, before)
        return pb.UpdateResponse(properties=to_struct({**inputs, **written}))

    @rpc
    def Read(self, request: pb.ReadRequest, _context: grpc.ServicerContext) -> pb.ReadResponse:
        """The state as it was: what a command has done cannot be looked at."""
        return pb.ReadResponse(id=request.id, properties=request.properties, inputs=request.inputs)

    @rpc
    def Delete(self, request: pb.DeleteRequest, _context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Run `delete`, if there is one."""
        state = from_struct(request.properties)
        command = reveal(state.get("delete"))
        if command is not None:
            self._run(request.urn, command, _inputs(state), state)
        return empty_pb2.Empty()

    @rpc
    def Invoke(self, request: pb.InvokeRequest, _context: grpc.ServicerContext) -> pb.InvokeResponse:
        """`command:local:run`: runs at every preview and update."""
        if request.tok != local.RUN:
            raise Refused(request.tok)
        inputs = from_struct(request.args)
        failures = [
            pb.CheckFailure(property=name, reason=reason) for name, reason in local.problems(request.tok, inputs)
        ]
        if failures:
            return pb.InvokeResponse(failures=failures)
        if has_unknown(inputs):
            return pb.InvokeResponse(**{"return": to_struct({**inputs, **local.unknown_outputs()})})
        written = self._run("", reveal(inputs["command"]), inputs, {})
        return pb.InvokeResponse(**{"return": to_struct({**inputs, **written})})

    def _run(self, urn: str, command: str, inputs: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
        status = Status(self.engine, urn)
        return local.execute(command, inputs, before, status=status, cancelled=self.cancelled)


def _inputs(state: dict[str, Any]) -> dict[str, Any]:
    """The inputs in a resource's state."""
    return {name: value for name, value in state.items() if name not in _OUTPUTS}
