"""The gateway as its clients and the engines see it: a real nginx reads every configuration and answers on loopback."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from on_mocks import Raw, settings_of
from real_nginx import NGINX, RunningGateway, check, free_port, running
from small_stacks import STACKS, node, ollama, planned, vllm

from lab import packages
from planning.ingress import IngressPlan
from planning.nginx import clients_map
from planning.plan import plan

KEY = "sk-MARKER_of-the-clients-own-key"
CHAT = "/v1/chat/completions"


def ingress_plan(**more: object) -> IngressPlan:
    """Two models behind one edge; the routes to 'chat' give up after a second. None leaves a setting out."""
    written: Raw = {
        "host": "llm.example.com",
        "routes": {
            "/v1": {"model": "chat", "timeoutSeconds": 1},
            "/v1/fast": "chat",
            "/ollama": "help",
        },
        "apiKeys": {"team": "generated", "partner": "generated"},
        "tls": "selfSigned",
        "maxBody": "1Mi",
    }
    edge = {key: value for key, value in (written | more).items() if value is not None}
    found = planned({"a": node(slices=2)}, {"chat": vllm(), "help": ollama()}, ingress=edge).ingress
    assert found is not None
    return found


@pytest.fixture(scope="session", autouse=True)
def _nginx() -> None:
    if not NGINX.exists():
        packages.ensure()


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    with running(ingress_plan(), tmp_path_factory.mktemp("gateway"), key=KEY) as started:
        yield started


def error(body: bytes) -> Raw:
    """The error in an answer, which has OpenAI's shape."""
    answer = json.loads(body)
    assert set(answer) == {"error"}
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert answer["error"]["message"]
    assert answer["error"]["param"] is None
    found: Raw = answer["error"]
    return found


def ids(response: HTTPResponse) -> list[str]:
    return [value for name, value in response.getheaders() if name.lower() == "x-request-id"]


# --- every configuration ---


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"apiKeys": {"a": "generated"}, "routes": {"/v1": "help", "/api": "help"}},
        {"host": "localhost", "apiKeys": None, "tls": None},
        {"routes": {"/a.b/~c_-": "help", "/A/b": "help", "/v1/m0dels": "chat"}},
        {"routes": {f"/v1/m{i}": "chat" for i in range(200)}},
    ],
    ids=["all", "ollama", "open", "paths", "many"],
)
def test_nginx_takes_the_configuration_without_a_word(tmp_path: Path, more: Raw) -> None:
    check(ingress_plan(**more), tmp_path)


def test_nginx_takes_that_of_every_stack_of_ours(tmp_path: Path) -> None:
    looked_at = 0
    for name, stack in STACKS.items():
        found = plan(settings_of(stack)).ingress
        if found is not None:
            folder = tmp_path / name
            folder.mkdir()
            check(found, folder)
            looked_at += 1
    assert looked_at > 3


# --- keys ---


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        f"Basic {KEY}",
        KEY,
        f"Bearer {KEY.lower()}",
        f"Bearer {KEY.swapcase()}",
        f"Bearer {KEY}x",
        f"Bearer x{KEY}",
        f"Bearer {KEY[:-1]}",
        f"Bearer {KEY} ",
        f"Bearer {KEY}, Bearer {KEY}",
        "Bearer .*",
        "Bearer team",
    ],
)
def test_without_the_key_nothing_reaches_a_model(gateway: RunningGateway, header: str | None) -> None:
    before = len(gateway.model.seen)
    # The client library strips spaces at the end, which are no part of a header's value anyway.
    headers = {} if header is None else {"Authorization": header + ("\x09x" if header.endswith(" ") else "")}
    response, body = gateway.ask(CHAT, key=None, headers=headers)
    assert response.status == 401
    assert error(body)["code"] == "invalid_api_key"
    assert error(body)["type"] == "invalid_request_error"
    assert response.getheader("WWW-Authenticate") == 'Bearer realm="llm"'
    assert response.getheader("Content-Type") == "application/json"
    assert len(ids(response)) == 1
    assert len(gateway.model.seen) == before


