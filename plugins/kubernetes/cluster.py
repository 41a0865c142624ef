"""Requests to the API server, on the official client's configuration and connection pool.

Paths and objects are plain: the client's typed models would cost a second and 100 MB, and know no custom resources.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration

from plugins.kubernetes.objects import Object

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
RETRY_SECONDS = 60.0
"""How long an operation goes on trying to reach an API server that does not answer."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_POOL = 64
_TRANSIENT_STATUS = (429, 503, 504)

APPLY = "application/apply-patch+yaml"  # JSON is YAML
JSON_PATCH = "application/json-patch+json"


class Unreachable(Exception):
    """The API server does not answer; the message names it and the reason."""


class Cancelled(Exception):
    """The user has cancelled the operation."""


@dataclass
class ApiError(Exception):
    """The API server has refused a request: its HTTP status, and what it says (a Status object)."""

    code: int
    reason: str
    message: str
    details: Object = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message

    @property
    def not_found(self) -> bool:
        """The object, or its namespace, is not there."""
        return self.code == 404

    @property
    def namespace_not_found(self) -> bool:
        """The object's namespace is not there."""
        return self.code == 404 and self.details.get("kind") == "namespaces"

    @property
    def already_exists(self) -> bool:
        """An object of that name is there."""
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def conflict(self) -> bool:
        """Another field manager holds a field, or the object has changed meanwhile."""
        return self.code == 409 and self.reason == "Conflict"


class Cluster:
    """An API server. Thread-safe: one connection pool for all operations."""

    def __init__(self, configuration: Configuration, cancelled: threading.Event) -> None:
        """`cancelled` ends waiting and retries when it is set."""
        configuration.connection_pool_maxsize = _POOL
        configuration.retries = False  # ours say what they do
        self.server: str = configuration.host
        self._configuration = configuration
        self._pool: urllib3.PoolManager = ApiClient(configuration).rest_client.pool_manager
        self.cancelled = cancelled

    def version(self) -> Object:
        """What `/version` says; one try only.

        Raises:
            Unreachable: no answer.
            ApiError: an answer that is a refusal.
        """
        found: Object = self._once("GET", "/version", None, {}, None)
        return found

    def get(self, path: str, **query: str) -> Object:
        """Read `path`. Raises what `request` raises."""
        return self.request("GET", path, query=query)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
        on_warning: Callable[[str], None] | None = None,
    ) -> Object:
        """Send a request and give the object that comes back.

        A server that does not answer is tried again for `RETRY_SECONDS`; a POST only where the connection could not
        be made at all, because otherwise it may have been carried out.

        Args:
            method: the HTTP method.
            path: path on the server, quoted where it needs to be.
            body: what is sent, as JSON.
            content_type: the body's type: JSON, `APPLY` or `JSON_PATCH`.
            query: the query's parameters.
            on_warning: is given the warnings that the server adds to its answer.

        Raises:
            ApiError: the server refuses.
            Unreachable: it does not answer.
            Cancelled: the user has cancelled.
        """
        target = f"{path}?{urlencode(query)}" if query else path
        data = None if body is None else json.dumps(body).encode()
        headers = {} if body is None else {"Content-Type": content_type}
        deadline = time.monotonic() + RETRY_SECONDS
        pause = _FIRST_PAUSE
        while True:
            try:
                return self._once(method, target, data, headers, on_warning)
            except ApiError as error:
                if error.code not in _TRANSIENT_STATUS or time.monotonic() > deadline:
                    raise
            except Unreachable as error:
                lost = method == "POST" and not isinstance(error.__cause__, urllib3.exceptions.NewConnectionError)
                if lost:
                    raise Unreachable(
                        f"{error}. The connection was lost while an object was created, so that it may be there: look, "
                        "and run `pulumi up` again."
                    ) from error
                if time.monotonic() > deadline:
                    raise Unreachable(f"{error}. Gave up after {RETRY_SECONDS:.0f} s.") from error
            if self.cancelled.wait(pause):
                raise Cancelled
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _once(
        self,
        method: str,
        target: str,
        data: bytes | None,
        headers: dict[str, str],
        on_warning: Callable[[str], None] | None,
    ) -> Object:
        sent = {"Accept": "application/json", "User-Agent": "pulumi-kubernetes", **headers, **self._authorization()}
        try:
            response = self._pool.request(
                method,
                self.server + target,
                body=data,
                headers=sent,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(f"the Kubernetes API server at {self.server} cannot be reached: {error}") from error
        answer = _object(response)
        if response.status >= 400:
            raise ApiError(
                response.status,
                answer.get("reason", ""),
                answer.get("message") or f"HTTP {response.status} for {method} {target}",
                answer.get("details") or {},
            )
        if on_warning:
            for warning in response.headers.getlist("Warning"):
                on_warning(_warning_text(warning))
        return answer

    def _authorization(self) -> dict[str, str]:
        # auth_settings() refreshes tokens that expire.
        settings: list[Any] = list(self._configuration.auth_settings().values())
        return {item["key"]: item["value"] for item in settings if item["in"] == "header" and item["value"]}


def _object(response: Any) -> Object:
    try:
        answer = json.loads(response.data)
    except ValueError:
        return {"message": response.data[:500].decode(errors="replace")}
    return answer if isinstance(answer, dict) else {}


def _warning_text(header: str) -> str:
    """The text of a Warning header: `299 - "unknown field \\"spec.x\\""`."""
    _, _, text = header.partition('"')
    return text.rstrip().removesuffix('"').replace('\\"', '"')


def segment(name: str) -> str:
    """`name` as one part of a path."""
    return quote(name, safe="")
