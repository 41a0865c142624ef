"""The routes of every kind of edge, read alike: Ingress, Traefik's IngressRoute, the Gateway API's routes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from llm_policies.gateways import parents_of
from llm_policies.ingress_classes import class_of
from llm_policies.kinds import namespace_of
from llm_policies.objects import Object
from llm_policies.paths import starts_of
from llm_policies.rule import Setting
from llm_policies.traefik_matches import Matcher, UnreadableMatch, alternatives
from llm_policies.values import Doubt, Value

LOCAL_HOSTS = Setting(
    default=["localhost"], description="Hosts that never leave the machine; names below them are local too."
)

_DEFAULT_ENTRY_POINTS = ("web", "websecure")
"""Where Traefik listens in its chart, which is k3s's too, for a route that names no entry point."""


@dataclass(frozen=True, kw_only=True)
class Backend:
    """What a route leads to."""

    namespace: str | None
    """None where it is known after the deployment only."""

    name: str
    port: str | int | None
    kind: str = "Service"


@dataclass(frozen=True, kw_only=True)
class Route:
    """One path of one host."""

    edge: Object
    host: str
    """Empty for every host."""

    path: str
    """As it is written."""

    exact: bool = False
    """Whether the path alone matches, and nothing below it."""

    starts: tuple[str, ...]
    """What the path of every request that matches begins with: one of these."""

    backends: tuple[Backend, ...] = ()
    """None for a redirect, and for what is no Service."""

    middlewares: tuple[str, ...] = ()
    """Traefik's, as `namespace/name`, in its order."""

    places: tuple[str, ...] = ("",)
    """Where requests come in, e.g. the class of an Ingress: two routes meet only where both have one."""

    conditions: frozenset[str] = frozenset()
    """What a request has beside host and path, e.g. a method."""

    filters: tuple[Value, ...] = ()
    """Of the Gateway API."""

    rule_name: str | None = None
    """Of the Gateway API."""

    timeouts: Value = field(default_factory=lambda: Value(None))
    """Of the Gateway API."""

    is_encrypted: bool = False
    """Whether the route itself takes TLS alone (Traefik)."""

    is_secret: bool = False
    """Whether host and path are parts of a secret, of which no message may have one."""

    @property
    def shown(self) -> str:
        """For messages: host and path as they are written."""
        if self.is_secret:
            return f"a secret match of {self.edge.name}"
        return f"{self.host}{self.path}" if self.path.startswith("/") else f"{self.host} {self.path}".strip()


def is_local(host: str, local: list[str]) -> bool:
    """Whether `host` never leaves the machine."""
    return any(host == name or host.endswith(f".{name}") for name in local)


def routes(edge: Object) -> list[Route | Doubt]:
    """The routes of an edge, each with a doubt in its place where it cannot be read."""
    found: list[Route | Doubt] = []
    try:
        for one in _READERS[edge.kind](edge):
            found.append(one)
    except Doubt as doubt:
        found.append(doubt)
    return found


def annotation(edge: Object, key: str) -> Value:
    """An annotation, as a value that may be unknown."""
    return edge.properties.get("metadata", "annotations", key)


def _of_ingress(edge: Object) -> Iterator[Route | Doubt]:
    spec = edge.properties.get("spec")
    default = spec.get("defaultBackend")
    place = (class_of(edge),)
    if default.raw is not None:
        yield Route(edge=edge, host="", path="/", starts=("/",), backends=_service(edge, default), places=place)
    for rule in spec.get("rules").items():
        try:
            host = rule.get("host").text() or ""
            paths = rule.get("http", "paths").items()
        except Doubt as doubt:
            yield doubt
            continue
        for one in paths:
            try:
                path, exact = one.get("path").text() or "/", one.get("pathType").text() == "Exact"
                yield Route(
                    edge=edge,
                    host=host,
                    path=path,
                    exact=exact,
                    starts=(path,) if exact else starts_of(path),
                    backends=_service(edge, one.get("backend")),
                    places=place,
                )
            except Doubt as doubt:
                yield doubt


def _service(edge: Object, backend: Value) -> tuple[Backend, ...]:
    service = backend.get("service")
    # Until v1 an Ingress had both in the backend itself.
    name = service.get("name").text() or backend.get("serviceName").text()
    port = service.get("port", "name").text() or service.get("port", "number").integer()
    return () if name is None else (Backend(namespace=namespace_of(edge), name=name, port=port),)


