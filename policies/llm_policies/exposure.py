"""Rules about engines that are reached from outside the cluster.

Only what leads to an engine itself is judged: what a gateway of one's own in between asks for is not to be seen in its
objects.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from llm_policies.containers import Container
from llm_policies.examples import INGRESS_HEAD, INGRESS_RULES
from llm_policies.kinds import EDGES, WAYS_IN, edges
from llm_policies.labels import may_be_in, untold
from llm_policies.middlewares import Middlewares
from llm_policies.objects import Object, Stack
from llm_policies.paths import is_below
from llm_policies.reach import Network, services
from llm_policies.routes import LOCAL_HOSTS, Route, is_local, routes
from llm_policies.rule import Context, Rule, Said, Setting
from llm_policies.values import Doubt, Value, hidden

_KEYS: dict[str | None, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "vllm": (("VLLM_API_KEY",), ("--api-key",)),
    "sglang": ((), ("--api-key",)),
    "llamacpp": (("LLAMA_API_KEY",), ("--api-key", "--api-key-file")),
    "tgi": (("API_KEY",), ("--api-key",)),
}
"""Variables and options that make an engine ask for a key; Ollama has none."""


_REFERENCES = {"Secret": ("secretKeyRef", "secretRef"), "ConfigMap": ("configMapKeyRef", "configMapRef")}
"""What variables come from: how one of them names it, and how all of them do."""


def _asks_for_key(engine: Container, workload: Object, stack: Stack) -> bool:
    """Whether the engine itself asks for a key under its public API; an empty one is none.

    Raises:
        Doubt: nothing that is known says so, and something that may say so is not known.
    """
    variables, options = _KEYS.get(engine.engine, ((), ()))
    checks: list[Callable[[], bool]] = [
        *((lambda option=option: bool(engine.option(option))) for option in options),
        *((lambda name=name: _is_set(name, engine, workload, stack)) for name in variables),
    ]
    answers: list[bool] = []
    doubts: list[Doubt] = []
    for check in checks:
        try:
            answers.append(check())
        except Doubt as doubt:
            doubts.append(doubt)
    if doubts and not any(answers):
        raise doubts[0]
    return any(answers)


def _is_set(name: str, engine: Container, workload: Object, stack: Stack) -> bool:
    """Whether a variable is sure to be set to something: on the command line, or by the last of the name, env first."""
    if name in engine.assigned:
        return bool(engine.assigned[name])
    entries = engine.value.get("env").items()
    if own := [entry for entry in entries if entry.get("name").raw == name]:
        return _has_value(own[-1], workload, stack)
    is_set = False
    for source in engine.value.get("envFrom").items():
        prefix = source.get("prefix").text() or ""
        for kind, (_, key) in _REFERENCES.items():
            if name.startswith(prefix):
                named = source.get(key, "name").text()
                is_set = _of_stack(kind, named, name.removeprefix(prefix), workload, stack, otherwise=is_set)
    if not is_set:
        for entry in entries:
            entry.get("name").text()  # one that is not known yet may be it
    return is_set


def _has_value(entry: Value, workload: Object, stack: Stack) -> bool:
    value = hidden(entry.get("value"))
    for kind, (key, _) in _REFERENCES.items():
        reference = entry.get("valueFrom", key)
        if reference.raw is not None:
            # Raw: what is not known yet is no less a reference.
            name, of_key = reference.get("name").raw, reference.get("key").raw
            otherwise = reference.get("optional").boolean() is not True
            return _of_stack(kind, name, of_key, workload, stack, otherwise=otherwise)
    return value.is_unknown or bool(value.text())


def _of_stack(kind: str, name: str | None, key: str, workload: Object, stack: Stack, *, otherwise: bool) -> bool:
    """Whether `key` of a Secret or ConfigMap of the stack is something, wherever it is written; the last one counts.

    Args:
        kind: `Secret` or `ConfigMap`.
        name: its name.
        key: one of its `data` or `stringData`.
        workload: what refers to it, and is in its namespace.
        stack: all objects.
        otherwise: the answer where none of the stack has the key.

    Raises:
        Doubt: it depends on one that may be in another namespace.
    """
    is_set = otherwise
    unsure: list[tuple[bool, Doubt]] = []
    for item in stack.of(kind):
        if item.name == name and may_be_in(item, workload.namespace):
            doubt = untold(item, "namespace")
            for value in (hidden(item.properties.get(part, key)) for part in ("data", "stringData")):
                if value.raw is not None:
                    found = value.is_unknown or bool(value.text())
                    if doubt is None:
                        is_set = found
                    else:
                        unsure.append((found, doubt))
    for found, doubt in unsure:
        if found is not is_set:
            raise doubt
    return is_set


def _public(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    local: list[str] = context.settings["localHosts"]
    network, middlewares = Network(stack), Middlewares(stack)
    for edge in edges(stack, *WAYS_IN):
        for found in routes(edge):
            if isinstance(found, Doubt):
                yield edge, found
                continue
            try:
                if is_local(found.host, local):
                    continue
                engines, doubts = network.reached(*found.backends)
                yield from ((edge, doubt) for doubt in doubts)
                if engines and not middlewares.asks(found, context.settings["authMiddlewares"]):
                    yield from ((edge, said) for said in _open(found.shown, engines, stack))
            except Doubt as doubt:
                yield edge, doubt
    for service in services(stack):
        try:
            if _is_outside(service):
                engines, doubts = network.reached(service)
                yield from ((service, doubt) for doubt in doubts)
                yield from ((service, said) for said in _open(f"Service {service.name}", engines, stack))
        except Doubt as doubt:
            yield service, doubt


def _open(where: str, engines: list[tuple[Object, Container]], stack: Stack) -> Iterator[Said]:
    """What is to be said of each engine that asks for no key."""
    for workload, engine in engines:
        try:
            if not _asks_for_key(engine, workload, stack):
                yield f"'{where}' exposes {workload.name} to anyone who reaches it. {_repair(engine, workload, stack)}."
        except Doubt as doubt:
            yield doubt


def _repair(engine: Container, workload: Object, stack: Stack) -> str:
    if engine.engine == "ollama":
        return "Ollama has no keys: put a gateway before it that asks for one"
    variables, options = _KEYS[engine.engine]
    for source in engine.value.get("envFrom").items():
        name = source.get("secretRef", "name").text()
        if variables and name is not None and not _is_there(name, workload, stack):
            return f"If the Secret '{name}' has {variables[0]}, name that one under env, so that it is seen"
    wanted = variables[0] if variables else options[0]
    return f"Give {engine.name} a key from a Secret ({wanted}), or put an authentication before it"


def _is_there(secret: str, workload: Object, stack: Stack) -> bool:
    return any((item.namespace, item.name) == (workload.namespace, secret) for item in stack.of("Secret"))


def _is_outside(service: Object) -> bool:
    """Whether a Service has an address outside the cluster."""
    spec = service.properties.get("spec")
    return spec.get("type").text() in ("LoadBalancer", "NodePort") or bool(spec.get("externalIPs").items())


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
_INGRESS = f"---\n{INGRESS_HEAD}{INGRESS_RULES}"
_KEY = "        env: [{name: VLLM_API_KEY, valueFrom: {secretKeyRef: {name: api, key: key}}}]\n"

PUBLIC_API_NO_KEY = Rule(
    name="public-api-no-key",
    title="Nobody uses a model without a key.",
    description=(
        "An Ingress, a route, a LoadBalancer or a NodePort brings an engine to whoever reaches the cluster. Engines "
        "ask for no key unless told to, and Ollama never does. What asks before them counts: ingress-nginx's "
        "auth-url, auth-type and auth-tls-secret where the class may be nginx; Traefik's basicAuth, digestAuth, "
        "forwardAuth and plugins whose name says so; SecurityPolicy and AuthPolicy on an HTTPRoute, on its rule, or "
        "on all that it is attached to. Of SecurityPolicies without mergeType the innermost one counts alone, as "
        "Envoy Gateway has it: one for CORS at the route takes away what the Gateway asks for. A key that is seen to "
        "be empty, in a Secret among the objects too, is none. Where the route leads to something else than an "
        "engine, such as a gateway of one's own, nothing is said: whom that lets in is not to be seen in its objects."
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
            if is_local(found.host, local):
                continue
            try:
                engines, doubts = network.reached(*found.backends)
                yield from ((edge, doubt) for doubt in doubts)
                if any(engine.engine == "vllm" for _, engine in engines) and not _is_public(
                    found, middlewares, context
                ):
                    yield (
                        edge,
                        f"'{found.shown}' also exposes /invocations (full inference), /tokenize, /metrics "
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
        "The key of vLLM protects /v1, /v2, /inference and /cohere. Routed at '/', /invocations is full inference "
        "without a key, and /metrics tells what is asked. What counts is the path that vLLM sees: an edge that takes "
        "/chat away before it passes a request on opens everything again (rewrite-target, stripPrefix, URLRewrite)."
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
