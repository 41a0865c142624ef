"""The client of the edge: what people can paste, and answers that come piece by piece, or fail with a reason."""

from __future__ import annotations

import json
import shlex
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from conftest import Deploy
from on_mocks import Raw
from pydantic import SecretStr
from small_stacks import VARIANTS, node, ollama, planned, vllm

from cli import edge
from cli.edge import Access, Endpoint, endpoints, preparation, show_answer, stream_chat
from toolchain.steps import StepFailed

Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine would be asked for the loopback server."""
    monkeypatch.setenv("NO_PROXY", "*")


class Edge(ThreadingHTTPServer):
    """A loopback server that gives the next of `answers` to each request."""

    daemon_threads = True

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[tuple[str, str, Raw]] = []
        """Path, Host header and body of each request."""

        self.authorization: list[str | None] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint(server="chat", engine="vllm", url=f"http://127.0.0.1:{self.server_port}/v1", models=("m",))


class Handler(BaseHTTPRequestHandler):
    """Notes the request and lets the server's next answer write the response."""

    server: Edge

    def do_POST(self) -> None:
        """As BaseHTTPRequestHandler calls it."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.authorization.append(self.headers["Authorization"])
        self.server.requests.append((self.path, self.headers["Host"], body))
        self.server.answers.pop(0)(self)

    def handle(self) -> None:
        """As the base class calls it; a client that does not trust the certificate leaves amid the greeting."""
        with suppress(ssl.SSLError):
            super().handle()

    def log_message(self, format: str, *args: object) -> None:  # the name is the base class's
        """Say nothing."""


@pytest.fixture
def serve() -> Iterator[Callable[..., Edge]]:
    """Starts loopback servers that give these answers, and ends them."""
    started: list[Edge] = []

    def start(*answers: Answer, certificate: Path | None = None) -> Edge:
        server = Edge(*answers)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        started.append(server)
        return server

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


def status(code: int, text: str = "") -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        request.send_header("Content-Length", str(len(text)))
        request.end_headers()
        request.wfile.write(text.encode())

    return answer


def event(data: object) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


def piece(text: str | None) -> bytes:
    return event({"choices": [{"delta": {"content": text}}]})


DONE = b"data: [DONE]\n\n"


def stream(*chunks: bytes | threading.Event, length: int | None = None) -> Answer:
    """Server-sent events; an Event among them is waited for before what follows is sent.

    `length`: bytes that are promised; without it the answer ends with the connection.
    """

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "text/event-stream")
        if length is not None:
            request.send_header("Content-Length", str(length))
        request.end_headers()
        for chunk in chunks:
            if isinstance(chunk, bytes):
                request.wfile.write(chunk)
                request.wfile.flush()
            else:
                assert chunk.wait(10), "what was sent before was not read"

    return answer


# --- routes as clients see them ---


def test_every_route_has_an_endpoint_that_clients_can_use() -> None:
    plan = planned(
        {"a": node(slices=2)},
        {"chat": vllm(), "assistant": ollama(modelfiles={"jini": {"from": "qwen3:4b"}})},
        ingress={
            "host": "llm.example.com",
            "routes": {"/v1/chat": "chat", "/ollama": "assistant", "/v1/jini": "assistant", "/api": "assistant"},
            "apiKeys": {"team": "generated"},
            "tls": "selfSigned",
        },
    )
    assert endpoints(plan) == [
        Endpoint(
            server="assistant", engine="ollama", url="https://llm.example.com/ollama/v1", models=("qwen3:4b", "jini")
        ),
        Endpoint(server="chat", engine="vllm", url="https://llm.example.com/v1/chat", models=("chat",)),
        Endpoint(
            server="assistant", engine="ollama", url="https://llm.example.com/v1/jini", models=("qwen3:4b", "jini")
        ),
    ]


def test_without_an_edge_there_is_no_endpoint() -> None:
    assert endpoints(planned({"a": node()}, {"chat": vllm()})) == []


@pytest.mark.parametrize("prompt", ["Say hello.", 'It\'s "me" & $HOME\n`id`', "안녕"])
def test_the_line_to_paste_survives_the_shell(prompt: str) -> None:
    words = shlex.split(Endpoint(server="s", engine="vllm", url="http://h/v1", models=("m", "n")).curl(prompt))
    assert words[:-1] == [
        "curl", "-N", "http://h/v1/chat/completions", "-H", "Content-Type: application/json", "-d",
    ]  # fmt: skip  # one command line
    body = json.loads(words[-1])
    assert (body["model"], body["stream"]) == ("m", True)
    assert body["messages"] == [{"role": "user", "content": prompt}]


KEY = SecretStr("sk-MARKER-of-a-client")
PEM = "-----BEGIN CERTIFICATE-----"


def test_the_line_to_paste_has_the_key_from_the_shell_and_the_certificate_from_a_file() -> None:
    endpoint = Endpoint(server="s", engine="vllm", url="https://llm.example.com/v1", models=("m",))
    line = endpoint.curl("Hi", Access(address="198.18.0.2", api_key=KEY, certificate=PEM))
    assert "MARKER" not in line
    assert '-H "Authorization: Bearer $LLM_API_KEY"' in line
    assert "--cacert llm.pem" in line
    assert "--resolve llm.example.com:443:198.18.0.2" in line


def test_on_localhost_the_name_leads_where_it_says() -> None:
    endpoint = Endpoint(server="s", engine="vllm", url="http://localhost/v1", models=("m",))
    assert "--resolve" not in endpoint.curl("Hi", Access(address="198.18.0.2"))


def test_what_is_typed_before_puts_key_and_certificate_in_their_places(tmp_path: Path) -> None:
    pulumi = tmp_path / "bin" / "pulumi"
    pulumi.parent.mkdir()
    pulumi.write_text(
        '#!/bin/sh\n[ "$1 $2 $3 $4" = "stack output --stack prod" ] || exit 1\n'
        '[ "$5" != certificate ] || { echo "the certificate"; exit; }\n'
        """[ "$5 $6 $7" != "apiKeys --json --show-secrets" ] || echo '{"team": "sk-1", "other": "sk-2"}'\n"""
    )
    pulumi.chmod(0o755)
    lines = preparation("team", self_signed=True, stack="prod")
    script = "\n".join(["set -eu", *lines, 'echo "$LLM_API_KEY"; cat llm.pem'])
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "sk-1\nthe certificate\n"
    assert preparation(None, self_signed=False, stack="prod") == []


# --- answers ---


def test_the_key_is_sent_and_the_stacks_own_certificate_trusted(
    serve: Callable[..., Edge], deployed: Deploy, tmp_path: Path
) -> None:
    """Over TLS, with the certificate as the stack's own command makes it, found by name at another address."""
    create = deployed(VARIANTS["spare-gpu"]).one("Command", "edge-certificate").inputs["create"]
    both = tmp_path / "both.pem"
    both.write_text(subprocess.run(["/bin/sh", "-c", create], capture_output=True, text=True, check=True).stdout)
    certificate = both.read_text()[both.read_text().index(PEM) :]
    server = serve(stream(piece("x"), DONE), certificate=both)
    url = f"https://llm.example.com:{server.server_port}/v1"
    endpoint = Endpoint(server="s", engine="vllm", url=url, models=("m",))
    access = Access(address="127.0.0.1", api_key=KEY, certificate=certificate)
    assert list(stream_chat(endpoint, "Hi", access=access)) == ["x"]
    assert server.authorization == [f"Bearer {KEY.get_secret_value()}"]


