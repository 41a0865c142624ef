"""What routes of the Gateway API are attached to: Gateways, and the sets of listeners beside them."""

from __future__ import annotations

from dataclasses import dataclass

from llm_policies.kinds import edges
from llm_policies.objects import Object, Stack
from llm_policies.values import Value

_OF_A_MESH = ("Service", "ServiceEntry")
"""Parents of routes between pods."""

Named = tuple[str | None, str, str | None]
"""Kind, namespace and name."""

_LISTENING = ("Gateway", "ListenerSet", "XListenerSet")


@dataclass(frozen=True, kw_only=True)
class Parent:
    """One of a route's `parentRefs`."""

    named: Named
    section: str | None
    """Name of the listener that is meant; None for all."""

    port: int | None
    """Of the listeners that are meant; None for all."""

    def listeners(self, stack: Stack) -> list[Value]:
        """The listeners that are meant, of those in the stack; of others nobody knows."""
        return [
            listener
            for item in self._objects(stack)
            for listener in item.properties.get("spec", "listeners").items()
            if self.section in (None, listener.get("name").text())
            and self.port in (None, listener.get("port").integer())
        ]

    def gateway(self, stack: Stack) -> Named | None:
        """The Gateway of a set of listeners; None of what is none, or not in the stack."""
        for item in self._objects(stack):
            of = item.properties.get("spec", "parentRef")
            if of.raw is not None:
                return ("Gateway", of.get("namespace").text() or item.namespace, of.get("name").text())
        return None

    def _objects(self, stack: Stack) -> list[Object]:
        kind = self.named[0]
        listening = edges(stack, kind) if kind in _LISTENING else []
        return [item for item in listening if (item.kind, item.namespace, item.name) == self.named]


def parents_of(route: Object) -> list[Parent]:
    """What a route is attached to; what is attached to a Service is no edge."""
    found = [
        Parent(
            named=(
                parent.get("kind").text() or "Gateway",
                parent.get("namespace").text() or route.namespace,
                parent.get("name").text(),
            ),
            section=parent.get("sectionName").text(),
            port=parent.get("port").integer(),
        )
        for parent in route.properties.get("spec", "parentRefs").items()
    ]
    return [parent for parent in found if parent.named[0] not in _OF_A_MESH]
