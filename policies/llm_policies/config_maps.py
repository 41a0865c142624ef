"""Variables that a container has from ConfigMaps that are deployed with it."""

from __future__ import annotations

from llm_policies.containers import Container
from llm_policies.labels import may_be_in
from llm_policies.objects import Object, Stack
from llm_policies.values import Doubt, hidden


def readable_containers(item: Object) -> list[Container]:
    """Containers of an object; none where they are not known, which rules tell that judge it by itself."""
    try:
        return [container for pod in item.pods for container in pod.containers]
    except Doubt:
        return []


def from_config_map(stack: Stack, item: Object, container: Container, name: str) -> tuple[Object, str] | None:
    """The ConfigMap by which envFrom sets a variable of a container of `item`, and to what.

    None where none of the stack does, or where the container's own list or command line goes before it.

    Raises:
        Doubt: it depends on what is not known yet.
    """
    sources = container.value.get("envFrom").items()
    if not sources or name in container.assigned or any(own == name for own, _ in container.environment):
        return None
    for source in reversed(sources):  # the last goes before the others
        prefix, wanted = source.get("prefix").text() or "", source.get("configMapRef", "name").text()
        for other in stack.of("ConfigMap") if name.startswith(prefix) else ():
            if other.name == wanted and may_be_in(other, item.namespace):
                other.properties.get("metadata", "namespace").text()  # not known yet: a doubt
                value = hidden(other.properties.get("data", name.removeprefix(prefix))).text()
                if value is not None:
                    return other, value
    return None
