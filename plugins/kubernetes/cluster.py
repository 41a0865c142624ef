"""Requests to the API server, on the official client's configuration and connection pool.

Paths and objects are plain: the client's typed models would cost a second and 100 MB, and know no custom resources.
"""

from __future__ import annotations

import copy
import json
import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode

import urllib3
from kubernetes.client.api_client import ApiClient
from kubernetes.client.configuration import Configuration

from plugins.kubernetes.objects import Object, name_of, pluck

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
RETRY_SECONDS = 60.0
"""How long an operation goes on trying to reach an API server that does not answer: what a restart of k3s takes."""
RETRY_VARIABLE = "KUBERNETES_RETRY_SECONDS"
"""Environment variable for another time than `RETRY_SECONDS`."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 8.0
_POOL = 64
_TRANSIENT_STATUS = (429, 503, 504)
_MAYBE_DONE_STATUS = (500, 503, 504)  # etcd may have taken what the server gave up, as with "leader changed"

APPLY = "application/apply-patch+yaml"  # JSON is YAML
JSON_PATCH = "application/json-patch+json"


class Unreachable(Exception):
    """The API server does not answer; the message names it and the reason."""

    maybe_done = False
    """Whether the request may have been carried out all the same: the connection was lost after it was made."""


class Cancelled(Exception):
    """The user has cancelled the operation."""

    maybe_done = False
    """As with `Unreachable`."""


@dataclass
class ApiError(Exception):
    """The API server has refused a request: its HTTP status, and what it says (a Status object)."""

    code: int
    reason: str
    message: str
    details: Object = field(default_factory=dict)
    retry_after: float | None = None
    """Seconds after which the server wants to be asked again, if it says so."""
    maybe_done: bool = False
    """As with `Unreachable`: an answer before this one was lost, or the server does not know itself."""

    def __str__(self) -> str:
        return self.message

    @property
    def transient(self) -> bool:
        """The server is starting, stopping or busy: the same request may succeed in a moment."""
        return self.code in _TRANSIENT_STATUS or (self.code >= 500 and self.retry_after is not None)

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


class _Outage:
    """Says once that the API server is away, however many operations notice, and once that it is back."""

    def __init__(self) -> None:
        self.tell: Callable[[str], None] = lambda _: None
        self._away = False
        self._lock = threading.Lock()

    def noticed(self, text: str) -> None:
        with self._lock:
            said, self._away = self._away, True
        if not said:
            self.tell(text)

    def over(self, server: str) -> None:
        with self._lock:
            said, self._away = self._away, False
        if said:
            self.tell(f"the Kubernetes API server at {server} answers again")


class Cluster:
    """An API server. Thread-safe: one connection pool for all operations."""

    def __init__(self, configuration: Configuration, cancelled: threading.Event) -> None:
        """`cancelled` ends waiting and retries when it is set."""
        configuration.connection_pool_maxsize = _POOL
        configuration.retries = False  # ours say what they do
        self.server: str = configuration.host
        self.retry_seconds = _retry_seconds()
        """How long a request is tried again while the server does not answer."""
        self._configuration = configuration
        self._pool: urllib3.PoolManager = ApiClient(configuration).rest_client.pool_manager
        self._outage = _Outage()
        self.cancelled = cancelled

    def on_outage(self, tell: Callable[[str], None]) -> None:
        """`tell` is given a message when the server is away, and one when it is back."""
        self._outage.tell = tell

    def once(self) -> Cluster:
        """The same API server, each request tried once: for who asks again anyway."""
        result = copy.copy(self)
        result.retry_seconds = 0.0
        return result

    def version(self) -> Object:
        """What `/version` says; one try only.

        Raises:
            Unreachable: no answer.
            ApiError: an answer that is a refusal.
        """
        return _object(self._once("GET", "/version", None, {}))

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

        A server that does not answer, or is starting, is asked again for `retry_seconds`. A POST or an apply whose
        answer was lost may have been carried out: the object that a POST then finds is taken for its own if it proves
        to be; an error says `maybe_done`.

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
        begun = time.monotonic()
        pause = _FIRST_PAUSE
        lost = False
        creates = (method == "POST" or content_type == APPLY) and "dryRun" not in (query or {})
        while True:
            over = time.monotonic() - begun >= self.retry_seconds
            try:
                try:
                    response = self._once(method, target, data, headers)
                except ApiError as error:
                    if not (lost and error.already_exists):
                        raise
                    manager = (query or {}).get("fieldManager", "")
                    return self._own(path, body, manager, time.monotonic() - begun, error)
            except ApiError as error:
                lost = lost or (creates and error.code in _MAYBE_DONE_STATUS)
                if not error.transient or over:
                    error.maybe_done = lost and not error.already_exists
                    raise
                self._outage.noticed(self._again(str(error)))
                pause = max(pause, min(error.retry_after or 0.0, _LONGEST_PAUSE))
            except Unreachable as error:
                lost = lost or (creates and not isinstance(error.__cause__, urllib3.exceptions.NewConnectionError))
                if over:
                    waited = f". Gave up after {self.retry_seconds:.0f} s." if self.retry_seconds else ""
                    gave_up = Unreachable(f"{error}{waited}")
                    gave_up.maybe_done = lost
                    raise gave_up from error
                self._outage.noticed(self._again(str(error)))
            else:
                for warning in response.headers.getlist("Warning") if on_warning else ():
                    on_warning(_warning_text(warning))  # type: ignore[misc]  # the line above has looked
                return _object(response)
            if self.cancelled.wait(min(pause, max(0.05, begun + self.retry_seconds - time.monotonic()))):
                cancelled = Cancelled()
                cancelled.maybe_done = lost
                raise cancelled
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _again(self, reason: str) -> str:
        return f"{reason}. Trying again for up to {self.retry_seconds:.0f} s."

    def _own(self, path: str, body: Object, manager: str, seconds: float, exists: ApiError) -> Object:
        """What `_made` gives, where a lost POST is answered by `exists`.

        Raises `exists` if the object is somebody else's, and ApiError or Unreachable while that cannot be said.
        """
        try:
            return self._made(path, body, manager, seconds)
        except LookupError:
            raise exists from None
        except ApiError as error:
            if error.not_found:
                raise exists from None
            raise

    def _made(self, path: str, body: Object, manager: str, seconds: float) -> Object:
        """The object `body` if it was created by `manager` in the last `seconds`, by the server's own clock.

        Raises LookupError if that is not so, and ApiError or Unreachable if it cannot be read.
        """
        response = self._once("GET", f"{path}/{segment(name_of(body))}", None, {})
        found = _object(response)
        creators = [entry.get("manager") for entry in pluck(found, "metadata", "managedFields", default=[])]
        dates = response.headers.getlist("Date")  # a proxy may add its own before the server's
        if manager not in creators or not dates:
            raise LookupError
        created = datetime.fromisoformat(pluck(found, "metadata", "creationTimestamp"))
        age = (parsedate_to_datetime(dates[-1]) - created).total_seconds()
        if age > math.ceil(seconds) + 1:  # both times are cut to whole seconds
            raise LookupError
        return found

    def _once(self, method: str, target: str, data: bytes | None, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
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
        if response.status >= 400:
            answer = _object(response)
            after = response.headers.get("Retry-After", "")
            refusal = ApiError(
                response.status,
                answer.get("reason", ""),
                answer.get("message") or f"HTTP {response.status} for {method} {target}",
                answer.get("details") or {},
                float(after) if after.isdigit() else None,
            )
            if not refusal.transient:
                self._outage.over(self.server)
            raise refusal
        self._outage.over(self.server)
        return response

    def _authorization(self) -> dict[str, str]:
        # auth_settings() refreshes tokens that expire.
        settings: list[Any] = list(self._configuration.auth_settings().values())
        return {item["key"]: item["value"] for item in settings if item["in"] == "header" and item["value"]}


def _retry_seconds() -> float:
    given = os.environ.get(RETRY_VARIABLE, "")
    return float(given) if given.replace(".", "", 1).isdigit() else RETRY_SECONDS


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