def _of_ingress_route(edge: Object) -> Iterator[Route | Doubt]:
    spec = edge.properties.get("spec")
    entry_points = [name.text() or "" for name in spec.get("entryPoints").items()] or _DEFAULT_ENTRY_POINTS
    encrypted = spec.get("tls").raw is not None
    for route in spec.get("routes").items():
        try:
            priority = route.get("priority").integer()
            # Of two that match, the one with the higher priority is taken.
            places = tuple(f"{name} tls={encrypted} priority={priority}" for name in entry_points)
            middlewares = tuple(
                f"{item.get('namespace').text() or edge.namespace}/{item.get('name').text()}"
                for item in route.get("middlewares").items()
            )
            backends = tuple(b for item in route.get("services").items() for b in referred(edge, item))
            for way in _alternatives(route.get("match")):
                host, path, exact, starts, conditions = _of_way(way)
                yield Route(
                    edge=edge,
                    host=host,
                    path=path,
                    exact=exact,
                    starts=starts,
                    backends=backends,
                    middlewares=middlewares,
                    places=places,
                    conditions=conditions,
                    is_encrypted=encrypted,
                    is_secret=route.get("match").is_secret,
                )
        except Doubt as doubt:
            yield doubt


def _alternatives(match: Value) -> list[tuple[Matcher, ...]]:
    try:
        return alternatives(match.text() or "")
    except UnreadableMatch:
        raise match.malformed("a rule of Traefik, e.g. Host(`a.example`) && PathPrefix(`/v1`)") from None


def _of_way(way: tuple[Matcher, ...]) -> tuple[str, str, bool, tuple[str, ...], frozenset[str]]:
    """Host, path, whether it is exact, what paths begin with, and all other conditions."""
    host = next((m for m in way if m.name in ("Host", "HostSNI", "HostHeader") and not m.negated), None)
    path = next((m for m in way if m.name in ("Path", "PathPrefix", "PathRegexp") and not m.negated), None)
    conditions = frozenset(str(m) for m in way if m is not host and m is not path)
    named = "" if host is None or host.arguments[0] == "*" else host.arguments[0].lower()
    if path is None:
        return named, "/", False, ("/",), conditions
    written = path.arguments[0]
    if path.name == "PathRegexp" and not written.startswith("^"):
        return named, written, False, ("/",), conditions | {str(path)}
    return named, written, path.name == "Path", starts_of(written), conditions


def referred(edge: Object, service: Value) -> tuple[Backend, ...]:
    """The backend that a reference of Traefik or the Gateway API names; none of what is no Service, or gets nothing."""
    name = service.get("name").text()
    # `noop@internal` and the like are Traefik's own.
    if name is None or "@" in name or service.get("weight").raw == 0:
        return ()
    raw = service.get("port").raw
    port = raw if isinstance(raw, str) else service.get("port").integer()
    namespace = service.get("namespace").text() or namespace_of(edge)
    return (Backend(namespace=namespace, name=name, port=port, kind=service.get("kind").text() or "Service"),)


def _of_gateway_route(edge: Object) -> Iterator[Route | Doubt]:
    spec = edge.properties.get("spec")
    parents = parents_of(edge)
    if spec.get("parentRefs").items() and not parents:
        return  # a mesh's, between pods
    places = tuple(f"{p.named}/{p.section}/{p.port}" for p in parents)
    hosts = [host.text() or "" for host in spec.get("hostnames").items()] or [""]
    for rule in spec.get("rules").items():
        try:
            backends = tuple(b for item in rule.get("backendRefs").items() for b in referred(edge, item))
            filters, name = tuple(rule.get("filters").items()), rule.get("name").text()
            for host in hosts:
                # A rule that matches nothing in particular matches everything.
                for path, kind, conditions in [_matched(m) for m in rule.get("matches").items()] or [_EVERYTHING]:
                    yield Route(
                        edge=edge,
                        host=host,
                        path=path,
                        exact=kind == "Exact",
                        starts=starts_of(path) if kind == "RegularExpression" else (path,),
                        backends=backends,
                        places=places or ("",),
                        conditions=conditions,
                        filters=filters,
                        rule_name=name,
                        timeouts=rule.get("timeouts"),
                    )
        except Doubt as doubt:
            yield doubt


_EVERYTHING: tuple[str, str | None, frozenset[str]] = ("/", None, frozenset())


def _matched(match: Value) -> tuple[str, str | None, frozenset[str]]:
    """Path, its type, and what else a request must have."""
    others = {f"method {match.get('method').text()}"} if match.get("method").raw is not None else set()
    for key in ("headers", "queryParams"):
        others |= {f"{key} {item.get('name').text()}={item.get('value').text()}" for item in match.get(key).items()}
    return match.get("path", "value").text() or "/", match.get("path", "type").text(), frozenset(others)


_READERS: dict[str, Callable[[Object], Iterator[Route | Doubt]]] = {
    "Ingress": _of_ingress,
    "IngressRoute": _of_ingress_route,
    "IngressRouteTCP": _of_ingress_route,
    "HTTPRoute": _of_gateway_route,
    "TCPRoute": _of_gateway_route,
    "TLSRoute": _of_gateway_route,
}