def test_a_key_elsewhere_than_in_its_header_does_not_count(gateway: RunningGateway) -> None:
    for path, headers in ((f"{CHAT}?api_key={KEY}", {}), (CHAT, {"X-Api-Key": KEY, "Cookie": f"key={KEY}"})):
        assert gateway.ask(path, key=None, headers=headers)[0].status == 401


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_is_read_as_http_says(gateway: RunningGateway, scheme: str) -> None:
    assert gateway.ask(CHAT, key=None, headers={"Authorization": f"{scheme} {KEY}"})[0].status == 200


def test_the_log_names_the_client_and_holds_no_key(gateway: RunningGateway) -> None:
    gateway.ask(f"{CHAT}?token={KEY}", headers={"X-Request-ID": "of-team"})
    gateway.ask(CHAT, key=f"{KEY}-partner", headers={"X-Request-ID": "of-partner"})
    gateway.ask(CHAT, key=f"{KEY}-nobody", headers={"X-Request-ID": "of-nobody"})
    assert [gateway.log(f"of-{name}")["client"] for name in ("team", "partner", "nobody")] == ["team", "partner", ""]
    line = gateway.log("of-team")
    assert (line["path"], line["status"], line["model"], line["upstreamStatus"]) == (CHAT, 200, "chat", "200")
    assert "MARKER" not in gateway.logs


def test_a_model_never_sees_a_key(gateway: RunningGateway) -> None:
    gateway.ask(CHAT)
    assert not any(KEY in value for values in gateway.model.seen[-1].headers.values() for value in values)


@given(
    st.dictionaries(st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True), st.just("k" * 20), max_size=4)
)
def test_the_file_of_keys_has_one_line_for_each_client(keys: dict[str, str]) -> None:
    assert [line.split('"')[3] for line in clients_map(keys).splitlines()] == sorted(keys)


def test_on_localhost_nobody_is_asked_and_no_key_is_passed_on(tmp_path: Path) -> None:
    with running(ingress_plan(host="localhost", apiKeys=None, tls=None), tmp_path, key=KEY) as started:
        assert started.ask(CHAT, key=None)[0].status == 200
        assert started.ask(CHAT)[0].status == 200
        assert not any("authorization" in seen.headers for seen in started.model.seen)


# --- paths ---


@pytest.mark.parametrize(
    ("path", "engine_path"),
    [
        (CHAT, "/v1/chat/completions"),
        ("/v1/fast/embeddings", "/v1/embeddings"),
        ("/v1/fast/audio/transcriptions?x=1&y=%2F", "/v1/audio/transcriptions?x=1&y=%2F"),
        ("/ollama/api/chat", "/api/chat"),
        ("/ollama/v1/chat/completions", "/v1/chat/completions"),
    ],
)
def test_the_engine_sees_its_own_path(gateway: RunningGateway, path: str, engine_path: str) -> None:
    response, body = gateway.ask(path, body=b'{"x": 1}')
    assert (response.status, body) == (200, b"{}")
    seen = gateway.model.seen[-1]
    assert (seen.method, seen.path, seen.body) == ("POST", engine_path, b'{"x": 1}')


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v1/",
        "/metrics",
        "/invocations",
        "/tokenize",
        "/health",
        "/healthz",
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/v1/fast/load_lora_adapter",
        "/v1/chat/completions/",
        "/v1/chat/completions/render",
        "/v1/chat/completions%00",
        "/V1/chat/completions",
        "/v1//chat/completions",
        "//v1/chat/completions",
        "/ollama/api/pull",
        "/ollama/api/delete",
        "/ollama/api/blobs/sha256:0",
        "/ollama/api/tags/../pull",
        "/ollama/api/tags/..%2fpull",
        "/api/chat",
        "/v1/fast/../../metrics",
        "/v1/chat/completions%2f..%2f..%2f..%2fmetrics",
    ],
)
def test_what_is_not_public_is_not_there(gateway: RunningGateway, path: str) -> None:
    before = len(gateway.model.seen)
    response, body = gateway.ask(path)
    # 400 is nginx's own answer, where there is no path to speak of.
    assert response.status == (400 if "%00" in path else 404)
    assert response.status == 400 or error(body)["code"] == "unknown_url"
    assert len(ids(response)) == 1
    assert len(gateway.model.seen) == before


