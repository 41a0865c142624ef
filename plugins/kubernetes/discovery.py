"""From a kind to its path on the API server, asked of the server and remembered."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from plugins.kubernetes.cluster import ApiError, Cluster, Unreachable, segment
from plugins.kubernetes.objects import Object, name_of, namespace_of


class UnknownKind(Exception):
    """The API server knows no such kind; the message says it as kubectl does."""


@dataclass(frozen=True)
class Resource:
    """How the server serves a kind."""

    api_version: str
    plural: str
    namespaced: bool

    def path(self, obj: Object) -> str:
        """Path of the object's collection: where it is created."""
        base = f"/apis/{self.api_version}" if "/" in self.api_version else f"/api/{self.api_version}"
        namespace = f"/namespaces/{segment(namespace_of(obj) or 'default')}" if self.namespaced else ""
        return f"{base}{namespace}/{self.plural}"

    def item_path(self, obj: Object, name: str = "") -> str:
        """Path of the object itself, or of another one called `name` beside it."""
        return f"{self.path(obj)}/{segment(name or name_of(obj))}"


class Discovery:
    """Remembers what the server has said. A kind that was not there is asked for again: its CRD may have come."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._known: dict[tuple[str, str], Resource] = {}
        self._asking: dict[str, threading.Lock] = {}
        """One for each apiVersion, held while it is asked for: one that is away keeps no other one waiting."""
        self._failed: dict[str, tuple[float, ApiError | Unreachable]] = {}
        """When the asking for an apiVersion was last given up, and why."""

    def resource(self, api_version: str, kind: str) -> Resource:
        """How `kind` of `api_version` is served.

        Raises:
            UnknownKind: not at all.
            Unreachable, ApiError: the server does not say.
        """
        found = self._known.get((api_version, kind))
        if found is None:
            begun = time.monotonic()
            with self._asking.setdefault(api_version, threading.Lock()):  # many objects of a group start at once
                if (api_version, kind) not in self._known:
                    self._ask(api_version, begun)
                found = self._known.get((api_version, kind))
        if found is None:
            raise UnknownKind(f'no matches for kind "{kind}" in version "{api_version}"')
        return found

    def of(self, obj: Object) -> Resource:
        """How the object's kind is served; raises what `resource` raises."""
        return self.resource(str(obj.get("apiVersion")), str(obj.get("kind")))

    def _ask(self, api_version: str, begun: float) -> None:
        given_up, reason = self._failed.get(api_version, (0.0, None))
        if reason is not None and given_up > begun:
            raise reason  # who has waited for another one's asking has waited long enough
        try:
            answer = self._cluster.get(f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}")
        except (ApiError, Unreachable) as error:
            if isinstance(error, ApiError) and error.not_found:
                return
            self._failed[api_version] = time.monotonic(), error
            raise
        for item in answer.get("resources", []):
            if "/" not in item["name"]:  # not a subresource
                self._known[api_version, item["kind"]] = Resource(api_version, item["name"], item["namespaced"])