@pytest.mark.parametrize(("host", "trusted"), [("other.example.com", True), ("llm.example.com", False)])
def test_another_certificate_is_not_taken(
    serve: Callable[..., Edge],
    deployed: Deploy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
    trusted: bool,
) -> None:
    monkeypatch.setattr(edge, "_PATIENCE_SECONDS", 0.1)
    create = deployed(VARIANTS["spare-gpu"]).one("Command", "edge-certificate").inputs["create"]
    both = tmp_path / "both.pem"
    both.write_text(subprocess.run(["/bin/sh", "-c", create], capture_output=True, text=True, check=True).stdout)
    certificate = both.read_text()[both.read_text().index(PEM) :] if trusted else None
    server = serve(stream(piece("x"), DONE), certificate=both)
    endpoint = Endpoint(server="s", engine="vllm", url=f"https://{host}:{server.server_port}/v1", models=("m",))
    with pytest.raises(StepFailed, match="CERTIFICATE_VERIFY_FAILED") as caught:
        list(stream_chat(endpoint, "Hi", access=Access(address="127.0.0.1", api_key=KEY, certificate=certificate)))
    assert "MARKER" not in str(caught.value)
    assert server.authorization == []


def test_pieces_are_given_as_they_come(serve: Callable[..., Edge]) -> None:
    """The second is sent only when the first was read: what is buffered anywhere would wait for ever."""
    read = threading.Event()
    server = serve(stream(piece("Hel"), read, piece("lo"), piece(None), event({"usage": {}}), b": ping\n\n", DONE))
    pieces = stream_chat(server.endpoint, "Say hello.")
    assert next(pieces) == "Hel"
    read.set()
    assert list(pieces) == ["lo"]


