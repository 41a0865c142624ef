"""The routes of every kind of edge, read alike: Ingress, Traefik's IngressRoute, the Gateway API's HTTPRoute."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from llm_policies.objects import Object, Stack, texts
from llm_policies.pods import Container
from llm_policies.values import Doubt, Value

EDGES = ("Ingress", "IngressRoute", "HTTPRoute")

_HOST = re.compile(r"\bHost(?:SNI)?\(([^)]*)\)")
_PATH = re.compile(r"\bPath(?:Prefix)?\(([^)]*)\)")
_QUOTED = re.compile(r"[`'\"]([^`'\"]*)[`'\"]")


@dataclass(frozen=True, kw_only=True)
class Backend:
    """The Service that a route leads to."""

    namespace: str
    name: str
    port: str | int | None


@dataclass(frozen=True, kw_only=True)
class Route:
    """One path of one host."""

    edge: Object
    host: str
    """Empty for every host."""

    path: str
    exact: bool
    """Whether the path alone matches, and nothing below it."""

    backend: Backend | None
    middlewares: tuple[str, ...] = ()
    """Traefik's, as `namespace/name`, in its order."""


def normalised(path: str) -> str:
    """`path` as two that lead to the same are written alike: no `//`, no `/` at its end."""
    return "/" + "/".join(part for part in path.split("/") if part)


def routes(edge: Object) -> list[Route | Doubt]:
    """The routes of an edge, each with a doubt in its place where it cannot be read."""
    read = {"Ingress": _of_ingress, "IngressRoute": _of_ingress_route, "HTTPRoute": _of_http_route}[edge.kind]
    found: list[Route | Doubt] = []
    try:
        for one in read(edge):
            found.append(one)
    except Doubt as doubt:
        found.append(doubt)
    return found


def _of_ingress(edge: Object) -> Iterator[Route | Doubt]:
    spec = edge.properties.get("spec")
    if spec.get("defaultBackend").exists:
        yield Route(
            edge=edge, host="", path="/", exact=False, backend=_service(edge, spec.get("defaultBackend", "service"))
        )
    for rule in spec.get("rules").items():
        host = rule.get("host").text() or ""
        for path in rule.get("http", "paths").items():
            try:
                yield Route(
                    edge=edge,
                    host=host,
                    path=path.get("path").text() or "/",
                    exact=path.get("pathType").text() == "Exact",
                    backend=_service(edge, path.get("backend", "service")),
                )
            except Doubt as doubt:
                yield doubt


def _service(edge: Object, service: Value) -> Backend | None:
    name = service.get("name").text()
    port = service.get("port", "name").text() or service.get("port", "number").integer()
    return None if name is None else Backend(namespace=edge.namespace, name=name, port=port)


def _of_ingress_route(edge: Object) -> Iterator[Route | Doubt]:
    for route in edge.properties.get("spec", "routes").items():
        try:
            match = route.get("match").text() or ""
            hosts = _arguments(_HOST, match) or [""]
            paths = _arguments(_PATH, match) or ["/"]
            middlewares = tuple(
                f"{item.get('namespace').text() or edge.namespace}/{item.get('name').text()}"
                for item in route.get("middlewares").items()
            )
            services: list[Value | None] = [*route.get("services").items()] or [None]
            for service in services:
                for host in hosts:
                    for path in paths:
                        yield Route(
                            edge=edge,
                            host=host,
                            path=path,
                            exact="Path(" in match and "PathPrefix(" not in match,
                            backend=None if service is None else _named(edge, service),
                            middlewares=middlewares,
                        )
        except Doubt as doubt:
            yield doubt


def _arguments(pattern: re.Pattern[str], match: str) -> list[str]:
    return [argument for call in pattern.findall(match) for argument in _QUOTED.findall(call)]


def _named(edge: Object, service: Value) -> Backend | None:
    name = service.get("name").text()
    if name is None or service.get("kind").text() not in (None, "Service"):
        return None
    raw = service.get("port").raw
    port = raw if isinstance(raw, str) else service.get("port").integer()
    return Backend(namespace=service.get("namespace").text() or edge.namespace, name=name, port=port)


def _of_http_route(edge: Object) -> Iterator[Route | Doubt]:
    spec = edge.properties.get("spec")
    hosts = [host.text() or "" for host in spec.get("hostnames").items()] or [""]
    for rule in spec.get("rules").items():
        try:
            matched = [
                (path.get("value").text() or "/", path.get("type").text() == "Exact")
                for match in rule.get("matches").items()
                for path in [match.get("path")]
            ] or [("/", False)]
            backends = [_named(edge, one) for one in rule.get("backendRefs").items()] or [None]
            for host in hosts:
                for path, exact in matched:
                    for backend in backends:
                        yield Route(edge=edge, host=host, path=path, exact=exact, backend=backend)
        except Doubt as doubt:
            yield doubt


def engines_behind(backend: Backend, stack: Stack) -> list[tuple[Object, Container]]:
    """The containers with an engine that a Service of the stack leads to, each with its workload.

    Raises:
        Doubt: Service or workload cannot be read.
    """
    found: list[tuple[Object, Container]] = []
    for service in stack.of("Service"):
        if (service.namespace, service.name) == (backend.namespace, backend.name):
            selector = texts(service.properties.get("spec", "selector"))
            for workload in stack.selected(service.namespace, selector):
                found += [(workload, engine) for pod in workload.pods for engine in pod.engines]
    return found
