"""What stands between an edge and a Service: Traefik's middlewares, filters, annotations."""

from __future__ import annotations

import re
from collections.abc import Iterator

from llm_policies import attached_policies
from llm_policies.ingress_classes import may_be
from llm_policies.kinds import edges
from llm_policies.objects import Object, Stack
from llm_policies.paths import is_below, normalised
from llm_policies.routes import Route, annotation
from llm_policies.values import Value

_ON_INGRESS = "traefik.ingress.kubernetes.io/router.middlewares"
_NGINX = "nginx.ingress.kubernetes.io/"
_DEEPEST = 10
"""Chains of middlewares in chains; more is a circle."""

_ASKING = ("basicAuth", "digestAuth", "forwardAuth")
_ASKING_PLUGINS = re.compile(
    r"(?i:auth|jwt|oidc|openid|hmac|ldap|saml|api-?key)|(?<![A-Za-z])(?:key|token)s?(?![a-z])|(?:Key|Token)s?(?![a-z])"
)
"""What names of plugins have that ask who is there (what they do is not to be seen): `key` as a word of its own."""

_ASKING_ANNOTATIONS = (
    f"{_NGINX}auth-url",
    f"{_NGINX}auth-type",
    f"{_NGINX}auth-tls-secret",
    "nginx.org/basic-auth-secret",
    "nginx.com/jwt-key",
    "haproxy.org/auth-type",
    "haproxy-ingress.github.io/auth-url",
    "alb.ingress.kubernetes.io/auth-type",
)
_ADDRESSES = ("whitelist-source-range", "allowlist-source-range")
_EVERY_ADDRESS = ("0.0.0.0/0", "::/0")
_LETS_IN = ("", "none", "off")


class Middlewares:
    """What stands on the ways of a stack."""

    def __init__(self, stack: Stack) -> None:
        """Find them by the names that routes give them."""
        self._stack = stack
        self._by_name: dict[str, Object] = {}
        for item in edges(stack, "Middleware"):
            for name in (f"{item.namespace}/{item.name}", f"{item.namespace}-{item.name}@kubernetescrd"):
                self._by_name[name] = item

    def asks(self, route: Route, elsewhere: list[str]) -> bool:
        """Whether somebody asks who is there, before a request is passed on.

        Args:
            route: of any edge.
            elsewhere: middlewares that ask, and are in no stack of Pulumi, as routes name them.
        """
        edge = route.edge
        if edge.kind == "Ingress" and self._ingress_asks(edge):
            return True
        for name, spec in self.of(route):
            if name in elsewhere or (spec is not None and _middleware_asks(spec)):
                return True
        if any(one.get("type").text() == "ExternalAuth" for one in route.filters):
            return True
        return edge.kind == "HTTPRoute" and attached_policies.asks(route, self._stack)

    def _ingress_asks(self, edge: Object) -> bool:
        for key in _ASKING_ANNOTATIONS:
            value = annotation(edge, key).text()
            # Traefik does not read nginx's annotations: there they ask nobody.
            vendor = "nginx" if key.startswith(("nginx.", _NGINX)) else key.partition(".")[0].partition("-")[0]
            if value is not None and value.strip() not in _LETS_IN and may_be(edge, vendor, self._stack):
                if key == f"{_NGINX}auth-tls-secret":
                    verified = annotation(edge, f"{_NGINX}auth-tls-verify-client").text()
                    if verified not in (None, "on"):
                        continue  # whoever has no certificate is let in too
                elif vendor == "nginx" and _is_address_enough(edge):
                    continue
                return True
        return False

    def of(self, route: Route) -> list[tuple[str, Value | None]]:
        """Traefik's middlewares of a route in their order, by name; without what they do where they are elsewhere."""
        names = [*route.middlewares]
        if route.edge.kind == "Ingress":
            written = annotation(route.edge, _ON_INGRESS).text() if may_be(route.edge, "traefik", self._stack) else None
            names += [name.strip() for name in (written or "").split(",") if name.strip()]
        for one in route.filters:
            if one.get("extensionRef", "kind").text() == "Middleware":
                names.append(f"{route.edge.namespace}/{one.get('extensionRef', 'name').text()}")
        return [found for name in names for found in self._unchained(name, 0)]

    def _unchained(self, name: str, depth: int) -> Iterator[tuple[str, Value | None]]:
        item = self._by_name.get(name)
        spec = None if item is None else item.properties.get("spec")
        yield name, spec
        if item is not None and spec is not None and depth < _DEEPEST:
            for inner in spec.get("chain", "middlewares").items():
                namespace = inner.get("namespace").text() or item.namespace
                yield from self._unchained(f"{namespace}/{inner.get('name').text()}", depth + 1)

    def seen(self, route: Route) -> tuple[str, ...]:
        """What the paths begin with that the Service sees: an edge may take something away, or put it before."""
        starts = route.starts
        if route.edge.kind == "Ingress" and may_be(route.edge, "nginx", self._stack):
            target = annotation(route.edge, f"{_NGINX}rewrite-target").text()
            starts = starts if target is None else (target.partition("$")[0] or "/",)
        for one in route.filters:
            path = one.get("urlRewrite", "path")
            if (full := path.get("replaceFullPath").text()) is not None:
                starts = (full,)
            elif (prefix := path.get("replacePrefixMatch").text()) is not None:
                starts = (prefix or "/",)
        for _, spec in self.of(route):
            if spec is not None:
                starts = tuple(_rewritten(start, spec) for start in starts)
        return starts


def _is_address_enough(edge: Object) -> bool:
    """Whether ingress-nginx asks nobody, since one of address and key is enough, and it takes every address."""
    if annotation(edge, f"{_NGINX}satisfy").text() != "any":
        return False
    listed = (annotation(edge, f"{_NGINX}{key}").text() or "" for key in _ADDRESSES)
    return any(part.strip() in _EVERY_ADDRESS for text in listed for part in text.split(","))


def _middleware_asks(spec: Value) -> bool:
    if any(spec.get(kind).raw is not None for kind in _ASKING):
        return True
    return any(_ASKING_PLUGINS.search(name) for name, _ in spec.get("plugin").pairs())


def _rewritten(start: str, spec: Value) -> str:
    for prefix in (item.text() or "" for item in spec.get("stripPrefix", "prefixes").items()):
        if is_below(start, prefix):
            start = normalised(normalised(start).removeprefix(normalised(prefix).rstrip("/")))
        elif is_below(prefix, start):
            return "/"  # below it, everything may be seen
    if spec.get("stripPrefixRegex").raw is not None:
        return "/"
    before = spec.get("addPrefix", "prefix").text()
    if before is not None:
        start = normalised(f"{before}/{start}")
    whole = spec.get("replacePath", "path").text() or spec.get("replacePathRegex", "replacement").text()
    return start if whole is None else whole.partition("$")[0] or "/"