def test_the_request_goes_to_the_address_under_the_hosts_name(serve: Callable[..., Edge]) -> None:
    server = serve(stream(piece("x"), DONE))
    endpoint = Endpoint(
        server="s", engine="vllm", url=f"http://llm.example.com:{server.server_port}/v1", models=("m", "n")
    )
    assert list(stream_chat(endpoint, "Hi", model="n", access=Access(address="127.0.0.1"))) == ["x"]
    [(path, host, body)] = server.requests
    assert (path, host) == ("/v1/chat/completions", "llm.example.com")
    assert body["model"] == "n"


@pytest.mark.parametrize("code", [404, 502, 503])
def test_a_route_that_is_not_known_yet_is_asked_again(serve: Callable[..., Edge], code: int) -> None:
    server = serve(status(code), stream(piece("x"), DONE))
    assert list(stream_chat(server.endpoint, "Hi")) == ["x"]
    assert len(server.requests) == 2


@pytest.mark.parametrize("code", [400, 401, 500])
def test_a_refusal_is_told_at_once(serve: Callable[..., Edge], code: int) -> None:
    server = serve(status(code, "no such key"))
    with pytest.raises(StepFailed, match=rf"^http://127\.0\.0\.1:\d+/v1 did not answer: {code} no such key$"):
        list(stream_chat(server.endpoint, "Hi"))
    assert len(server.requests) == 1


def test_patience_ends(serve: Callable[..., Edge], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_PATIENCE_SECONDS", -1.0)
    server = serve(status(404, "404 page not found"))
    with pytest.raises(StepFailed, match="did not answer: 404 404 page not found"):
        list(stream_chat(server.endpoint, "Hi"))


def test_an_error_amid_the_answer_ends_it(serve: Callable[..., Edge]) -> None:
    server = serve(stream(piece("Hel"), event({"error": {"message": "out of memory"}})))
    pieces = stream_chat(server.endpoint, "Hi")
    assert next(pieces) == "Hel"
    with pytest.raises(StepFailed, match=r"broke off: .*out of memory"):
        next(pieces)


def test_a_connection_that_breaks_amid_the_answer_is_not_asked_again(serve: Callable[..., Edge]) -> None:
    server = serve(stream(piece("Hel"), length=1000), stream(piece("Hello"), DONE))
    pieces = stream_chat(server.endpoint, "Hi")
    assert next(pieces) == "Hel"
    with pytest.raises(StepFailed, match="broke off: "):
        next(pieces)
    assert len(server.requests) == 1


def test_a_connection_that_breaks_before_the_answer_begins_is_asked_again(serve: Callable[..., Edge]) -> None:
    server = serve(stream(length=1000), stream(piece("Hello"), DONE))
    assert list(stream_chat(server.endpoint, "Hi")) == ["Hello"]


def test_an_answer_that_is_shown_and_breaks_off_is_asked_for_once_more(
    serve: Callable[..., Edge], capsys: pytest.CaptureFixture[str]
) -> None:
    broken = stream(piece("Hel"), length=1000)
    server = serve(broken, stream(piece("Hello"), DONE), broken, broken)
    assert show_answer(server.endpoint, "Hi", Access()) == "Hello"
    told = capsys.readouterr().out
    assert told.startswith("Hel ... http://")
    assert told.endswith("Asked once more: Hello\n")
    with pytest.raises(StepFailed, match="broke off: "):
        show_answer(server.endpoint, "Hi", Access())
    assert len(server.requests) == 4


def test_a_door_that_stays_closed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "_PATIENCE_SECONDS", 0.2)
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    endpoint = Endpoint(server="s", engine="vllm", url=f"http://127.0.0.1:{port}/v1", models=("m",))
    with pytest.raises(StepFailed, match=rf"^http://127\.0\.0\.1:{port}/v1 did not answer: .*[Cc]onnection refused"):
        list(stream_chat(endpoint, "Hi"))
