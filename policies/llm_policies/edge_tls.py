"""The rule about TLS at the edge."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.examples import INGRESS_HEAD, INGRESS_RULES
from llm_policies.gateways import Parent, parents_of
from llm_policies.ingress_classes import may_be
from llm_policies.kinds import EDGES, edges
from llm_policies.middlewares import Middlewares
from llm_policies.objects import Object, Stack
from llm_policies.routes import LOCAL_HOSTS, Route, annotation, is_local, routes
from llm_policies.rule import Context, Rule, Said, Setting
from llm_policies.values import Doubt, Value

_TRAEFIK = "traefik.ingress.kubernetes.io/router."
_NGINX = "nginx.ingress.kubernetes.io/"
_CERTIFICATES = (
    "alb.ingress.kubernetes.io/certificate-arn",
    "ingress.gcp.kubernetes.io/pre-shared-cert",
    "networking.gke.io/managed-certificates",
)
"""Annotations by which controllers of clouds are given a certificate for all hosts of an Ingress."""

_REPAIRS = {
    "Ingress": "Name it under tls, with a Secret that has its certificate.",
    "IngressRoute": "Write tls with a secretName or a certResolver.",
    "HTTPRoute": "Attach the route to a listener with HTTPS alone (sectionName).",
}
_UNREDIRECTED = f"Take the annotation {_NGINX}ssl-redirect: 'false' away."


def _tls(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    local: list[str] = context.settings["localHosts"]
    middlewares = Middlewares(stack)
    for item in edges(stack, *EDGES):
        for found in routes(item):
            if isinstance(found, Doubt):
                yield item, found
                continue
            try:
                if is_local(found.host, local):
                    continue
                repair = _repair(found, stack, context) if _is_served(found, middlewares) else None
                if repair is not None:
                    shown = f"host '{found.host}'" if found.host else "every host"
                    shown = found.shown if found.is_secret else shown
                    yield (
                        item,
                        f"{shown} is served without TLS; API keys and prompts travel in clear. {repair}",
                    )
            except Doubt as doubt:
                yield item, doubt


def _is_served(route: Route, middlewares: Middlewares) -> bool:
    """Whether anything is answered at all but that https is to be used."""
    if route.edge.kind != "Ingress" and not route.backends:
        return False
    for _, spec in middlewares.of(route):
        if spec is not None and (
            spec.get("redirectScheme", "scheme").text() == "https"
            or (spec.get("redirectRegex", "replacement").text() or "").startswith("https://")
        ):
            return False
    return True


def _repair(route: Route, stack: Stack, context: Context) -> str | None:
    """What to do where a host is answered without TLS; None where it is not."""
    encrypted: list[str] = context.settings["tlsEntryPoints"]
    if route.edge.kind == "HTTPRoute":
        is_clear = any(_has_clear_listener(parent, route, stack) for parent in parents_of(route.edge))
    elif route.edge.kind == "IngressRoute":
        points = [point.text() for point in route.edge.properties.get("spec", "entryPoints").items()]
        is_clear = not route.is_encrypted and not (points and all(point in encrypted for point in points))
    elif _has_certificate(route.edge, route.host):
        return _UNREDIRECTED if _is_answered_in_clear(route.edge, stack) else None
    else:
        is_clear = _is_clear_ingress(route.edge, encrypted)
    return _REPAIRS[route.edge.kind] if is_clear else None


def _has_certificate(edge: Object, host: str) -> bool:
    entries = edge.properties.get("spec", "tls").items()
    # An entry without hosts is for all of the controller's.
    hosts = {name.text() for entry in entries for name in entry.get("hosts").items() or [Value(None)]}
    return None in hosts or host in hosts or f"*.{host.partition('.')[2]}" in hosts


def _is_answered_in_clear(edge: Object, stack: Stack) -> bool:
    """Whether a host is answered in both ways: ingress-nginx sends plain requests on to https, unless told not to."""
    is_told = annotation(edge, f"{_NGINX}ssl-redirect").text() == "false"
    return is_told and not _forces(edge) and may_be(edge, "nginx", stack)


def _is_clear_ingress(edge: Object, encrypted: list[str]) -> bool:
    points = (annotation(edge, f"{_TRAEFIK}entrypoints").text() or "").split(",")
    return not (
        _forces(edge)
        or annotation(edge, f"{_TRAEFIK}tls").text() == "true"
        or all(point.strip() in encrypted for point in points)
        or any(annotation(edge, key).text() for key in _CERTIFICATES)
    )


def _forces(edge: Object) -> bool:
    return annotation(edge, f"{_NGINX}force-ssl-redirect").text() == "true"


def _has_clear_listener(parent: Parent, route: Route, stack: Stack) -> bool:
    """Whether a listener of the stack takes requests of a route without TLS; of those of others nobody knows."""
    return any(
        listener.get("protocol").text() == "HTTP" and _meet(listener.get("hostname").text() or "", route.host)
        for listener in parent.listeners(stack)
    )


def _meet(one: str, other: str) -> bool:
    """Whether some host is of both; `*.` stands for any beginning, and nothing for every host."""
    if "" in (one, other) or one == other:
        return True
    return any(a.startswith("*.") and b.endswith(a[1:]) for a, b in ((one, other), (other, one)))


INGRESS_TLS = Rule(
    name="ingress-tls",
    title="Every host of the edge has TLS.",
    description=(
        "Without it API keys, prompts and answers cross the network readable, and who reads a key has it for good. "
        "Redirects to https are left alone, and so is what a Gateway of another stack does with an HTTPRoute: it is "
        "not to be seen here."
    ),
    remediation="Name the host under tls, with a Secret of type kubernetes.io/tls.",
    severity="error",
    references=(
        "polaris tlsSettingsMissing",
        "gatekeeper httpsonly",
        "kyverno require-ingress-https",
        "kubescape C-0263",
    ),
    of_stack=_tls,
    kinds=frozenset(EDGES),
    settings={
        "localHosts": LOCAL_HOSTS,
        "tlsEntryPoints": Setting(
            default=["websecure"],
            description="Traefik's entry points that have TLS themselves, as websecure has in its chart and in k3s.",
        ),
    },
    bad=INGRESS_HEAD + INGRESS_RULES,
    good=INGRESS_HEAD + "  tls: [{hosts: [llm.example.com], secretName: llm-tls}]\n" + INGRESS_RULES,
)

RULES = (INGRESS_TLS,)
