"""The edge: the one door through which requests come in."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from settings.base import Name, StrictModel

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+/?")


def _host(host: str) -> str:
    if not _HOST.fullmatch(host) or len(host) > 253:
        raise ValueError(f"{host!r} is not a DNS name; write e.g. 'llm.example.com', without scheme or port.")
    return host


def _path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"{path!r} must start with '/'.")
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"{path!r} is not a path to route; name one such as '/v1'. The bare '/' would also open /invocations "
            "and other paths that ask for no key."
        )
    return path


Host = Annotated[str, AfterValidator(_host)]
RoutePath = Annotated[str, AfterValidator(_path)]


class IngressSettings(StrictModel):
    """Which models are reached under which path."""

    controller: Literal["traefik"] = Field(default="traefik", description="The ingress controller of the cluster.")
    host: Host = Field(description="Name that clients use, e.g. 'localhost' or 'llm.example.com'.")
    routes: Annotated[dict[RoutePath, Name], Field(min_length=1)] = Field(
        description="Model by path: '/v1: chat' serves the OpenAI API of the model 'chat' under /v1."
    )
