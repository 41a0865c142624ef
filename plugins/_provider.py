"""What every resource provider here has in common: handshake, errors, cancellation, refusals.

A provider subclasses `Provider`; its methods raise `Failure` (or `InitFailure`) instead of speaking gRPC.
"""

from __future__ import annotations

import functools
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2, message  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc, status_pb2

from plugins._engine import Engine
from plugins._serving import engine_address, serve
from plugins._values import UnsupportedValue, to_struct

Rpc = TypeVar("Rpc", bound=Callable[..., Any])

THREADS = 64
"""Operations at the same time: the engine's default parallelism is 4 x the CPUs, and waiting costs only a thread."""


class Failure(Exception):
    """The operation failed; the message is for the user."""


class Refused(Failure):
    """Something that the official plugin does and this stand-in does not."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}: not done by this plugin, a stand-in for the official one. Use the official plugin.")


class InitFailure(Failure):
    """The resource exists, but did not become what it should be: it stays in the state, with the reasons."""

    def __init__(
        self,
        text: str,
        *,
        id_: str,
        state: dict[str, Any],
        reasons: list[str],
        inputs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(text)
        self.id = id_
        self.state = state
        self.reasons = reasons
        self.inputs = inputs


def rpc(method: Rpc) -> Rpc:
    """Turn what a method raises into the call's error."""

    @functools.wraps(method)
    def wrapper(self: Any, request: message.Message, context: grpc.ServicerContext) -> Any:
        try:
            return method(self, request, context)
        except InitFailure as failure:
            _abort_with_state(context, failure)
        except Refused as refused:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, str(refused))
        except (Failure, UnsupportedValue) as failure:
            context.abort(grpc.StatusCode.UNKNOWN, str(failure))
        except Exception:
            if not context.is_active():
                raise
            traceback.print_exc(file=sys.stderr)  # shown by the CLI: a defect of the plugin, not of the program
            context.abort(grpc.StatusCode.INTERNAL, f"the plugin failed: {sys.exc_info()[1]!r}; see its traceback")

    return wrapper  # type: ignore[return-value]  # the same signature, which functools.wraps does not tell


def _abort_with_state(context: grpc.ServicerContext, failure: InitFailure) -> NoReturn:
    detail = any_pb2.Any()
    detail.Pack(
        provider_pb2.ErrorResourceInitFailed(
            id=failure.id,
            properties=to_struct(failure.state),
            reasons=failure.reasons,
            inputs=None if failure.inputs is None else to_struct(failure.inputs),
        )
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=str(failure), details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(failure))


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """Base of the providers: what they all answer alike, and refusals for what none of them does."""

    def __init__(self, name: str, version: str, engine: str) -> None:
        """`engine` is the engine's address from the command line; the handshake may bring another."""
        self.name = name
        self.version = version
        self.engine = Engine(engine)
        self.cancelled = threading.Event()

    def Handshake(self, request: provider_pb2.ProviderHandshakeRequest, _context: grpc.ServicerContext) -> Any:
        """Take the engine's address and say what is understood."""
        self.engine = Engine(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(
            accept_secrets=True, accept_resources=False, accept_outputs=False, supports_autonaming_configuration=True
        )

    def Attach(self, request: plugin_pb2.PluginAttach, _context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Take the engine's address: the plugin was started by hand."""
        self.engine = Engine(request.address)
        return empty_pb2.Empty()

    def GetPluginInfo(self, _request: empty_pb2.Empty, _context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """The version of the official plugin that this one stands in for."""
        return plugin_pb2.PluginInfo(version=self.version)

    def Cancel(self, _request: empty_pb2.Empty, _context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Make operations under way stop at their next step."""
        self.cancelled.set()
        return empty_pb2.Empty()

    @rpc
    def GetSchema(self, _request: provider_pb2.GetSchemaRequest, _context: grpc.ServicerContext) -> Any:
        """Refused: the schema is only needed to generate code."""
        raise Refused(f"the schema of {self.name} (pulumi package, pulumi import's code)")

    @rpc
    def Parameterize(self, _request: provider_pb2.ParameterizeRequest, _context: grpc.ServicerContext) -> Any:
        """Refused."""
        raise Refused(f"parameterizing {self.name}")

    @rpc
    def Construct(self, request: provider_pb2.ConstructRequest, _context: grpc.ServicerContext) -> Any:
        """Refused: remote components."""
        raise Refused(request.type)

    @rpc
    def Call(self, request: provider_pb2.CallRequest, _context: grpc.ServicerContext) -> Any:
        """Refused: methods of remote components."""
        raise Refused(request.tok)

    @rpc
    def Invoke(self, request: provider_pb2.InvokeRequest, _context: grpc.ServicerContext) -> Any:
        """Refused unless a provider knows the function."""
        raise Refused(request.tok)


def run(make: Callable[[str], Provider]) -> None:
    """Serve the provider that `make` gives for an engine's address, until told to stop."""
    engine = engine_address(sys.argv[1:])
    provider = make(engine)

    def register(server: grpc.Server) -> None:
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)

    serve(register, engine=engine, threads=THREADS, on_stop=provider.cancelled.set)