PUBLIC = {at.engine_path for route in ingress_plan().routes for at in route.locations}
_piece = st.sampled_from(
    ["v1", "V1", "fast", "ollama", "api", "chat", "completions", "models", "tags", "pull", "metrics", "invocations"]
) | st.sampled_from(["..", ".", "", "%2e%2e", "%2E.", "%00", "%0a", "ch%61t", ";x", "\\", "%5c", "a%3fb", "%"])
_separator = st.sampled_from(["/", "//", "%2f", "%2F", "%252f", "/./", "\\"])
_hostile = st.lists(st.tuples(_separator, _piece), min_size=1, max_size=7).map(
    lambda parts: "/" + "".join(separator + piece for separator, piece in parts).lstrip("/")
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=_hostile, method=st.sampled_from(["GET", "POST", "DELETE", "PUT", "HEAD"]))
@example(path="/v1/chat/completions", method="POST")
@example(path="/v1/x/..%2f..%2fmetrics", method="GET")
@example(path="/ollama/api/tags/%2e%2e/pull", method="POST")
def test_nothing_but_public_paths_passes_whatever_is_asked_for(gateway: RunningGateway, path: str, method: str) -> None:
    gateway.model.seen.clear()
    request = f"{method} {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n\r\n"
    answer = gateway.raw(request.encode())
    for seen in gateway.model.seen:
        assert seen.path.partition("?")[0] in PUBLIC, (path, seen.path)
    assert bool(gateway.model.seen) == answer.startswith(b"HTTP/1.1 200"), answer


@pytest.mark.parametrize(
    ("path", "method", "allow"),
    [
        (CHAT, "GET", "POST"),
        (CHAT, "DELETE", "POST"),
        ("/v1/models", "POST", "GET, HEAD"),
        ("/ollama/api/tags", "DELETE", "GET, HEAD"),
    ],
)
def test_other_methods_are_refused_with_those_there_are(
    gateway: RunningGateway, path: str, method: str, allow: str
) -> None:
    before = len(gateway.model.seen)
    response, body = gateway.ask(path, method=method)
    assert (response.status, response.getheader("Allow")) == (405, allow)
    assert error(body)["code"] == "method_not_allowed"
    assert len(gateway.model.seen) == before


def test_a_list_can_be_asked_for_without_its_body(gateway: RunningGateway) -> None:
    for method in ("GET", "HEAD"):
        response, _ = gateway.ask("/v1/models", method=method)
        assert (response.status, response.getheader("Allow"), gateway.model.seen[-1].method) == (200, None, method)


# --- request ids ---


@pytest.mark.parametrize("given_id", ["a", "trace-7f.3:x_Y", "0" * 128])
def test_a_request_id_is_kept_passed_on_and_returned_once(gateway: RunningGateway, given_id: str) -> None:
    """The engine's answer has one of its own, which is another name for the same request."""
    response, _ = gateway.ask(CHAT, headers={"X-Request-ID": given_id})
    assert ids(response) == [given_id]
    assert gateway.model.seen[-1].headers["x-request-id"] == [given_id]
    assert gateway.log(given_id)["client"] == "team"


@pytest.mark.parametrize(
    "given_id", [None, "", "0" * 129, 'a"b', "a b", "a,b", "\N{LATIN SMALL LETTER E WITH ACUTE}", "a;"]
)
def test_a_request_id_that_may_do_harm_is_replaced(gateway: RunningGateway, given_id: str | None) -> None:
    response, _ = gateway.ask(CHAT, headers={} if given_id is None else {"X-Request-ID": given_id})
    [made] = ids(response)
    assert len(made) == 32
    assert int(made, 16) >= 0
    assert gateway.model.seen[-1].headers["x-request-id"] == [made]


def test_errors_carry_the_request_id_too(gateway: RunningGateway) -> None:
    sent = {"X-Request-ID": "of-an-error"}
    for path, method, body, status in (
        ("/metrics", "POST", b"{}", 404),
        (CHAT, "PUT", b"{}", 405),
        (CHAT, "POST", b"x" * (2**20 + 1), 413),
        (CHAT, "POST", b'{"do": "silence"}', 504),
    ):
        response, _ = gateway.ask(path, method=method, body=body, headers=sent)
        assert (response.status, ids(response)) == (status, ["of-an-error"])


# --- time, size, absence ---


