"""The edge: the one door through which requests come in."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from settings.base import Image, Name, Size, StrictModel
from settings.secret import ApiKey

_LABEL = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
# The last label of a name has a letter (RFC 3696, section 2), so that no address is one.
_HOST = re.compile(rf"({_LABEL}\.)*(?![0-9]+$){_LABEL}")
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]+)+/?")
_ADDRESS = re.compile(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(:[0-9]+)?|\[?[0-9a-fA-F]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*\]?")
_LONGEST_HOST = 253
_LONGEST_PATH = 200
_RESERVED = ("health", "healthz", "invocations", "metrics", "ping", "version")
"""What engines and the gateway serve without a key; a route of that name would look as if it were that."""

LOCALHOST = "localhost"
"""The host where keys and TLS may be left out. A name, not a fence: who reaches the node's port may send it too."""


def _host(host: str) -> str:
    if not _HOST.fullmatch(host) or len(host) > _LONGEST_HOST:
        raise ValueError(f"{host!r} is not a DNS name{_host_meant(host)}.")
    return host


def _host_meant(host: str) -> str:
    """Why it is none, and what to write."""
    if len(host) > _LONGEST_HOST:
        return f", which has at most {_LONGEST_HOST} characters"
    if _ADDRESS.fullmatch(host):
        return (
            " but an address, by which an Ingress tells no requests apart; write a name that leads there, e.g. "
            "'llm.example.com', or one in /etc/hosts"
        )
    if "*" in host:
        return ": a wildcard would take in every name below it; write each client's one name, e.g. 'llm.example.com'"
    plain = re.sub(r"^[a-z]+://", "", host.lower()).partition("/")[0].partition(":")[0].rstrip(".")
    if plain != host and _HOST.fullmatch(plain):
        return f"; write {plain!r}, in small letters, without scheme, port, path or a dot at its end"
    return "; write e.g. 'llm.example.com', without scheme or port"


def _path(path: str) -> str:
    if not path.startswith("/"):
        raise ValueError(f"{path!r} must start with '/'; write e.g. {'/' + (path or 'v1')!r}.")
    if not _PATH.fullmatch(path) or len(path) > _LONGEST_PATH:
        raise ValueError(f"{path!r} is not a path to route{_path_meant(path)}.")
    first = path.split("/")[1]
    if first in _RESERVED:
        raise ValueError(
            f"{path!r} begins as what engines serve without a key ({', '.join(f'/{name}' for name in _RESERVED)}), so "
            "probes and people would take one for the other. Write another path, e.g. '/v1'."
        )
    return path


def _path_meant(path: str) -> str:
    """Why it is none, and what to write."""
    if set(path) == {"/"}:
        return "; name one such as '/v1'. The bare '/' would also open /invocations and other paths that ask for no key"
    if len(path) > _LONGEST_PATH:
        return f": it has {len(path)} characters, and at most {_LONGEST_PATH} are possible"
    if "%" in path:
        return ": nginx compares decoded paths, so none with '%' would ever be met; write the characters themselves"
    if "//" in path or any(part in (".", "..") for part in path.split("/")):
        return ", since clients and proxies shorten '//', '/./' and '/../' before they ask; write it without"
    return "; a path has letters, digits, '.', '_', '~' and '-' between its '/', e.g. '/v1/korean'"


def _route(value: Any) -> Any:
    if not isinstance(value, str | dict):
        raise ValueError("names no model; write e.g. '/v1: chat'.")
    return {"model": value} if isinstance(value, str) else value


def _tls(value: Any) -> Any:
    if isinstance(value, str) and value != "selfSigned":
        raise ValueError(f"{value!r} is neither 'selfSigned' nor a mapping; write e.g. {{secretName: llm-tls}}.")
    if isinstance(value, dict) and value.get("secretName", value) is None:
        raise ValueError("secretName says nothing, so there is no certificate. Write its name, or tls: selfSigned.")
    return {"secretName": None} if value == "selfSigned" else value


Host = Annotated[
    str,
    AfterValidator(_host),
    WithJsonSchema({"type": "string", "pattern": f"^{_HOST.pattern}$", "maxLength": _LONGEST_HOST}),
]
RoutePath = Annotated[
    str,
    AfterValidator(_path),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^(?!/({'|'.join(_RESERVED)})(/|$)){_PATH.pattern}$",
            "maxLength": _LONGEST_PATH,
        }
    ),
]


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
    image: Image = Field(
        default="docker.io/nginxinc/nginx-unprivileged:1.29-alpine",
        description=(
            "Container image of nginx, with a release tag or a digest; it must run as any user, and have sh, timeout "
            "and wget (busybox), by which a new pod waits for the engines."
        ),
    )
