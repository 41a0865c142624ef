"""From a kind to its path on the API server, asked of the server and remembered."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from plugins.kubernetes.cluster import ApiError, Cluster, segment
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
        self._lock = threading.Lock()

    def resource(self, api_version: str, kind: str) -> Resource:
        """How `kind` of `api_version` is served.

        Raises:
            UnknownKind: not at all.
            Unreachable, ApiError: the server does not say.
        """
        with self._lock:  # held while asking: many objects of one group start at the same time
            if (api_version, kind) not in self._known:
                self._ask(api_version)
            found = self._known.get((api_version, kind))
        if found is None:
            raise UnknownKind(f'no matches for kind "{kind}" in version "{api_version}"')
        return found

    def of(self, obj: Object) -> Resource:
        """How the object's kind is served; raises what `resource` raises."""
        return self.resource(str(obj.get("apiVersion")), str(obj.get("kind")))

    def _ask(self, api_version: str) -> None:
        try:
            answer = self._cluster.get(f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}")
        except ApiError as error:
            if error.not_found:
                return
            raise
        for item in answer.get("resources", []):
            if "/" not in item["name"]:  # not a subresource
                self._known[api_version, item["kind"]] = Resource(api_version, item["name"], item["namespaced"])
