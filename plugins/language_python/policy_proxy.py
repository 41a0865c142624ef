"""Stands between the engine and a policy pack, because a pack wants the stack's configuration before it starts.

The engine tells a pack its stack and configuration by a call (ConfigureStack); the `pulumi.policy` runner reads them
from its environment. So the engine is given this proxy's port, the pack is started when the call has come, and all
other calls are passed on as they are.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from google.protobuf import message  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from pulumi.runtime.proto import analyzer_pb2

from plugins._serving import CHANNEL_OPTIONS

_SERVICE = "/pulumirpc.Analyzer/"


class PolicyProxy(grpc.GenericRpcHandler):
    """Serves the Analyzer service; all its calls are unary, so that their bytes can be passed on unread."""

    def __init__(self) -> None:
        self._server = grpc.server(ThreadPoolExecutor(8), handlers=[self], options=CHANNEL_OPTIONS)
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._stack: analyzer_pb2.AnalyzerStackConfigureRequest | None = None
        self._configured = threading.Event()
        self._pack: grpc.Channel | None = None
        self._attached = threading.Event()
        self._server.start()

    def environment(self) -> dict[str, str]:
        """The variables that tell a pack its stack; waits until the engine has told it, or asks something else."""
        self._configured.wait()
        stack = self._stack
        if stack is None:
            return {}
        told = {
            "PULUMI_ORGANIZATION": stack.organization,
            "PULUMI_PROJECT": stack.project,
            "PULUMI_STACK": stack.stack,
            "PULUMI_DRY_RUN": "true" if stack.dry_run else "false",
            "PULUMI_CONFIG": json.dumps(dict(stack.config)),
        }
        return {name: value for name, value in told.items() if value}

    def attach(self, port: int) -> None:
        """Pass calls on to the pack that listens on `port` of this machine."""
        self._pack = grpc.insecure_channel(f"127.0.0.1:{port}", options=CHANNEL_OPTIONS)
        self._attached.set()

    def close(self) -> None:
        """Stop; calls that still wait for the pack are told that there is none."""
        self._configured.set()
        self._attached.set()
        self._server.stop(1)
        if self._pack is not None:
            self._pack.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        """The handler for a call, by its method's name."""
        method = handler_call_details.method
        if not method.startswith(_SERVICE):
            return None

        def handle(request: bytes, context: grpc.ServicerContext) -> bytes:
            return self._handle(method, request, context)

        return grpc.unary_unary_rpc_method_handler(handle)

    def _handle(self, method: str, request: bytes, context: grpc.ServicerContext) -> bytes:
        if method == _SERVICE + "Handshake":
            return _bytes(analyzer_pb2.AnalyzerHandshakeResponse())
        if method == _SERVICE + "ConfigureStack":
            self._stack = analyzer_pb2.AnalyzerStackConfigureRequest.FromString(request)
            self._configured.set()
            return _bytes(analyzer_pb2.AnalyzerStackConfigureResponse())
        self._configured.set()
        self._attached.wait()
        if self._pack is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "the policy pack did not start; see its output")
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._pack.unary_unary(method)
        try:
            return call(request)
        except grpc.RpcError as error:
            context.abort(error.code(), error.details() or "the policy pack failed")


def _bytes(answer: message.Message) -> bytes:
    data: bytes = answer.SerializeToString()
    return data
