"""Pods, and what they have in common for their containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property

from llm_policies.containers import Container, Role
from llm_policies.gpu_resources import is_gpu
from llm_policies.values import Doubt, Unsaid, Value

CONTAINER_LISTS: dict[str, Role] = {"initContainers": "init", "containers": "main", "ephemeralContainers": "ephemeral"}
"""Keys of a pod's specification that hold containers."""


@dataclass(frozen=True, eq=False)
class Pod:
    """A pod, or the template of pods."""

    template: Value
    """With `metadata` and `spec`."""

    owner_kind: str = "Pod"
    role: str = ""
    """Among several pods of an object whose containers have the same names."""

    _lists: dict[str, tuple[Container, ...]] = field(default_factory=dict)

    @cached_property
    def spec(self) -> Value:
        """Its specification."""
        return self.template.get("spec")

    @cached_property
    def written_labels(self) -> Value:
        """Its labels as they are written."""
        return self.template.get("metadata", "labels")

    @cached_property
    def labels(self) -> Mapping[str, str]:
        """Its labels, without those that are not known yet."""
        pairs = self.written_labels.pairs()
        return {key: value.raw for key, value in pairs if isinstance(value.raw, str) and not value.is_unknown}

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """Every container: those before, those that serve, those put in later."""
        return tuple(container for key in CONTAINER_LISTS for container in self.listed(key))

    def listed(self, key: str) -> tuple[Container, ...]:
        """The containers of one of CONTAINER_LISTS; a patch names those that it changes, and none where it has no list.

        Raises:
            Doubt: the list is unknown, or none.
        """
        if key not in self._lists:
            items: list[Value] = []
            with suppress(Unsaid):
                items = self.spec.get(key).items()
            self._lists[key] = tuple(Container(item, self, CONTAINER_LISTS[key]) for item in items)
        return self._lists[key]

    @property
    def main_containers(self) -> tuple[Container, ...]:
        """Containers that run as long as the pod, sidecars included."""
        return tuple(c for c in self.containers if c.role == "main" or c.is_sidecar)

    @property
    def engines(self) -> tuple[Container, ...]:
        """Containers that serve models.

        Raises:
            Doubt: none is known, and of one it cannot be told. One that is known decides, whatever stands beside it.
        """
        found: list[Container] = []
        doubts: list[Doubt] = []
        for container in self.main_containers:
            try:
                found += [container] if container.engine is not None else []
            except Doubt as doubt:
                doubts.append(doubt)
        if doubts and not found:
            raise doubts[0]
        return tuple(found)

    @cached_property
    def gpus(self) -> int:
        """GPUs of the pod, as the scheduler counts them: those of all containers, or of an init container if more."""
        return self.gpus_of(is_gpu)

    def gpus_of(self, counts: Callable[[str], bool]) -> int:
        """The same, of resources that `counts` says yes to."""
        main = sum(container.gpus_of(counts) for container in self.main_containers)
        return max([main, *(c.gpus_of(counts) for c in self.containers if c.role == "init" and not c.is_sidecar)])

    def volume(self, name: str) -> Value | None:
        """The volume of that name."""
        return next((v for v in self.spec.get("volumes").items() if v.get("name").raw == name), None)

    def mounted_at(self, container: Container, path: str) -> Value | None:
        """The volume that `container` has at `path`; None for none."""
        for mount in container.value.get("volumeMounts").items():
            if (mount.get("mountPath").text() or "").rstrip("/") == path:
                name = mount.get("name").text()
                return self.volume(name) if name else None
        return None

    def security(self, container: Container, key: str) -> Value:
        """A setting of securityContext: the container's own, else the pod's."""
        own = container.value.get("securityContext", key)
        return own if own.raw is not None else self.spec.get("securityContext", key)