def test_silence_ends_with_the_time_of_the_route(gateway: RunningGateway) -> None:
    response, body = gateway.ask(CHAT, body=b'{"do": "silence"}')
    assert response.status == 504
    assert (error(body)["type"], error(body)["code"]) == ("server_error", "timeout")
    # The other route to the same model allows more than the time that it takes.
    assert gateway.ask("/v1/fast/chat/completions", body=b'{"do": "silence"}')[0].status == 200


def test_a_request_may_be_as_large_as_the_file_says(gateway: RunningGateway) -> None:
    assert gateway.ask(CHAT, body=b"x" * 2**20)[0].status == 200
    response, body = gateway.ask(CHAT, body=b"x" * (2**20 + 1))
    assert response.status == 413
    assert error(body)["code"] == "request_too_large"


def test_a_model_that_is_away_is_told_with_when_to_ask_again(tmp_path: Path) -> None:
    with running(ingress_plan(), tmp_path, key=KEY, upstream=free_port()) as started:
        response, body = started.ask(CHAT, headers={"X-Request-ID": "of-the-absent"})
    assert (response.status, response.getheader("Retry-After")) == (502, "5")
    assert error(body)["code"] == "model_unavailable"
    assert ids(response) == ["of-the-absent"]
    assert "MARKER" not in started.logs


def test_an_engine_that_is_busy_says_itself_when_to_ask_again(gateway: RunningGateway) -> None:
    response, body = gateway.ask(CHAT, body=b'{"do": "busy"}')
    assert (response.status, body) == (503, b"{}")
    assert [value for name, value in response.getheaders() if name == "Retry-After"] == ["77"]


# --- streams and connections ---


def start_stream(gateway: RunningGateway) -> tuple[HTTPConnection, HTTPResponse]:
    """A stream whose first word is there, while the second is not sent yet."""
    gateway.model.token.clear()
    gateway.model.gone.clear()
    connection = HTTPConnection("127.0.0.1", gateway.port, timeout=10)
    headers = {"Authorization": f"Bearer {KEY}", "Accept-Encoding": "gzip"}
    connection.request("POST", "/v1/fast/chat/completions", body=b'{"do": "stream"}', headers=headers)
    response = connection.getresponse()
    assert word(response) == "one"
    return connection, response


def word(response: HTTPResponse) -> str:
    """The next word of a stream."""
    while not (line := response.readline()).startswith(b"data: "):
        assert line, "the stream has ended"
    return line.removeprefix(b"data: ").decode().strip()


def test_each_piece_of_a_stream_is_passed_on_when_it_comes(gateway: RunningGateway) -> None:
    """Each word is sent only when the one before was read: what is buffered anywhere would wait for ever."""
    connection, response = start_stream(gateway)
    for expected in ("two", "three"):
        gateway.model.token.set()
        assert word(response) == expected
    assert b"data" not in response.read()
    assert response.getheader("Content-Encoding") is None
    assert "accept-encoding" not in gateway.model.seen[-1].headers
    connection.close()


def test_a_client_that_leaves_ends_the_work_for_it(gateway: RunningGateway) -> None:
    connection, response = start_stream(gateway)
    response.close()
    connection.close()
    assert gateway.model.gone.wait(10)


def test_a_stream_under_way_outlives_the_order_to_go(tmp_path: Path) -> None:
    with running(ingress_plan(), tmp_path, key=KEY) as started:
        connection, response = start_stream(started)
        os.kill(started.pid, signal.SIGQUIT)
        time.sleep(0.5)  # longer than nginx takes to go where nothing holds it
        for expected in ("two", "three"):
            started.model.token.set()
            assert word(response) == expected
        connection.close()


def test_connections_to_models_are_used_again(gateway: RunningGateway) -> None:
    gateway.model.seen.clear()
    for _ in range(5):
        gateway.ask(CHAT)
    assert {tuple(seen.headers.get("connection", ())) for seen in gateway.model.seen} == {()}
    assert len({seen.client_port for seen in gateway.model.seen}) < 5


def test_the_kubelet_needs_no_key_and_gets_nothing_else(gateway: RunningGateway) -> None:
    for path, status in (("/healthz", 200), (CHAT, 404), ("/", 404)):
        connection = HTTPConnection("127.0.0.1", gateway.health_port, timeout=10)
        connection.request("GET", path)
        assert connection.getresponse().status == status
        connection.close()
