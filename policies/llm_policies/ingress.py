"""The rule about paths of the edge that several claim."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.examples import INGRESS_HEAD, INGRESS_RULES
from llm_policies.ingress_classes import is_default
from llm_policies.kinds import EDGES, edges
from llm_policies.objects import Object, Stack
from llm_policies.paths import normalised
from llm_policies.routes import Route, annotation, routes
from llm_policies.rule import Context, Rule, Said
from llm_policies.values import Doubt

_BY_ANNOTATION = "use-annotation"
"""The port of a backend that stands for an action in an annotation (AWS)."""

_Key = tuple[str, str, str, str, bool, frozenset[str]]


def _duplicates(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    first: dict[_Key, Route] = {}
    default = ""
    for item in stack.of("IngressClass"):
        try:
            default = item.name if is_default(item) else default
        except Doubt as doubt:
            yield item, doubt
    for item in edges(stack, *EDGES):
        try:
            if annotation(item, "nginx.ingress.kubernetes.io/canary").text() == "true":
                continue  # meant to stand beside the same path
            for found in routes(item):
                if isinstance(found, Doubt):
                    yield item, found
                else:
                    yield from _claimed(found, first, default)
        except Doubt as doubt:
            yield item, doubt


def _claimed(route: Route, first: dict[_Key, Route], default: str) -> Iterator[tuple[Object, Said]]:
    if any(backend.port == _BY_ANNOTATION for backend in route.backends):
        return
    path = route.path if route.exact else normalised(route.path)
    for place in route.places:
        key = (route.edge.kind, place or default, route.host, path, route.exact, route.conditions)
        other = first.setdefault(key, route)
        if other.edge is not route.edge or other.backends != route.backends:
            yield (
                route.edge,
                f"'{route.shown}' is claimed by both '{_told(other, route)}' and '{_told(route, other)}', "
                "so which one answers is chance. Give each a path of its own.",
            )


def _told(route: Route, other: Route) -> str:
    to = " and ".join(backend.name for backend in route.backends) or "nothing"
    where = "" if route.edge.namespace == other.edge.namespace else f"{route.edge.namespace}/"
    return f"{where}{route.edge.name} -> {to}"


INGRESS_DUPLICATE = Rule(
    name="ingress-duplicate",
    title="One path leads to one model.",
    description=(
        "Of two routes with the same host and path one wins, by the order in which the controller read them, or by "
        "which is older. Compared are those of one kind that come in at the same place: the class of an Ingress, the "
        "entry point and priority of an IngressRoute, the Gateway and listener of an HTTPRoute. An Ingress that is "
        "ingress-nginx's canary stands beside another on purpose."
    ),
    remediation="Give each a path of its own; '/v1' and '/v1/' are the same.",
    severity="error",
    references=("kyverno unique-ingress-host-and-path", "gatekeeper uniqueingresshost"),
    of_stack=_duplicates,
    kinds=frozenset({*EDGES, "IngressClass"}),
    bad=INGRESS_HEAD
    + INGRESS_RULES
    + "---\n"
    + INGRESS_HEAD.replace("edge", "other")
    + INGRESS_RULES.replace("/v1", "/v1/").replace("name: chat", "name: fast"),
    good=INGRESS_HEAD
    + INGRESS_RULES
    + "---\n"
    + INGRESS_HEAD.replace("edge", "other")
    + INGRESS_RULES.replace("/v1", "/v1/fast").replace("name: chat", "name: fast"),
)

RULES = (INGRESS_DUPLICATE,)
