"""Rules about engines that are reached from outside the cluster.

Only what leads to an engine itself is judged: what a gateway of one's own in between asks for is not to be seen in its
objects.
"""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.middlewares import Middlewares
from llm_policies.objects import Object, Stack
from llm_policies.paths import is_below
from llm_policies.pods import Container
from llm_policies.reach import Network, services
from llm_policies.routes import EDGES, LOCAL_HOSTS, WAYS_IN, Backend, Route, edges, is_local, routes
from llm_policies.rule import Context, Rule, Said, Setting
from llm_policies.values import Doubt, Undecided, Value

_KEYS = {
    "vllm": (("VLLM_API_KEY",), ("--api-key",)),
    "sglang": ((), ("--api-key",)),
    "llamacpp": (("LLAMA_API_KEY",), ("--api-key", "--api-key-file")),
    "tgi": (("API_KEY",), ("--api-key",)),
    "ollama": ((), ()),
}
"""Variables and options that make an engine ask for a key; Ollama has none."""


def _asks_for_key(engine: Container, stack: Stack, namespace: str) -> bool:
    """Whether the engine itself asks for a key under its public API; an empty one is none."""
    variables, options = _KEYS[engine.engine or "ollama"]
    if any(engine.option(option) for option in options):
        return True
    unknown: Value | None = None
    for entry in engine.value.get("env").items():
        name = entry.get("name")
        if name.is_unknown:
            unknown = name
        elif name.raw in variables:
            value = entry.get("value")
            reference = entry.get("valueFrom", "secretKeyRef")
            if value.is_unknown or value.raw:
                return True
            if reference.raw is not None and reference.get("optional").boolean() is not True:
                return True
    for source in engine.value.get("envFrom").items():
        if variables and _brings(source, variables, stack, namespace):
            return True
    if variables and unknown is not None:
        raise Undecided(unknown.path)
    return False


def _brings(source: Value, variables: tuple[str, ...], stack: Stack, namespace: str) -> bool:
    """Whether a Secret of the stack that becomes variables has one of `variables`; what is in others nobody knows."""
    name, prefix = source.get("secretRef", "name").text(), source.get("prefix").text() or ""
    for secret in stack.of("Secret"):
        if name is not None and (secret.namespace, secret.name) == (namespace, name):
            keys = {
                f"{prefix}{key}" for part in ("data", "stringData") for key, _ in secret.properties.get(part).pairs()
            }
            return not keys.isdisjoint(variables)
    return False


def _public(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    local: list[str] = context.settings["localHosts"]
    network, middlewares = Network(stack), Middlewares(stack)
    for edge in edges(stack, *WAYS_IN):
        for found in routes(edge):
            if isinstance(found, Doubt):
                yield edge, found
                continue
            if found.host and is_local(found.host, local):
                continue
            try:
                for backend in found.backends:
                    for workload, engine in _open(backend, network):
                        if not middlewares.asks(found, context.settings["authMiddlewares"]):
                            yield edge, _exposed(f"{found.host}{found.path}", workload, engine)
            except Doubt as doubt:
                yield edge, doubt
    for service in services(stack):
        try:
            if _is_outside(service):
                backend = Backend(namespace=service.namespace, name=service.name, port=None)
                for workload, engine in network.engines_of_ports(backend):
                    if not _asks_for_key(engine, stack, workload.namespace):
                        yield service, _exposed(f"Service {service.name}", workload, engine)
        except Doubt as doubt:
            yield service, doubt


def _open(backend: Backend, network: Network) -> Iterator[tuple[Object, Container]]:
    for workload, engine in network.engines(backend):
        if not _asks_for_key(engine, network.stack, workload.namespace):
            yield workload, engine


def _is_outside(service: Object) -> bool:
    """Whether a Service has an address outside the cluster."""
    spec = service.properties.get("spec")
    return spec.get("type").text() in ("LoadBalancer", "NodePort") or bool(spec.get("externalIPs").items())


def _exposed(where: str, workload: Object, engine: Container) -> str:
    repair = (
        "Ollama has no keys: put a gateway before it that asks for one"
        if engine.engine == "ollama"
        else f"Give {engine.name} a key from a Secret, or put an authentication before it"
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
        "An Ingress, a route, a LoadBalancer or a NodePort brings an engine to whoever reaches the cluster. Engines "
        "ask for no key unless told to, and Ollama never does. What asks before them counts: ingress-nginx's auth-url, "
        "auth-type and auth-tls-secret where the class may be nginx; Traefik's basicAuth, digestAuth, forwardAuth and "
        "plugins whose name says so; SecurityPolicy and AuthPolicy on an HTTPRoute or its Gateway. Where the route "
        "leads to something else than an engine, such as a gateway of one's own, nothing is said: whom that lets in is "
        "not to be seen in its objects."
    ),
    remediation="Set VLLM_API_KEY from a Secret, or let the edge ask (auth-url, forwardAuth, a gateway of your own).",
    severity="error",
    references=("kubescape C-0274", "vLLM docs/usage/security.md"),
    of_stack=_public,
    kinds=frozenset({*WAYS_IN, "Service"}),
    settings={
        "localHosts": LOCAL_HOSTS,
        "authMiddlewares": Setting(
            default=[],
            description="Middlewares of Traefik that ask who is there and are not in the stack, as routes name them: "
            "'namespace/name', or 'name@file'.",
        ),
    },
    bad=_SERVER + _SERVICE + _INGRESS,
    good=_SERVER + _KEY + _SERVICE + _INGRESS,
)


