"""What a check finds, and what it may look at beside the object itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from plugins.kubernetes.objects import Object, owned_by

TIMED_OUT = "timed out waiting for the condition"
"""The time-out's words where the official provider uses client-go's own."""


@dataclass
class Progress:
    """How far an object is."""

    ready: bool = False
    infos: list[str] = field(default_factory=list)
    """What it waits for; the last one stays on the screen."""
    warnings: list[str] = field(default_factory=list)
    """What looks wrong but may pass."""
    errors: list[str] = field(default_factory=list)
    """Why it is not ready, for the time-out's message; the warnings of its pods among them."""
    failed: bool = False
    """It cannot become ready any more."""
    settled_after: float | None = None
    """Seconds after which it counts as ready although nothing has been seen yet; None for never."""
    timed_out: str = ""
    """What the time-out says; empty for the usual words."""


class Related:
    """Objects beside the one that is waited for, read when a check asks for them, once a round."""

    def __init__(
        self, listing: Callable[[str, str], list[Object]], reading: Callable[[str, str, str], Object | None]
    ) -> None:
        """`listing` gives the objects of (apiVersion, kind) in the namespace, `reading` one by its name or None."""
        self._listing = listing
        self._reading = reading
        self._lists: dict[tuple[str, str], list[Object]] = {}

    def all(self, api_version: str, kind: str) -> list[Object]:
        """All objects of a kind in the namespace of the object that is waited for."""
        key = (api_version, kind)
        if key not in self._lists:
            self._lists[key] = self._listing(*key)
        return self._lists[key]

    def owned(self, api_version: str, kind: str, owner: Object) -> list[Object]:
        """Those of `all` that `owner` owns."""
        return [item for item in self.all(api_version, kind) if owned_by(item, owner)]

    def one(self, api_version: str, kind: str, name: str) -> Object | None:
        """One object by its name, or None."""
        return self._reading(api_version, kind, name)


Check = Callable[[Object, Object | None, Related], Progress]
"""(the object now, the object before the update or None, objects beside it) -> how far it is."""
