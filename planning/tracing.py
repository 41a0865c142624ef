"""Which engines send traces, and what makes them do so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from planning.servers import ServerPlan
from planning.vllm import VllmPlan
from settings.tracing import TracingSettings

_PORTS = {4317: "grpc", 4318: "http/protobuf"}
"""Ports that the OTLP specification gives to each protocol."""


def plan_tracing(
    settings: TracingSettings, servers: Mapping[str, ServerPlan], problems: list[str], warnings: list[str]
) -> dict[str, ServerPlan]:
    """`servers`, those of them that can trace made to do so.

    Args:
        settings: where traces go.
        problems: what no collector would understand is added.
        warnings: servers that send none are added.
    """
    address = urlsplit(settings.endpoint)
    usual = _PORTS.get(address.port or 0, settings.protocol)
    if usual != settings.protocol:
        problems.append(
            f"tracing.protocol: {settings.protocol} to port {address.port}, at which collectors speak {usual}, so "
            f"every trace would be lost. Write protocol: {usual}, or the other port."
        )
    if settings.protocol == "http/protobuf" and not address.path.strip("/"):
        problems.append(
            f"tracing.endpoint: {settings.endpoint} with http/protobuf: traces are posted to this URL as it is, and "
            f"collectors take them at a path. Write {settings.endpoint.rstrip('/')}/v1/traces."
        )
    silent = [name for name, server in servers.items() if not isinstance(server, VllmPlan)]
    warnings += [
        f"models.{name}.engine: is not made to send traces, so of its requests there is only the edge's log, with "
        "their X-Request-ID. Serve it with vllm if they are needed."
        for name in silent
    ]
    return {
        name: _traced(server, settings) if isinstance(server, VllmPlan) else server for name, server in servers.items()
    }


def _traced(server: VllmPlan, settings: TracingSettings) -> VllmPlan:
    """vllm/tracing/otel.py takes the endpoint from the flag, and leaves the rest to OpenTelemetry's own variables."""
    environment = {
        "OTEL_SERVICE_NAME": server.name,
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": settings.protocol,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": f"{settings.sample_ratio:g}",
    }
    return replace(
        server,
        # Before what may take several values: an argument behind it would be taken for one of them.
        arguments=(server.arguments[0], f"--otlp-traces-endpoint={settings.endpoint}", *server.arguments[1:]),
        environment=environment | server.environment,  # a variable of extraEnvironment says more
    )