def _bypass(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    local: list[str] = context.settings["localHosts"]
    network, middlewares = Network(stack), Middlewares(stack)
    for edge in edges(stack, *EDGES):
        for found in routes(edge):
            if isinstance(found, Doubt):
                yield edge, found
                continue
            if found.host and is_local(found.host, local):
                continue
            try:
                engines = [engine for backend in found.backends for _, engine in network.engines(backend)]
                if any(engine.engine == "vllm" for engine in engines) and not _is_public(found, middlewares, context):
                    yield (
                        edge,
                        f"'{found.host}{found.path}' also exposes /invocations (full inference), /tokenize, /metrics "
                        "and /pause, which --api-key does not protect; route /v1 only.",
                    )
            except Doubt as doubt:
                yield edge, doubt


def _is_public(route: Route, middlewares: Middlewares, context: Context) -> bool:
    """Whether vLLM sees none but its public paths, or the edge asks for every path who is there."""
    public: list[str] = context.settings["publicPaths"]
    if all(any(is_below(seen, path) for path in public) for seen in middlewares.seen(route)):
        return True
    return middlewares.asks(route, context.settings["authMiddlewares"])


PUBLIC_PATH_BYPASS = Rule(
    name="public-path-bypass",
    title="The edge routes the public API alone.",
    description=(
        "vLLM's key protects /v1, /v2, /inference and /cohere. Routed at '/', /invocations is full inference without a "
        "key, and /metrics tells what is asked. What counts is the path that vLLM sees: an edge that takes /chat away "
        "before it passes a request on opens everything again (rewrite-target, stripPrefix, URLRewrite)."
    ),
    remediation="Route /v1, and nothing else of the engine.",
    severity="error",
    references=("vLLM docs/usage/security.md",),
    of_stack=_bypass,
    kinds=frozenset(EDGES),
    settings={
        "localHosts": LOCAL_HOSTS,
        "authMiddlewares": PUBLIC_API_NO_KEY.settings["authMiddlewares"],
        "publicPaths": Setting(
            default=["/v1", "/v2", "/inference", "/cohere", "/health"],
            description="Paths of vLLM that may be reached from outside, with all below them.",
        ),
    },
    bad=_SERVER + _KEY + _SERVICE + _INGRESS.replace("path: /v1,", "path: /,"),
    good=_SERVER + _KEY + _SERVICE + _INGRESS,
)

RULES = (PUBLIC_API_NO_KEY, PUBLIC_PATH_BYPASS)
