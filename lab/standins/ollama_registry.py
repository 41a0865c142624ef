"""Stands in for registry.ollama.ai on the lab's node: the models of the lab's spec, and no others.

`python -m lab.standins.ollama_registry ADDRESS PORT CERTIFICATES MODEL=FILE...`. As with the real one, a model's
files come from another host than its manifest, by a redirect that Ollama insists on.
"""

from __future__ import annotations

import json
import re
import ssl
import sys
from collections.abc import Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.standins.internet import CERTIFICATE, OLLAMA_BLOBS
from lab.standins.ollama_models import Name, Published, publish

_MANIFEST = re.compile(r"/v2/([^/]+/[^/]+)/manifests/([^/?]+)")
_BLOB = re.compile(r"/v2/[^/]+/[^/]+/blobs/(sha256:[0-9a-f]{64})")
_FILE = re.compile(r"/(sha256:[0-9a-f]{64})")
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class Server(ThreadingHTTPServer):
    """The registry, and the host of its files."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], models: Mapping[Name, bytes]) -> None:
        """Bind `address`; the models are given by their GGUF."""
        super().__init__(address, _Handler)
        self.models: dict[Name, Published] = {name: publish(gguf) for name, gguf in models.items()}
        self.blobs = {digest: blob for model in self.models.values() for digest, blob in model.blobs.items()}


class _Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if self.headers.get("Host", "").partition(":")[0] == OLLAMA_BLOBS:
            self._file(path)
        elif found := _MANIFEST.fullmatch(path):
            self._manifest(*found.groups())
        elif found := _BLOB.fullmatch(path):
            self._blob(found[1])
        else:
            self._refuse("NAME_UNKNOWN", "repository name not known to registry")

    do_HEAD = do_GET

    def _manifest(self, repository: str, tag: str) -> None:
        name = Name.parse(f"{repository}:{tag}")
        if model := self.server.models.get(name):
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            self._answer(HTTPStatus.OK, model.manifest, {"Content-Type": kind})
        else:
            self._refuse("MANIFEST_UNKNOWN", "manifest unknown")

    def _blob(self, digest: str) -> None:
        blob = self.server.blobs.get(digest)
        if blob is None:
            self._refuse("BLOB_UNKNOWN", "blob unknown to registry")
        elif self.command == "HEAD":
            self._answer(HTTPStatus.OK, blob)
        else:
            self._answer(HTTPStatus.TEMPORARY_REDIRECT, b"", {"Location": f"https://{OLLAMA_BLOBS}/{digest}"})

    def _file(self, path: str) -> None:
        found = _FILE.fullmatch(path)
        blob = self.server.blobs.get(found[1]) if found else None
        if blob is None:
            self._answer(HTTPStatus.NOT_FOUND, b"no such file\n")
            return
        part = _RANGE.fullmatch(self.headers.get("Range", ""))
        if not part:
            self._answer(HTTPStatus.OK, blob, {"Accept-Ranges": "bytes"})
            return
        first, last = int(part[1]), min(int(part[2] or len(blob)), len(blob) - 1)
        if first > last:
            headers = {"Content-Range": f"bytes */{len(blob)}"}
            self._answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", headers)
            return
        headers = {"Content-Range": f"bytes {first}-{last}/{len(blob)}"}
        self._answer(HTTPStatus.PARTIAL_CONTENT, blob[first : last + 1], headers)

    def _refuse(self, code: str, message: str) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": {"path": self.path}}]})
        self._answer(HTTPStatus.NOT_FOUND, body.encode(), {"Content-Type": "application/json"})

    def _answer(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def main() -> None:
    """Serve until ended."""
    address, port, certificates, *models = sys.argv[1:]
    known = {Name.parse(name): Path(file).read_bytes() for name, _, file in (item.partition("=") for item in models)}
    server = Server((address, int(port)), known)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pair = Path(certificates, CERTIFICATE)
    context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
    # The handshake is left to the connection's own thread, so that a client which sends nothing blocks no other.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.serve_forever()


if __name__ == "__main__":
    main()
