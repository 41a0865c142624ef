"""A real nginx on loopback with the gateway's configuration, and a tiny model server behind it."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from planning.ingress import IngressPlan
from planning.nginx import HEALTH_PORT, KEYS_DIRECTORY, KEYS_FILE, PID_FILE, PORT, clients_map

NGINX = Path("/usr/sbin/nginx")


@dataclass(frozen=True)
class Seen:
    """One request as the model server saw it."""

    method: str
    path: str
    headers: dict[str, list[str]]
    body: bytes
    client_port: int
    """Port of the connection that it came by."""


class Model(ThreadingHTTPServer):
    """Answers every request with 200 and `{}`, unless `answers` has something else for its path."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.token = threading.Event()
        """Lets a stream go on to its next word."""

        self.gone = threading.Event()
        """A client has left amid a stream."""

        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Model
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers: dict[str, list[str]] = {}
        for name, value in self.headers.items():
            headers.setdefault(name.lower(), []).append(value)
        self.server.seen.append(Seen(self.command, self.path, headers, body, self.client_address[1]))
        wanted = json.loads(body or b"{}").get("do") if body.startswith(b"{") else None
        if wanted == "stream":
            self._stream()
        elif wanted == "silence":
            time.sleep(2)  # longer than the first of the tests' routes allows
            with suppress(OSError):  # who asked there has left
                self._answer(200, {})
        elif wanted == "busy":
            self._answer(503, {"Retry-After": "77"})
        else:
            self._answer(200, {"X-Request-ID": "the-engines-own"})

    def _answer(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": "2", "Content-Type": "application/json"}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"{}")

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        # Without chunks, which nginx would pass on one by one also where it buffers.
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"data: one\n\n")
        try:
            for word in (b"two", b"three"):
                while not self.server.token.wait(0.05):
                    self.wfile.write(b": ping\n\n")  # writing shows whether the client is still there
                self.server.token.clear()
                self.wfile.write(b"data: " + word + b"\n\n")
        except OSError:
            self.server.gone.set()
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_OPTIONS = _serve

    def log_message(self, format: str, *args: object) -> None:  # the name is the base class's
        """Say nothing."""


@dataclass
class RunningGateway:
    """nginx with the plan's configuration: what it is asked and what it logs."""

    port: int
    health_port: int
    folder: Path
    model: Model
    key: str
    pid: int = field(default=0)

    def raw(self, request: bytes) -> bytes:
        """Whatever comes back for the bytes of `request`."""
        with closing(socket.create_connection(("127.0.0.1", self.port), timeout=10)) as connection:
            connection.sendall(request)
            received = b""
            while data := connection.recv(65536):
                received += data
            return received

    def ask(
        self,
        path: str,
        *,
        method: str = "POST",
        body: bytes = b"{}",
        key: str | None = "",
        headers: dict[str, str] | None = None,
    ) -> tuple[HTTPResponse, bytes]:
        """One request; with the right key unless another is given, or None for no header at all."""
        sent = dict(headers or {})
        if key is not None:
            sent["Authorization"] = f"Bearer {key or self.key}"
        with closing(HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request(method, path, body=body, headers=sent)
            response = connection.getresponse()
            return response, response.read()

    def log(self, request_id: str) -> dict[str, object]:
        """The line of the access log that tells of the request."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            for line in (self.folder / "access.log").read_text().splitlines():
                entry: dict[str, object] = json.loads(line)
                if entry["requestId"] == request_id:
                    return entry
            time.sleep(0.02)  # a line is written after the answer
        raise AssertionError(f"no line of {request_id}")

    @property
    def logs(self) -> str:
        """All that nginx has written."""
        return "".join(file.read_text() for file in sorted(self.folder.glob("*.log")))


def on_loopback(plan: IngressPlan, folder: Path, *, upstream: int, port: int, health_port: int) -> str:
    """The plan's configuration with nothing changed but addresses and folders of this machine."""
    text = plan.nginx_conf
    changes = {
        f"listen {PORT} default_server": f"listen 127.0.0.1:{port} default_server",
        f"listen {HEALTH_PORT}": f"listen 127.0.0.1:{health_port}",
        f"pid {PID_FILE}": f"pid {folder}/nginx.pid",
        "access_log /dev/stdout": f"access_log {folder}/access.log",
        "error_log stderr": f"error_log {folder}/error.log",
        "_temp_path /tmp/": f"_temp_path {folder}/",
    }
    if plan.api_keys:
        changes[f"{KEYS_DIRECTORY}/"] = f"{folder}/"
    for before, after in changes.items():
        assert before in text, before
        text = text.replace(before, after)
    for route in plan.routes:
        address = rf"{{ server {route.server}\.[a-z]+\.svc:\d+;"
        text = re.sub(address, f"{{ server 127.0.0.1:{upstream};", text)
    assert ".svc" not in text
    # Where the tests are root, nginx's workers would be somebody who may not enter the tests' folder.
    return f"user root;\n{text}" if os.geteuid() == 0 else text


def free_port() -> int:
    """A port of loopback that nobody has."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port: int = taken.getsockname()[1]
        return port


def check(plan: IngressPlan, folder: Path) -> None:
    """Let nginx read the configuration.

    Raises:
        AssertionError: with what it does not like.
    """
    _write(plan, folder, upstream=9, port=free_port(), health_port=free_port(), key="sk-" + "k" * 20)
    done = subprocess.run(
        [str(NGINX), "-t", "-q", "-e", "stderr", "-c", str(folder / "nginx.conf")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def _write(plan: IngressPlan, folder: Path, *, upstream: int, port: int, health_port: int, key: str) -> None:
    text = on_loopback(plan, folder, upstream=upstream, port=port, health_port=health_port)
    (folder / "nginx.conf").write_text(text)
    clients = {client: key if number == 0 else f"{key}-{client}" for number, client in enumerate(plan.api_keys)}
    (folder / KEYS_FILE).write_text(clients_map(clients))


@contextmanager
def running(plan: IngressPlan, folder: Path, *, key: str, upstream: int | None = None) -> Iterator[RunningGateway]:
    """nginx in front of a model server of its own, or of what is behind the port `upstream`."""
    model = Model()
    threading.Thread(target=model.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    gateway = RunningGateway(free_port(), free_port(), folder, model, key)
    _write(
        plan,
        folder,
        upstream=upstream or model.server_port,
        port=gateway.port,
        health_port=gateway.health_port,
        key=key,
    )
    process = subprocess.Popen([str(NGINX), "-e", "stderr", "-c", str(folder / "nginx.conf")])
    gateway.pid = process.pid
    try:
        _wait(gateway.health_port)
        yield gateway
    finally:
        process.terminate()
        process.wait(10)
        model.shutdown()
        model.server_close()


def _wait(port: int) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.02)  # it is still reading its configuration
