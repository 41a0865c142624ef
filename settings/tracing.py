"""Traces of requests, as OpenTelemetry takes them."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from settings.base import StrictModel

_ENDPOINT = re.compile(r"https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?(/[\w./-]*)?", re.ASCII)


def _endpoint(endpoint: str) -> str:
    if _ENDPOINT.fullmatch(endpoint):
        return endpoint
    raise ValueError(
        "is no URL of a collector: write scheme, host and port, e.g. "
        "'http://otel-collector.observability:4317', without user and password."
    )


class TracingSettings(StrictModel):
    """Where engines send traces; the prompts are not in them, but how long they were is."""

    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        description="URL of an OpenTelemetry collector, e.g. 'http://otel-collector.observability:4317'."
    )
    protocol: Literal["grpc", "http/protobuf"] = Field(
        default="grpc", description="How the collector is spoken to; port 4317 is grpc, and 4318 http/protobuf."
    )
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = Field(
        default=1.0, description="Part of the requests that are traced (0 to 1), unless a caller has decided."
    )
