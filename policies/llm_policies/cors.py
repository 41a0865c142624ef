"""Rules about which web pages may call an engine that is reached from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_policies.containers import Container
from llm_policies.image_names import tag
from llm_policies.kinds import EDGES, edges
from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.reach import Network, services
from llm_policies.routes import Backend, routes
from llm_policies.rule import Context, Rule, Said
from llm_policies.values import Doubt

_RELEASE = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.\d{1,4})?(?:[.+-].*)?")
_CLOSED_SINCE = (0, 33)
"""vLLM 0.16 lets every origin in unless told otherwise, 0.33 none; what is between is not known for each."""

_ORIGINS = re.compile(r"--allowed[-_]origins[= ]([^;&|\n]*?)(?= --|$|[;&|\n])")
"""What vLLM is given, a list in JSON that a shell's text may have with blanks."""

_STAR = re.compile(r"(?:^|[\s\[,'\"])\*(?:$|[\s\],'\"])")
"""An origin that is `*` alone, as vLLM's server matches it: not `https://*.example.com`."""

_EVERY = re.compile(r"[\s'\"]*(https?://)?\*[\s'\"]*")
"""An origin by which Ollama lets every page in; `app://*` is that of programs on the desk."""


def _any_origin(container: Container) -> str | None:
    """Why any web page may call the engine; None where it is not so."""
    if container.engine == "vllm":
        return _any_of_vllm(container)
    return _any_of_ollama(container) if container.engine == "ollama" else None


def _any_of_vllm(container: Container) -> str | None:
    given = _ORIGINS.findall(" ".join(container.words))
    if given:
        return "--allowed-origins has '*'" if _STAR.search(given[-1]) else None
    release = _RELEASE.fullmatch(tag(container.image))
    if release is None or (int(release[1]), int(release[2])) >= _CLOSED_SINCE:
        return None
    return "--allowed-origins is not given, and before 0.33 that may be '*'"


def _any_of_ollama(container: Container) -> str | None:
    variable = container.variable("OLLAMA_ORIGINS")
    origins = variable.text() if variable is not None else None
    return "OLLAMA_ORIGINS has '*'" if origins and any(map(_EVERY.fullmatch, origins.split(","))) else None


def _public(stack: Stack) -> Iterator[tuple[Object, str, Backend | Object | Doubt]]:
    """What leads in from outside: the object, how it is called from there, and to which Service."""
    for edge in edges(stack, *EDGES):
        for found in routes(edge):
            if isinstance(found, Doubt):
                yield edge, "", found
            else:
                yield from ((edge, found.shown, backend) for backend in found.backends)
    for service in services(stack):
        try:
            outside = service.properties.get("spec", "type").text() in ("LoadBalancer", "NodePort")
        except Doubt as doubt:
            yield service, "", doubt
        else:
            if outside:
                yield service, f"Service {service.name}", service


def _any_page(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    told: set[int] = set()
    network = Network(stack)
    for item, where, way in _public(stack):
        try:
            engines = [] if isinstance(way, Doubt) else network.engines(way)
        except Doubt as doubt:
            way, engines = doubt, []
        if isinstance(way, Doubt):
            yield item, way
        for workload, engine in engines:
            try:
                why = _any_origin(engine)
            except Doubt as doubt:
                yield workload, doubt
                continue
            if why is not None and id(engine) not in told:
                told.add(id(engine))  # one way in is enough to say so
                yield (
                    workload,
                    f"{engine.name}: any web page can call this API by '{where}' from the browser of whoever opens it, "
                    f"since {why}. Name the origins that may.",
                )


_SERVER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    metadata: {labels: {app: chat}}
    spec:
      containers:
      - name: ollama
        image: docker.io/ollama/ollama:0.32.15
        env: [{name: OLLAMA_ORIGINS, value: ORIGINS}]
---
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {selector: {app: chat}, ports: [{port: 11434}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: edge}
spec:
  rules:
  - host: llm.example.com
    http:
      paths: [{path: /, pathType: Prefix, backend: {service: {name: chat, port: {number: 11434}}}}]
"""

CORS_ANY = Rule(
    name="cors-any",
    title="Only known web pages call a public API.",
    description=(
        "A browser asks the API whether a page of another origin may read its answers. Where any may, each page that "
        "somebody opens can use the API from there: with their cookies, and past a firewall that lets them through. A "
        "server without a key on one's own machine is no exception: the browser is on it. Of vLLM's image the default "
        "of its release counts; of a tag that is no release nothing is assumed."
    ),
    remediation=(
        "Name the origins: --allowed-origins '[\"https://chat.example.com\"]' for vLLM, OLLAMA_ORIGINS for Ollama. No "
        "origin at all is right where no web page calls."
    ),
    severity="warn",
    references=("vLLM docs/usage/security.md", "ollama envconfig/config.go"),
    of_stack=_any_page,
    kinds=POD_BEARING,
    bad=_SERVER.replace("ORIGINS}", "'*'}"),
    good=_SERVER.replace("ORIGINS}", "'https://chat.example.com'}"),
)

RULES = (CORS_ANY,)
