"""The edge: who may come in, by which name, over what, and through how many gateways."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from planning.nginx import health_urls, nginx_conf
from planning.pods import Shutdown, shutdown
from planning.routes import Route, plan_routes
from settings.base import quantity_bytes
from settings.ingress import LOCALHOST, IngressSettings, TlsSettings
from settings.secret import GENERATED
from settings.stack import ModelSettings

_SELF_SIGNED_SECRET = "llm-gateway-tls"  # noqa: S105  # the name of an object, not what it holds

_PRE_STOP_SECONDS = 15
"""Traefik hears of a pod's end up to 2 s late by default, on a busy node later; until then it sends requests to it."""


@dataclass(frozen=True, kw_only=True)
class TlsPlan:
    """The Secret with the host's certificate; made by us where it is self-signed."""

    secret_name: str
    self_signed: bool


@dataclass(frozen=True, kw_only=True)
class IngressPlan:
    """Everything that the LlmIngress component is made of."""

    host: str
    routes: tuple[Route, ...]
    api_keys: Mapping[str, SecretStr | None]
    """Key by client, None where it is to be generated; empty where nobody needs one."""

    tls: TlsPlan | None
    replicas: int
    image: str
    image_pull_secrets: tuple[str, ...] = ()
    """Secrets with logins to registries."""

    nginx_conf: str
    health_urls: tuple[str, ...]
    """Of the engines behind the gateway, as it reaches them, e.g. `http://chat.llm.svc:8000/health`."""

    shutdown: Shutdown

    @property
    def scheme(self) -> str:
        """`https` or `http`."""
        return "https" if self.tls else "http"

    @property
    def config_key(self) -> str:
        """Eight hexadecimal digits that change whenever the gateway's configuration does."""
        return hashlib.sha256(self.nginx_conf.encode()).hexdigest()[:8]

    def url(self, path: str) -> str:
        """What clients write for `path`, e.g. `https://llm.example.com/v1`."""
        return f"{self.scheme}://{self.host}{path}"


def plan_ingress(
    settings: IngressSettings, servers: Mapping[str, ModelSettings], *, namespace: str, problems: list[str]
) -> IngressPlan:
    """The plan of the edge; what is wrong with it is added to `problems`."""
    local = settings.host == LOCALHOST
    if not local:
        problems += _left_open(settings)
    api_keys = {
        client: key if isinstance(key, SecretStr) else None for client, key in (settings.api_keys or {}).items()
    }
    problems += _shared(api_keys)
    routes = plan_routes(settings, servers, problems)
    longest = max((route.timeout_seconds for route in routes), default=0)
    ending = shutdown(drain_seconds=longest, pre_stop_seconds=_PRE_STOP_SECONDS)
    return IngressPlan(
        host=settings.host,
        routes=routes,
        api_keys=api_keys,
        tls=_tls(settings.tls) if settings.tls else None,
        replicas=(1 if local else 2) if settings.replicas is None else settings.replicas,
        image=settings.image,
        nginx_conf=nginx_conf(
            routes,
            namespace=namespace,
            keys=bool(api_keys),
            max_body_bytes=quantity_bytes(settings.max_body),
            drain_seconds=ending.drain_seconds,
        ),
        health_urls=tuple(health_urls(routes, namespace=namespace)),
        shutdown=ending,
    )


def _tls(settings: TlsSettings) -> TlsPlan:
    if settings.secret_name is None:
        return TlsPlan(secret_name=_SELF_SIGNED_SECRET, self_signed=True)
    return TlsPlan(secret_name=settings.secret_name, self_signed=False)


def _left_open(settings: IngressSettings) -> list[str]:
    """What would be open to others than the machine's own user."""
    found = []
    if settings.api_keys is None:
        found.append(
            f"ingress.apiKeys: is not set, and {settings.host!r} is not {LOCALHOST}, so whoever reaches it could use "
            f"the models. Name the clients, e.g. apiKeys: {{team: {GENERATED}}}."
        )
    if settings.tls is None:
        found.append(
            f"ingress.tls: is not set, and {settings.host!r} is not {LOCALHOST}, so keys and prompts would cross the "
            "network readable. Write tls: {secretName: <Secret with the certificate>}, or tls: selfSigned."
        )
    return found


def _shared(api_keys: Mapping[str, SecretStr | None]) -> list[str]:
    """Clients with the same key, of which the log could name only one."""
    owner: dict[str, str] = {}
    found = []
    for client, key in api_keys.items():
        if key is None:
            continue
        first = owner.setdefault(key.get_secret_value(), client)
        if first != client:
            found.append(
                f"ingress.apiKeys.{client}: is the same key as that of {first!r}, so the log could not tell them "
                f"apart. Set another one, or write {GENERATED!r}."
            )
    return found
