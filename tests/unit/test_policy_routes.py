"""What the policy pack reads of edges: Traefik's rules, regular expressions of paths, what a Service sees of a path."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from judged import objects_of
from llm_policies.middlewares import Middlewares
from llm_policies.objects import Stack
from llm_policies.paths import is_below, normalised, starts_of
from llm_policies.routes import Route, routes
from llm_policies.traefik_matches import UnreadableMatch, alternatives
from on_mocks import Raw


@pytest.mark.parametrize(
    ("match", "ways"),
    [
        ("Host(`a`)", ["Host(`a`)"]),
        ('Host("a")', ["Host(`a`)"]),
        ("Host(`a`,`b`) && Path(`/x`)", ["Host(`a`) Path(`/x`)", "Host(`b`) Path(`/x`)"]),
        ("(Host(`a`)||Host(`b`))&&PathPrefix(`/v1`)", ["Host(`a`) PathPrefix(`/v1`)", "Host(`b`) PathPrefix(`/v1`)"]),
        ("Host(`a`) || Host(`b`) && Path(`/x`)", ["Host(`a`)", "Host(`b`) Path(`/x`)"]),
        ("!Host(`a`)", ["!Host(`a`)"]),
        ("!!Host(`a`)", ["Host(`a`)"]),
        ("!(Host(`a`) || Path(`/x`))", ["!Host(`a`) !Path(`/x`)"]),
        ("!(Host(`a`) && Path(`/x`))", ["!Host(`a`)", "!Path(`/x`)"]),
        ("Header(`X-Model`, `fast`)", ["Header(`X-Model`, `fast`)"]),
        (" Method(`GET`) ", ["Method(`GET`)"]),
        (
            r'HostRegexp("^.+\\.example\\.com$") && PathPrefix("/v1")',
            [r"HostRegexp(`^.+\.example\.com$`) PathPrefix(`/v1`)"],
        ),
        (r'Query("say", "\"hello\"")', ['Query(`say`, `"hello"`)']),
        (r"HostRegexp(`^a\\.b$`)", [r"HostRegexp(`^a\\.b$`)"]),
        ("host(`a`) && PATHPREFIX(`/v1`) && Clientip(`::1`)", ["Host(`a`) PathPrefix(`/v1`) ClientIP(`::1`)"]),
        ("host(`a`, `b`)", ["Host(`a`)", "Host(`b`)"]),
        ("Later(`a`)", ["Later(`a`)"]),
    ],
)
def test_a_rule_of_traefik_is_read_as_its_alternatives(match: str, ways: list[str]) -> None:
    assert [" ".join(str(matcher) for matcher in way) for way in alternatives(match)] == ways


@pytest.mark.parametrize(
    "match",
    [
        *("", "Host", "Host()", "Host(a)", "Host(`a`", "(Host(`a`)", "Host(`a`))", "Host(`a`) &&", "&& Host(`a`)"),
        *("Host(`a`) Path(`/x`)", "Host(`a`) & Path(`/x`)", "!", "Host(`a`,)", "`a`", "Host('a')"),
        *('Host("a\\.b")', 'Host("a\\")', 'Host("a'),
        *("!" * 1000 + "Host(`a`)", "(" * 100_000, "&&".join(["(Host(`a`)||Host(`b`))"] * 30)),
    ],
)
def test_what_is_no_rule_of_traefik_or_too_large_is_refused_at_once(match: str) -> None:
    with pytest.raises(UnreadableMatch):
        alternatives(match)


@given(st.text(alphabet='Host(`a/)&|!," ', max_size=60))
def test_any_text_is_a_rule_of_traefik_or_none(match: str) -> None:
    with contextlib.suppress(UnreadableMatch):
        assert alternatives(match)


@pytest.mark.parametrize(
    ("pattern", "starts"),
    [
        ("/v1", ("/v1",)),
        ("^/v1/", ("/v1/",)),
        ("/v1(/|$)(.*)", ("/v1",)),
        ("/v1/?(.*)", ("/v1",)),
        ("/v1/*", ("/v1",)),
        ("/(v1|health)(/|$)", ("/v1", "/health")),
        ("/(?:v1|v2)/chat", ("/v1", "/v2")),
        ("/(v1|health)?", ("/",)),
        ("/v1|/", ("/",)),
        ("/*", ("/",)),
        ("/.*", ("/",)),
        ("/(v1|health)|/", ("/",)),
        ("/((v1|v2)|health)", ("/",)),
        ("/(v1)*", ("/",)),
        ("(.*)", ("/",)),
        ("", ("/",)),
        ("/a{2}", ("/",)),
        ("/[a-z]+/v1", ("/",)),
    ],
)
def test_what_the_paths_of_a_regular_expression_begin_with(pattern: str, starts: tuple[str, ...]) -> None:
    assert starts_of(pattern) == starts


@given(st.text(alphabet="/v1(|)?*.^$[]{}\\a", max_size=30))
def test_what_paths_begin_with_is_told_of_any_text(pattern: str) -> None:
    assert starts_of(pattern)


def test_a_path_is_below_another_by_whole_names() -> None:
    assert normalised("//v1//chat/") == "/v1/chat"
    assert is_below("/v1/chat", "/v1")
    assert is_below("/v1/", "/v1")
    assert is_below("/anything", "/")
    assert not is_below("/v10", "/v1")
    assert not is_below("/", "/v1")


def _middleware(name: str, spec: Raw) -> Raw:
    return {"apiVersion": "traefik.io/v1alpha1", "kind": "Middleware", "metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("path", "specs", "seen"),
    [
        ("/v1", [], "/v1"),
        ("/chat", [{"stripPrefix": {"prefixes": ["/chat"]}}], "/"),
        ("/chat/v1", [{"stripPrefix": {"prefixes": ["/chat/"]}}], "/v1"),
        ("/chatter", [{"stripPrefix": {"prefixes": ["/chat"]}}], "/chatter"),
        ("/v1", [{"stripPrefix": {"prefixes": ["/v1/fast"]}}], "/"),
        ("/v1/a/b", [{"stripPrefix": {"prefixes": ["/v1/a", "/b"]}}], "/"),
        ("/chat", [{"stripPrefix": {"prefixes": ["/chat"]}}, {"addPrefix": {"prefix": "/v1"}}], "/v1"),
        ("/v1/x", [{"stripPrefixRegex": {"regex": ["/v1"]}}], "/"),
        ("/x", [{"replacePath": {"path": "/v1/models"}}], "/v1/models"),
        ("/x", [{"replacePathRegex": {"regex": "^/x/(.*)", "replacement": "/v1/$1"}}], "/v1/"),
        ("/x", [{"replacePathRegex": {"regex": "^/x(.*)", "replacement": "$1"}}], "/"),
        ("/v1", [{"rateLimit": {"average": 1}}], "/v1"),
    ],
)
def test_what_a_service_sees_behind_traefiks_middlewares(path: str, specs: list[Raw], seen: str) -> None:
    middlewares = [_middleware(f"m{index}", spec) for index, spec in enumerate(specs)]
    route: Raw = {
        "match": f"PathPrefix(`{path}`)",
        "middlewares": [{"name": m["metadata"]["name"]} for m in middlewares],
    }
    edge: Raw = {"apiVersion": "traefik.io/v1alpha1", "kind": "IngressRoute", "spec": {"routes": [route]}}
    stack = Stack(objects=objects_of([edge, *middlewares], pulumi=False))
    [found] = routes(stack.of("IngressRoute")[0])
    assert isinstance(found, Route)
    assert Middlewares(stack).seen(found) == (seen,)
