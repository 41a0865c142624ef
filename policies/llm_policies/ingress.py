"""Rules about the hosts and paths of the edge."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import Object, Stack
from llm_policies.routes import EDGES, Route, normalised, routes
from llm_policies.rule import Context, Rule, Said, Setting
from llm_policies.values import Doubt

_INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: edge}
spec:
"""
_RULES = """\
  rules:
  - host: llm.example.com
    http:
      paths: [{path: /v1, pathType: Prefix, backend: {service: {name: chat, port: {number: 8000}}}}]
"""


def _covered(item: Object) -> set[str] | None:
    """Hosts of its certificates; None where a certificate is for all of them."""
    spec = item.properties.get("spec")
    if item.kind == "IngressRoute":
        return None if spec.get("tls").exists else set()
    entries = spec.get("tls").items()
    named = {host.text() or "" for entry in entries for host in entry.get("hosts").items()}
    return None if entries and not named else named


def _tls(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    local: list[str] = context.settings["localHosts"]
    for item in stack.of("Ingress", "IngressRoute", "HTTPRoute"):
        try:
            covered = _of_gateways(item, stack) if item.kind == "HTTPRoute" else _covered(item)
            hosts = {found.host for found in routes(item) if isinstance(found, Route)}
            yield from ((item, found) for found in routes(item) if isinstance(found, Doubt))
            for host in sorted(hosts):
                if covered is not None and not _is_covered(host, covered) and host not in local:
                    shown = f"host '{host}'" if host else "every host"
                    yield (
                        item,
                        f"{shown} is served without TLS; API keys and prompts travel in clear. Name it under tls, with "
                        "a Secret that has its certificate.",
                    )
        except Doubt as doubt:
            yield item, doubt


def _is_covered(host: str, covered: set[str]) -> bool:
    return host in covered or f"*.{host.partition('.')[2]}" in covered


def _of_gateways(item: Object, stack: Stack) -> set[str] | None:
    """As `_covered`, of the Gateways that an HTTPRoute is attached to; those of other stacks are taken to have it."""
    parents = item.properties.get("spec", "parentRefs").items()
    found: set[str] = set()
    for parent in parents:
        name = parent.get("name").text()
        namespace = parent.get("namespace").text() or item.namespace
        gateway = next((g for g in stack.of("Gateway") if (g.namespace, g.name) == (namespace, name)), None)
        if gateway is None:
            return None
        section = parent.get("sectionName").text()
        listeners = [
            listener
            for listener in gateway.properties.get("spec", "listeners").items()
            if section is None or listener.get("name").text() == section
        ]
        if any(listener.get("protocol").text() not in ("HTTPS", "TLS") for listener in listeners):
            return set()
        for listener in listeners:
            if (host := listener.get("hostname").text()) is None:
                return None
            found.add(host)
    return found


INGRESS_TLS = Rule(
    name="ingress-tls",
    title="Every host of the edge has TLS.",
    description=(
        "Without it API keys, prompts and answers cross the network readable, and who reads a key has it for good."
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
    settings={"localHosts": Setting(default=["localhost"], description="Hosts that never leave the machine.")},
    bad=_INGRESS + _RULES,
    good=_INGRESS + "  tls: [{hosts: [llm.example.com], secretName: llm-tls}]\n" + _RULES,
)


def _class_of(item: Object) -> str:
    written = item.properties.get("spec", "ingressClassName").text() if item.kind == "Ingress" else None
    return written or item.annotations.get("kubernetes.io/ingress.class", item.kind if item.kind != "Ingress" else "")


def _duplicates(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    first: dict[tuple[str, str, str, bool], Route] = {}
    for item in stack.of(*EDGES):
        try:
            of_class = _class_of(item)
            for found in routes(item):
                if isinstance(found, Doubt):
                    yield item, found
                    continue
                key = (of_class, found.host, normalised(found.path), found.exact)
                other = first.setdefault(key, found)
                if other is not found and other.backend != found.backend:
                    yield (
                        item,
                        f"'{found.host}{found.path}' is claimed by both '{_told(other)}' and '{_told(found)}', so "
                        "which one answers is chance. Give each a path of its own.",
                    )
        except Doubt as doubt:
            yield item, doubt


def _told(route: Route) -> str:
    return f"{route.edge.name} -> {route.backend.name if route.backend else 'nothing'}"


INGRESS_DUPLICATE = Rule(
    name="ingress-duplicate",
    title="One path leads to one model.",
    description="Of two routes with the same host and path one wins, by the order in which the controller read them.",
    remediation="Give each a path of its own; '/v1' and '/v1/' are the same.",
    severity="error",
    references=("kyverno unique-ingress-host-and-path", "gatekeeper uniqueingresshost"),
    of_stack=_duplicates,
    kinds=frozenset(EDGES),
    bad=_INGRESS
    + _RULES
    + "---\n"
    + _INGRESS.replace("edge", "other")
    + _RULES.replace("/v1", "/v1/").replace("name: chat", "name: fast"),
    good=_INGRESS
    + _RULES
    + "---\n"
    + _INGRESS.replace("edge", "other")
    + _RULES.replace("/v1", "/v1/fast").replace("name: chat", "name: fast"),
)

RULES = (INGRESS_TLS, INGRESS_DUPLICATE)
