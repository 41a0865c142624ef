"""Rules about answers that take long, and come word by word."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from fractions import Fraction

from llm_policies.ingress_classes import class_of, controller_of, may_be
from llm_policies.kinds import EDGES, edges, is_a
from llm_policies.middlewares import Middlewares
from llm_policies.objects import Object, Stack
from llm_policies.paths import normalised
from llm_policies.reach import Network
from llm_policies.routes import Route, annotation, routes
from llm_policies.rule import Context, Edit, Rule, Said, Setting
from llm_policies.values import Doubt, Value

_INGRESS_NGINX = "nginx.ingress.kubernetes.io/"
_F5_NGINX = "nginx.org/"
_CONTROLLERS = {"k8s.io/ingress-nginx": _INGRESS_NGINX, "nginx.org/ingress-controller": _F5_NGINX}
_SWITCH = {_INGRESS_NGINX: ("on", "off"), _F5_NGINX: ("true", "false")}
_MODEL_PATHS = ("/v1", "/api/generate", "/api/chat", "/api/embed", "/completion")
_OLLAMA_PORT = 11434

_SERVICES = Setting(
    default=["*llm*", "*llama*", "*tgi*", "*sglang*", "*inference*"],
    description="Services that models are behind, by patterns of their names: what of a stack leads to an engine is "
    "found by itself, what leads to a gateway before it is not.",
)

_DURATION = re.compile(r"(?:[0-9]{1,9}(?:\.[0-9]{1,9})?(?:ms|s|m|h))+", re.ASCII)
_PARTS = re.compile(r"([0-9.]+)(ms|s|m|h)")
_SECONDS = {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60), "h": Fraction(3600)}


def _is_for_models(route: Route, context: Context) -> bool:
    """Whether a route is a model's, by what is to be seen of itself: its path, and names and ports of Services."""
    patterns: list[str] = context.settings["services"]
    for start in route.starts:
        if any(f"{path}/" in f"{normalised(start)}/" for path in _MODEL_PATHS):
            return True
    return any(
        backend.port == _OLLAMA_PORT or any(fnmatchcase(backend.name, pattern) for pattern in patterns)
        for backend in route.backends
    )


_Judge = Callable[[Route, tuple[str, ...]], Iterator[Said]]
"""Of a route, and of the beginnings of the annotations by which its edge speaks to an nginx."""


def _of_object(item: Object, context: Context, judge: _Judge) -> Iterator[Said]:
    """What `judge` says of the routes that are seen to be a model's."""
    for found in routes(item):
        if isinstance(found, Doubt):
            yield found
        elif _is_for_models(found, context):
            yield from judge(found, _nginx(item))


def _of_stack(stack: Stack, context: Context, judge: _Judge) -> Iterator[tuple[Object, Said]]:
    """What `judge` says of the routes that only the whole stack shows to be a model's, or to come through an nginx."""
    network = Network(stack)
    for item in edges(stack, *EDGES):
        for found in routes(item):
            if isinstance(found, Doubt):
                continue  # told for the object already
            try:
                if _is_for_models(found, context):
                    is_shown = _nginx_of_stack(item, stack) != _nginx(item)
                else:
                    engines, doubts = network.reached(*found.backends)
                    yield from ((item, doubt) for doubt in doubts)
                    is_shown = bool(engines)
                if is_shown:
                    yield from ((item, said) for said in judge(found, _nginx_of_stack(item, stack)))
            except Doubt as doubt:
                yield item, doubt


def _nginx(edge: Object) -> tuple[str, ...]:
    """The beginning of the annotations by which an Ingress speaks to its nginx; none where it shows none itself."""
    if edge.kind != "Ingress":
        return ()
    if _speaks(edge, _F5_NGINX):
        return (_F5_NGINX,)
    name = class_of(edge).lower()
    return (_INGRESS_NGINX,) if "nginx" in name or (not name and _speaks(edge, _INGRESS_NGINX)) else ()


def _nginx_of_stack(edge: Object, stack: Stack) -> tuple[str, ...]:
    """The same; of a class whose name does not tell, by what the class says, or else by the annotations."""
    own = _nginx(edge)
    if own or edge.kind != "Ingress":
        return own
    controller = controller_of(edge, stack)
    if controller is not None:
        return tuple(prefix for name, prefix in _CONTROLLERS.items() if controller == name)
    return (_INGRESS_NGINX,) if _speaks(edge, _INGRESS_NGINX) and may_be(edge, "nginx", stack) else ()


