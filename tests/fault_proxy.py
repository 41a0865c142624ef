"""Stands between a Kubernetes client and the API server, and stops writing requests at exact moments.

A request is stopped either before the API server has it or when it is done and before the client hears of it. Whoever
then dies, the client, its parent or (for the client) the API server itself, dies at that moment and at no other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, urlsplit

import urllib3

Moment = Literal["before", "after"]
Choose = Callable[[str], Moment | None]
"""Given a request's name, when it is to be stopped; None lets it through."""

QUIET_SECONDS = 1.0
"""A wave of requests is complete when none has come for so long: the engine starts what does not wait for another."""

_HOP_HEADERS = frozenset({"connection", "transfer-encoding", "content-length", "host", "authorization"})


class FaultProxy:
    """A proxy on a port of the loopback; `kubeconfig` leads there, with a token of its own."""

    def __init__(self, server: str, kubeconfig: Path, *, context: ssl.SSLContext, token: str = "") -> None:
        """Listen.

        Args:
            server: URL of the API server.
            kubeconfig: where a kubeconfig for the proxy is written.
            context: how the API server is spoken to, with a client certificate where it wants one.
            token: the API server's, where it wants one.
        """
        self.kubeconfig = kubeconfig
        self.choose: Choose = lambda _: None
        self.stopped: list[tuple[str, Moment]] = []
        """The requests that are held now."""
        self._server = server
        self._pool = urllib3.PoolManager(maxsize=64, ssl_context=context, retries=False)
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._token = secrets.token_hex(16)
        self._lock = threading.Lock()
        self._go = threading.Event()
        self._last = 0.0
        self._connections: set[Any] = set()
        self._listen(0)
        user = {"token": self._token}
        kubeconfig.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": "p", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}],
                    "users": [{"name": "p", "user": user}],
                    "contexts": [{"name": "p", "context": {"cluster": "p", "user": "p"}}],
                    "current-context": "p",
                }
            )
        )

    def wait(self, ended: Callable[[], bool], seconds: float) -> list[tuple[str, Moment]]:
        """Wait until requests are held and no more come; gives them, or nothing if `ended` first."""
        deadline = time.monotonic() + seconds
        while not ended():
            assert time.monotonic() < deadline, f"after {seconds} s neither a request nor an end"
            with self._lock:
                if self.stopped and time.monotonic() - self._last > QUIET_SECONDS:
                    return list(self.stopped)
            time.sleep(0.05)  # before it is looked at again
        return []

    def let_go(self) -> None:
        """Cut the connections of the requests that are held: who waits for an answer gets none."""
        self._go.set()
        while self.stopped:
            time.sleep(0.01)  # until their threads have noticed
        self._go.clear()

    def vanish(self) -> None:
        """Be gone, as an API server that was killed: every connection is cut, and new ones are refused."""
        self._http.shutdown()
        self._http.server_close()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):  # its client was quicker
                connection.shutdown(2)
        self.let_go()

    def return_(self) -> None:
        """Be there again, under the same address."""
        self._listen(self._port)

    def close(self) -> None:
        """Stop for good."""
        self.vanish()
        self._pool.clear()

    def _listen(self, port: int) -> None:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                with proxy._lock:
                    proxy._connections.add(self.connection)

            def finish(self) -> None:
                with proxy._lock:
                    proxy._connections.discard(self.connection)
                with contextlib.suppress(OSError):  # the client is gone, which is what this is for
                    super().finish()

            def do(self) -> None:
                with contextlib.suppress(OSError):  # as above
                    proxy._serve(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

        self._http = Server(("127.0.0.1", port), Handler)
        self._port = self._http.server_address[1]
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length", "0")))
        if request.headers.get("Authorization") != f"Bearer {self._token}":
            request.send_error(401)
            return
        name = _name(request.command, request.path, body)
        moment = self.choose(name) if name else None
        if moment == "before":
            self._hold(request, name, moment)
            return
        headers = {key: value for key, value in request.headers.items() if key.lower() not in _HOP_HEADERS}
        try:
            answer = self._pool.request(
                request.command,
                self._server + request.path,
                body=body or None,
                headers={**headers, **self._headers},
                timeout=60,
                decode_content=False,
            )
        except urllib3.exceptions.HTTPError:  # no API server: then there is none here either
            request.close_connection = True
            return
        if moment == "after":
            self._hold(request, name, moment)
            return
        request.send_response_only(answer.status)  # the date is the API server's to tell
        for key, value in answer.headers.items():
            if key.lower() not in _HOP_HEADERS:
                request.send_header(key, value)
        request.send_header("Content-Length", str(len(answer.data)))
        request.end_headers()
        request.wfile.write(answer.data)

    def _hold(self, request: BaseHTTPRequestHandler, name: str, moment: Moment) -> None:
        with self._lock:
            self.stopped.append((name, moment))
            self._last = time.monotonic()
        self._go.wait()
        request.close_connection = True
        with self._lock:
            self.stopped.remove((name, moment))


def _name(method: str, target: str, body: bytes) -> str:
    """What a writing request writes, the same at every try; empty for one that writes nothing."""
    url = urlsplit(target)
    if method == "GET" or parse_qs(url.query).get("dryRun"):
        return ""
    sent = json.loads(body or b"{}")
    if method == "POST":
        return f"POST {url.path}/{sent['metadata']['name']}"
    if isinstance(sent, list):  # a JSON patch, with a resource version that is another each time
        return f"{method} {url.path}"
    # Two Patch resources may change one object: what they say tells them apart.
    return f"{method} {url.path} {hashlib.sha256(body).hexdigest()[:8]}"


@contextlib.contextmanager
def fault_proxy(server: str, kubeconfig: Path, *, context: ssl.SSLContext, token: str = "") -> Iterator[FaultProxy]:
    """A proxy for as long as the block runs; arguments as for `FaultProxy`."""
    made = FaultProxy(server, kubeconfig, context=context, token=token)
    try:
        yield made
    finally:
        made.close()
