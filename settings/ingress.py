"""The edge: the one door through which requests come in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from settings.base import Name, Size, StrictModel
from settings.secret import ApiKey

_HOST = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+/?")

LOCALHOST = "localhost"
"""The host where keys and TLS may be left out. A name, not a fence: who reaches the node's port may send it too."""


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


def _route(value: Any) -> Any:
    return {"model": value} if isinstance(value, str) else value


def _tls(value: Any) -> Any:
    if isinstance(value, str) and value != "selfSigned":
        raise ValueError(f"{value!r} is neither 'selfSigned' nor a mapping; write e.g. {{secretName: llm-tls}}.")
    return {"secretName": None} if value == "selfSigned" else value


Host = Annotated[str, AfterValidator(_host)]
RoutePath = Annotated[str, AfterValidator(_path)]


class RouteSettings(StrictModel):
    """Where the requests under one path go; the model's name alone is enough."""

    model: Name = Field(description="Model that answers.")
    # nginx's own 60 s is too short for a long prompt under load.
    timeout_seconds: Annotated[int, Field(ge=1, le=3600)] = Field(
        default=120,
        description=(
            "Seconds without a byte from the model, before the first one or between two, after which the request ends "
            "with HTTP 504 (proxy_read_timeout). A whole streamed answer may take longer."
        ),
    )


class TlsSettings(StrictModel):
    """The certificate of the host; 'selfSigned' alone stands for one that is made at the first deployment."""

    secret_name: Name | None = Field(
        description="Secret of type kubernetes.io/tls that is in the namespace of the models already."
    )


Route = Annotated[RouteSettings, BeforeValidator(_route, json_schema_input_type=Name | RouteSettings)]
Tls = Annotated[TlsSettings, BeforeValidator(_tls, json_schema_input_type=Literal["selfSigned"] | TlsSettings)]


class IngressSettings(StrictModel):
    """Which models are reached under which path, by whom."""

    controller: Literal["traefik"] = Field(default="traefik", description="The ingress controller of the cluster.")
    host: Host = Field(description="Name that clients use, e.g. 'localhost' or 'llm.example.com'.")
    routes: Annotated[dict[RoutePath, Route], Field(min_length=1)] = Field(
        description="Model by path: '/v1: chat' serves the OpenAI API of the model 'chat' under /v1."
    )
    api_keys: Annotated[dict[Name, ApiKey], Field(min_length=1)] | None = Field(
        default=None,
        description=(
            "Keys by the name of their client: 'generated', or set with `pulumi config set --secret --path`. Requests "
            "without one are refused; only the host 'localhost' may have none."
        ),
    )
    tls: Tls | None = Field(
        default=None,
        description=(
            "Certificate of the host: {secretName: ...} of the cluster, or 'selfSigned'. Plain HTTP is then closed; "
            "only the host 'localhost' may be without."
        ),
    )
    replicas: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="Pods of the gateway; by default 1 for the host 'localhost', else 2."
    )
    max_body: Size = Field(default="32Mi", description="Largest request; larger ones are refused with HTTP 413.")
    image: str = Field(
        default="docker.io/nginxinc/nginx-unprivileged:1.29-alpine",
        min_length=1,
        description=(
            "Container image of nginx, with a release tag or a digest; it must run as any user, and have sh, timeout "
            "and wget (busybox), by which a new pod waits for the engines."
        ),
    )