def _speaks(edge: Object, prefix: str) -> bool:
    return any(key.startswith(prefix) for key, _ in edge.properties.get("metadata", "annotations").pairs())


def seconds(value: Value) -> Fraction | None:
    """A duration as Go writes it, e.g. `1m30s`, or a number of seconds; None of nothing.

    Raises:
        Doubt: it is neither.
    """
    if not isinstance(value.raw, str):
        whole = value.integer()
        return None if whole is None else Fraction(whole)
    return _duration(value, value.text())


def _duration(value: Value, text: str | None) -> Fraction:
    if re.fullmatch(r"[0-9]{1,9}", str(text), re.ASCII):
        return Fraction(str(text))
    if _DURATION.fullmatch(str(text)) is None:
        raise value.malformed("a duration such as 120s")
    return sum((Fraction(number) * _SECONDS[unit] for number, unit in _PARTS.findall(str(text))), Fraction(0))


def _told(duration: Fraction) -> str:
    return f"{float(duration):g}s"


def _read_timeout(edge: Object, prefix: str, context: Context) -> tuple[Fraction, bool]:
    """Seconds without a word after which nginx gives up, and whether the Ingress says so itself."""
    value = annotation(edge, f"{prefix}proxy-read-timeout")
    text = value.text()
    if text is None:
        return Fraction(context.settings["defaultReadTimeoutSeconds"]), False
    if prefix == _INGRESS_NGINX and not text.isdecimal():
        # The controller takes no unit, and ignores what it does not take.
        raise value.malformed("a whole number of seconds")
    return _duration(value, text), True


def _cuts(route: Route, nginx: tuple[str, ...], context: Context) -> Iterator[Said]:
    needed = Fraction(context.settings["requestTimeoutSeconds"])
    for prefix in nginx:
        given, said = _read_timeout(route.edge, prefix, context)
        if given < needed:
            shown = _told(given) if said else f"{_told(given)} (the controller's default)"
            yield (
                f"read timeout {shown} < request {_told(needed)}: long prompts get 504. Set the annotation "
                f"{prefix}proxy-read-timeout to '{_timeout(prefix, needed)}' or more."
            )
    for key in ("request", "backendRequest"):
        value = route.timeouts.get(key)
        limit = seconds(value)
        # 0 is no limit.
        if limit and limit < needed:
            yield (
                f"{value.path} {_told(limit)} < request {_told(needed)}: long prompts get 504. Set it to "
                f"{_told(needed)} or more, or to 0s."
            )


def _timeout(prefix: str, needed: Fraction) -> str:
    return f"{int(needed)}" if prefix == _INGRESS_NGINX else f"{int(needed)}s"


def _times_out(item: Object, context: Context) -> Iterator[Said]:
    if is_a(item, "ServersTransport"):
        value = item.properties.get("spec", "forwardingTimeouts", "responseHeaderTimeout")
        needed, limit = Fraction(context.settings["requestTimeoutSeconds"]), seconds(value)
        # Traefik's default is 0, which is no limit.
        if limit and limit < needed:
            yield (
                f"{value.path} {_told(limit)} < request {_told(needed)}: an answer that is not streamed has its header "
                f"at its end, and gets 504. Set it to {_told(needed)} or more, or to 0s."
            )
    elif is_a(item, item.kind):
        yield from _of_object(item, context, lambda route, nginx: _cuts(route, nginx, context))


def _longer(item: Object, context: Context) -> Iterator[Edit]:
    for prefix in _nginx(item):
        needed = Fraction(context.settings["requestTimeoutSeconds"])
        yield Edit(("metadata", "annotations", f"{prefix}proxy-read-timeout"), _timeout(prefix, needed))


_INGRESS = """\
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: edge
  annotations: {ANNOTATION}
spec:
  ingressClassName: nginx
  rules:
  - host: llm.example.com
    http:
      paths: [{path: /v1, pathType: Prefix, backend: {service: {name: chat, port: {number: 8000}}}}]
"""

