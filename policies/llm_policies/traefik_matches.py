"""Reads the rules by which Traefik's routers match: Host(`a`) && (PathPrefix(`/v1`) || Path(`/health`))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product

_TOKEN = re.compile(r"""\s*(?:(&&|\|\||[!(),])|([A-Za-z]+)|(`[^`]*`|"(?:[^"\\]|\\["\\])*"))""")
_MATCHERS = {
    name.lower(): name
    for name in (
        *("Host", "HostRegexp", "HostHeader", "HostSNI", "HostSNIRegexp", "Path", "PathPrefix", "PathRegexp", "Method"),
        *("Header", "HeaderRegexp", "Headers", "HeadersRegexp", "Query", "QueryRegexp", "ClientIP", "ALPN"),
    )
}
"""Matchers by their names in small letters: Traefik takes them in capitals, too."""

_OR_ARGUMENTS = frozenset({"Host", "HostHeader", "HostSNI", "Path", "PathPrefix", "Method", "ClientIP"})
"""Matchers of whose arguments (several in Traefik 2 only) one is enough; those of others belong together."""

_DEEPEST = 50
_MOST_ALTERNATIVES = 500
"""More than anyone writes, and little enough that reading them takes no time."""


class UnreadableMatch(ValueError):
    """No rule of Traefik, or one too large to be meant."""


@dataclass(frozen=True)
class Matcher:
    """One condition, e.g. PathPrefix(`/v1`)."""

    name: str
    arguments: tuple[str, ...]
    negated: bool = False

    def __str__(self) -> str:
        """As it is written."""
        return f"{'!' if self.negated else ''}{self.name}({', '.join(f'`{a}`' for a in self.arguments)})"


@dataclass
class _Node:
    """A rule as a tree: `kind` is and, or, not, or a matcher's name."""

    kind: str
    parts: list[_Node] = field(default_factory=list)
    arguments: tuple[str, ...] = ()


def alternatives(match: str) -> list[tuple[Matcher, ...]]:
    """The ways in which a request can match: of each, all conditions hold.

    Raises:
        UnreadableMatch: it is no rule.
    """
    reader = _Reader(list(_tokens(match)))
    tree = reader.any_of(0)
    if not reader.is_done:
        raise UnreadableMatch(match)
    return _ways(tree, negated=False)


def _tokens(match: str) -> Iterator[str]:
    position, text = 0, match.strip()
    while position < len(text):
        found = _TOKEN.match(text, position)
        if found is None:
            raise UnreadableMatch(match)
        position = found.end()
        yield found.group().strip()


class _Reader:
    """Descends into a list of tokens."""

    def __init__(self, tokens: list[str]) -> None:
        self._tokens = tokens
        self._next = 0

    @property
    def is_done(self) -> bool:
        return self._next == len(self._tokens)

    def any_of(self, depth: int) -> _Node:
        parts = [self._all_of(depth)]
        while self._takes("||"):
            parts.append(self._all_of(depth))
        return _Node("or", parts)

    def _all_of(self, depth: int) -> _Node:
        parts = [self._one(depth)]
        while self._takes("&&"):
            parts.append(self._one(depth))
        return _Node("and", parts)

    def _one(self, depth: int) -> _Node:
        if depth > _DEEPEST:
            raise UnreadableMatch("too deep")
        if self._takes("!"):
            return _Node("not", [self._one(depth + 1)])
        if self._takes("("):
            inner = self.any_of(depth + 1)
            self._needs(")")
            return inner
        name = self._matcher()
        self._needs("(")
        arguments = [self._argument()]
        while self._takes(","):
            arguments.append(self._argument())
        self._needs(")")
        return _Node(name, arguments=tuple(arguments))

    def _matcher(self) -> str:
        if self.is_done or not self._tokens[self._next].isalpha():
            raise UnreadableMatch("a matcher is missing")
        self._next += 1
        name = self._tokens[self._next - 1]
        return _MATCHERS.get(name.lower(), name)

    def _argument(self) -> str:
        if self.is_done or self._tokens[self._next][0] not in '`"':
            raise UnreadableMatch("an argument is missing")
        self._next += 1
        quoted = self._tokens[self._next - 1]
        # As Go reads texts: only between double quotes a backslash stands before what is meant.
        return quoted[1:-1] if quoted[0] == "`" else re.sub(r"\\(.)", r"\1", quoted[1:-1])

    def _takes(self, token: str) -> bool:
        if self.is_done or self._tokens[self._next] != token:
            return False
        self._next += 1
        return True

    def _needs(self, token: str) -> None:
        if not self._takes(token):
            raise UnreadableMatch(f"'{token}' is missing")


def _ways(node: _Node, *, negated: bool) -> list[tuple[Matcher, ...]]:
    match node.kind:
        case "not":
            return _ways(node.parts[0], negated=not negated)
        case "and" | "or":
            inner = [_ways(part, negated=negated) for part in node.parts]
            # Of "not (a and b)", either "not a" or "not b" is enough.
            if (node.kind == "or") != negated:
                return _limited([way for ways in inner for way in ways])
            found: list[tuple[Matcher, ...]] = [()]
            for ways in inner:
                found = _limited([(*left, *right) for left, right in product(found, ways)])
            return found
    if node.kind in _OR_ARGUMENTS and not negated:
        return [(Matcher(node.kind, (argument,)),) for argument in node.arguments]
    return [(Matcher(node.kind, node.arguments, negated),)]


def _limited(ways: list[tuple[Matcher, ...]]) -> list[tuple[Matcher, ...]]:
    if len(ways) > _MOST_ALTERNATIVES:
        raise UnreadableMatch("too many alternatives")
    return ways
