"""Which engines a Service leads to, and through what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.pods import Container, Pod
from llm_policies.routes import Backend, edges, is_a
from llm_policies.values import Undecided, Value

_DEEPEST = 10
"""TraefikServices that lead to others; more is a circle."""


class Network:
    """The Services of a stack, and the pods behind them."""

    def __init__(self, stack: Stack) -> None:
        """Sort them, since every route asks for some."""
        self.stack = stack
        kinds = ("Service", "TraefikService", "InferencePool")
        self._targets = {
            (item.kind, item.namespace, item.name): item
            for item in stack.of(*kinds)
            if item.kind == "InferencePool" or is_a(item, item.kind)
        }
        self._workloads: dict[str, list[Object]] = {}
        for item in stack.objects:
            if item.kind in POD_BEARING:
                self._workloads.setdefault(item.namespace, []).append(item)

    def engines(self, backend: Backend, depth: int = 0) -> list[tuple[Object, Container]]:
        """The containers with an engine that a backend leads to, each with its workload.

        None where it is not in the stack: then it is judged with its own.

        Raises:
            Doubt: one of them cannot be read.
        """
        target = self._targets.get((backend.kind, backend.namespace, backend.name))
        if target is None or depth > _DEEPEST:
            return []
        spec = target.properties.get("spec")
        if target.kind == "TraefikService":
            return [engine for one in _of_traefik(spec, target) for engine in self.engines(one, depth + 1)]
        if target.kind == "InferencePool":
            selector = spec.get("selector")
            named = selector.get("matchLabels")
            return list(self._selected(target.namespace, named if named.raw is not None else selector, None))
        return list(self._selected(target.namespace, spec.get("selector"), _target_port(spec, backend.port)))

    def engines_of_ports(self, backend: Backend) -> list[tuple[Object, Container]]:
        """As `engines`, behind any of a Service's ports."""
        target = self._targets.get((backend.kind, backend.namespace, backend.name))
        ports = [] if target is None else target.properties.get("spec", "ports").items()
        found: dict[int, tuple[Object, Container]] = {}
        for port in ports:
            one = Backend(namespace=backend.namespace, name=backend.name, port=port.get("port").integer())
            found |= {id(engine): (workload, engine) for workload, engine in self.engines(one)}
        return list(found.values()) if ports else self.engines(backend)

    def _selected(self, namespace: str, selector: Value, port: Value | None) -> Iterator[tuple[Object, Container]]:
        wanted = {key: value.text() for key, value in selector.pairs()}
        if not wanted:
            return  # its endpoints come from elsewhere
        for workload in self._workloads.get(namespace, []):
            for pod in workload.pods:
                serving = [container for container in pod.engines if container.serves]
                if serving and has_labels(pod, wanted):
                    yield from ((workload, c) for c in serving if _listens(c, pod, port))


def has_labels(pod: Pod, wanted: Mapping[str, str | None]) -> bool:
    """Whether a pod has all of `wanted`.

    Raises:
        Undecided: one of them is not known yet, and all others fit.
    """
    own = pod.template.get("metadata", "labels")
    unknown = None
    for key, text in wanted.items():
        value = own.get(key)
        if value.is_unknown:
            unknown = value
        elif value.raw != text:
            return False
    if unknown is not None:
        raise Undecided(unknown.path)
    return True


def _of_traefik(spec: Value, owner: Object) -> Iterator[Backend]:
    """Where a TraefikService sends requests, and copies of them."""
    mirroring = spec.get("mirroring")
    members = [
        *spec.get("weighted", "services").items(),
        *spec.get("highestRandomWeight", "services").items(),
        *mirroring.get("mirrors").items(),
        *([mirroring] if mirroring.raw is not None else []),
    ]
    for member in members:
        name = member.get("name").text()
        if name is not None:
            raw = member.get("port").raw
            port = raw if isinstance(raw, str) else member.get("port").integer()
            namespace = member.get("namespace").text() or owner.namespace
            kind = member.get("kind").text() or "Service"
            yield Backend(namespace=namespace, name=name, port=port, kind=kind)


def _target_port(spec: Value, port: str | int | None) -> Value | None:
    """The pods' port behind a Service's port; None where any may be meant."""
    for one in spec.get("ports").items():
        number = one.get("port")
        if port is not None and port in (number.integer(), str(number.integer()), one.get("name").text()):
            target = one.get("targetPort")
            return number if target.raw is None else target
    return None


def _listens(engine: Container, pod: Pod, port: Value | None) -> bool:
    """Whether `port` is the engine's: not where it is another container's, such as a proxy's that asks for a key."""
    if port is None:
        return True
    wanted = port.raw if isinstance(port.raw, str) and not port.raw.isdecimal() else _number(port)
    owners = {id(container) for container in pod.main_containers if wanted in _ports(container)}
    # Containers need not say where they listen.
    return not owners or id(engine) in owners


def _number(port: Value) -> int | None:
    return int(port.raw) if isinstance(port.raw, str) and len(port.raw) < 6 else port.integer()


def _ports(container: Container) -> set[str | int | None]:
    ports = container.value.get("ports").items()
    return {port.get("containerPort").integer() for port in ports} | {port.get("name").text() for port in ports}


def services(stack: Stack) -> list[Object]:
    """The Services of Kubernetes itself."""
    return edges(stack, "Service")