INGRESS_TIMEOUT = Rule(
    name="ingress-timeout",
    title="The edge waits as long as a model may think.",
    description=(
        "An nginx gives up after 60 s without a word, and a long prompt takes longer before its first one. Traefik "
        "does not, unless a ServersTransport says so; of the Gateway API what a route says itself is looked at. A "
        "class is nginx's by its name, by the controller of its IngressClass, or by the annotations of an Ingress. Not "
        "read: an nginx's ConfigMap (say what it has in defaultReadTimeoutSeconds), Traefik's arguments and files, and "
        "what the controller does of an Ingress without a class."
    ),
    remediation="Set nginx.ingress.kubernetes.io/proxy-read-timeout, without a unit, to the longest request.",
    severity="error",
    references=("ingress-nginx proxy-read-timeout", "gateway.networking.k8s.io HTTPRouteTimeouts"),
    of_object=_times_out,
    of_stack=lambda stack, context: _of_stack(stack, context, lambda route, nginx: _cuts(route, nginx, context)),
    kinds=frozenset({*EDGES, "ServersTransport"}),
    settings={
        "requestTimeoutSeconds": Setting(default=120, description="Seconds that the longest request may take."),
        "defaultReadTimeoutSeconds": Setting(
            default=60, description="Seconds that the nginx waits for which an Ingress says nothing."
        ),
        "services": _SERVICES,
    },
    remediate=_longer,
    bad=_INGRESS.replace("ANNOTATION", 'nginx.ingress.kubernetes.io/proxy-read-timeout: "60"'),
    good=_INGRESS.replace("ANNOTATION", 'nginx.ingress.kubernetes.io/proxy-read-timeout: "600"'),
)


def _buffers(route: Route, nginx: tuple[str, ...]) -> Iterator[Said]:
    for prefix in nginx:
        value = annotation(route.edge, f"{prefix}proxy-buffering")
        text = value.text()
        on, off = _SWITCH[prefix]
        # What is not said is off with ingress-nginx, and on with F5's.
        word = text.lower() if text is not None else (off if prefix == _INGRESS_NGINX else on)
        if word == on:
            shown = "on" if text is not None else "on where nothing is said"
            yield (
                f"{prefix}proxy-buffering is {shown}: buffering holds the token stream back. Set the annotation to "
                f"'{off}'."
            )
        elif word != off:
            raise value.malformed(f"{on} or {off}")


def _holds_back(item: Object, context: Context) -> Iterator[Said]:
    yield from _of_object(item, context, _buffers)


def _holds_back_together(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    yield from _of_stack(stack, context, _buffers)
    network, middlewares = Network(stack), Middlewares(stack)
    for item in edges(stack, *EDGES):
        for found in routes(item):
            if isinstance(found, Doubt):
                continue  # told of the object alone
            try:
                names = [name for name, spec in middlewares.of(found) if spec is not None and _is_buffer(spec)]
                if names and (_is_for_models(found, context) or network.reached(*found.backends)[0]):
                    yield (
                        item,
                        f"'{found.shown}' goes through the middleware '{names[0]}', which collects a whole "
                        "answer before it passes any of it on: buffering holds the token stream back. Take it away.",
                    )
            except Doubt as doubt:
                yield item, doubt


def _is_buffer(spec: Value) -> bool:
    # Whatever it is there for, e.g. the size of requests: it collects answers too.
    return spec.get("buffering").raw is not None


def _unbuffered(item: Object, _: Context) -> Iterator[Edit]:
    for prefix in _nginx(item):
        yield Edit(("metadata", "annotations", f"{prefix}proxy-buffering"), _SWITCH[prefix][1])


INGRESS_BUFFERING = Rule(
    name="ingress-buffering",
    title="The edge passes on each word as it comes.",
    description=(
        "An edge that collects answers shows nothing for a minute, and then all at once; clients take the silence for "
        "an outage. ingress-nginx buffers where it is told to, F5's nginx unless it is told not to, Traefik with the "
        "buffering middleware, also where that is meant to limit requests. ConfigMaps and snippets are not read."
    ),
    remediation="Set nginx.ingress.kubernetes.io/proxy-buffering to off; take the buffering middleware off the route.",
    severity="error",
    references=("ingress-nginx proxy-buffering", "Traefik buffering middleware"),
    of_object=_holds_back,
    of_stack=_holds_back_together,
    kinds=frozenset(EDGES),
    settings={"services": _SERVICES},
    remediate=_unbuffered,
    bad=_INGRESS.replace("ANNOTATION", 'nginx.ingress.kubernetes.io/proxy-buffering: "on"'),
    good=_INGRESS.replace("ANNOTATION", 'nginx.ingress.kubernetes.io/proxy-buffering: "off"'),
)

RULES = (INGRESS_TIMEOUT, INGRESS_BUFFERING)
