"""Rules about engines that are reached from outside the cluster.

Only what leads to an engine itself is judged: what a gateway of one's own in between asks for is not to be seen in its
objects.
"""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import Object, Stack
from llm_policies.pods import Container
from llm_policies.routes import EDGES, Backend, Route, engines_behind, normalised, routes
from llm_policies.rule import Context, Rule, Said, Setting
from llm_policies.values import Doubt

_AUTH_ANNOTATIONS = (
    "nginx.ingress.kubernetes.io/auth-url",
    "nginx.ingress.kubernetes.io/auth-type",
    "nginx.ingress.kubernetes.io/auth-tls-secret",
)
_TRAEFIK_MIDDLEWARES = "traefik.ingress.kubernetes.io/router.middlewares"
_AUTH_MIDDLEWARES = ("basicAuth", "digestAuth", "forwardAuth", "plugin")
"""Middlewares of Traefik that ask who is there; what a plugin does is its name's own affair."""

_OPEN_PATHS = {
    "vllm": "/invocations (full inference), /tokenize, /metrics",
    "tgi": "/generate and /invocations (full inference), /metrics",
    "llamacpp": "/completion (full inference), /props, /metrics",
    "ollama": "/api/delete, /api/pull and the rest of /api",
}


def _asks_for_key(container: Container) -> bool:
    """Whether the engine itself asks for a key under its public API."""
    if container.engine == "vllm":
        for entry in container.value.get("env").items():
            if entry.get("name").raw == "VLLM_API_KEY":
                return True
        return container.has_flag("--api-key")
    if container.engine == "llamacpp":
        named = any(entry.get("name").raw == "LLAMA_API_KEY" for entry in container.value.get("env").items())
        return named or container.has_flag("--api-key", "--api-key-file")
    if container.engine == "tgi":
        return container.has_flag("--api-key") or container.variable("API_KEY") is not None
    return False


def _edge_asks(edge: Object, route: Route, stack: Stack) -> bool:
    """Whether the edge asks who is there, before it passes a request on."""
    annotations = edge.annotations
    if any(key in annotations for key in _AUTH_ANNOTATIONS):
        return True
    names = set(route.middlewares)
    for named in annotations.get(_TRAEFIK_MIDDLEWARES, "").split(","):
        # namespace-name@kubernetescrd
        names.add(named.strip().partition("@")[0])
    for middleware in stack.of("Middleware"):
        own = {f"{middleware.namespace}/{middleware.name}", f"{middleware.namespace}-{middleware.name}"}
        spec = middleware.properties.get("spec")
        if own & names and any(spec.get(kind).exists for kind in _AUTH_MIDDLEWARES):
            return True
    return False


def _public(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    local: list[str] = context.settings["localHosts"]
    for edge in stack.of(*EDGES):
        for found in routes(edge):
            if isinstance(found, Doubt):
                yield edge, found
            elif found.backend is not None and found.host not in local:
                try:
                    for workload, engine in engines_behind(found.backend, stack):
                        if not _asks_for_key(engine) and not _edge_asks(edge, found, stack):
                            yield edge, _exposed(f"{found.host}{found.path}", workload, engine)
                except Doubt as doubt:
                    yield edge, doubt
    for service in stack.of("Service"):
        try:
            if service.properties.get("spec", "type").text() in ("LoadBalancer", "NodePort"):
                backend = Backend(namespace=service.namespace, name=service.name, port=None)
                for workload, engine in engines_behind(backend, stack):
                    if not _asks_for_key(engine):
                        yield service, _exposed(f"Service {service.name}", workload, engine)
        except Doubt as doubt:
            yield service, doubt


def _exposed(where: str, workload: Object, engine: Container) -> str:
    repair = (
        "Ollama has no keys: put a gateway before it that asks for one"
        if engine.engine == "ollama"
        else "Give the server a key from a Secret, or put an authentication before it"
    )
    return f"'{where}' exposes {workload.name} to anyone who reaches it. {repair}."


_SERVER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    metadata: {labels: {app: chat}}
    spec:
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.33.0
"""
_SERVICE = """\
---
apiVersion: v1
kind: Service
metadata: {name: chat}
spec: {selector: {app: chat}, ports: [{port: 8000}]}
"""
_INGRESS = """\
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: edge}
spec:
  rules:
  - host: llm.example.com
    http:
      paths: [{path: /v1, pathType: Prefix, backend: {service: {name: chat, port: {number: 8000}}}}]
"""
_KEY = "        env: [{name: VLLM_API_KEY, valueFrom: {secretKeyRef: {name: api, key: key}}}]\n"

PUBLIC_API_NO_KEY = Rule(
    name="public-api-no-key",
    title="Nobody uses a model without a key.",
    description=(
        "An Ingress, a LoadBalancer or a NodePort brings an engine to whoever reaches the cluster. Engines ask for no "
        "key unless told to, and Ollama never does."
    ),
    remediation="Set VLLM_API_KEY from a Secret, or let the edge ask (auth-url, forwardAuth, a gateway of your own).",
    severity="error",
    references=("kubescape C-0274", "vLLM docs/usage/security.md"),
    of_stack=_public,
    kinds=frozenset({*EDGES, "Service"}),
    settings={"localHosts": Setting(default=["localhost"], description="Hosts that never leave the machine.")},
    bad=_SERVER + _SERVICE + _INGRESS,
    good=_SERVER + _KEY + _SERVICE + _INGRESS,
)


def _bypass(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    for edge in stack.of(*EDGES):
        for found in routes(edge):
            if isinstance(found, Doubt):
                yield edge, found
            elif found.backend is not None and not _is_public_path(found):
                try:
                    engines = engines_behind(found.backend, stack)
                except Doubt as doubt:
                    yield edge, doubt
                    continue
                for _workload, engine in engines:
                    yield (
                        edge,
                        f"'{found.host}{found.path}' also exposes {_OPEN_PATHS[engine.engine or 'vllm']}, which no key "
                        "protects; route /v1 only.",
                    )


def _is_public_path(route: Route) -> bool:
    path = normalised(route.path)
    return path == "/v1" or path.startswith("/v1/")


PUBLIC_PATH_BYPASS = Rule(
    name="public-path-bypass",
    title="The edge routes the public API alone.",
    description=(
        "vLLM's key protects /v1, /v2, /inference and /cohere. Routed at '/', /invocations is full inference without a "
        "key, and /metrics tells what is asked."
    ),
    remediation="Route /v1, and nothing else of the engine.",
    severity="error",
    references=("vLLM docs/usage/security.md",),
    of_stack=_bypass,
    kinds=frozenset(EDGES),
    bad=_SERVER + _KEY + _SERVICE + _INGRESS.replace("path: /v1,", "path: /,"),
    good=_SERVER + _KEY + _SERVICE + _INGRESS,
)

RULES = (PUBLIC_API_NO_KEY, PUBLIC_PATH_BYPASS)
