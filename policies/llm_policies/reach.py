"""Which engines a Service leads to, and through what."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.containers import Container
from llm_policies.kinds import edges, is_a, name_of, namespace_of
from llm_policies.labels import has, of_pod, untold
from llm_policies.objects import Object, Stack
from llm_policies.pods import Pod
from llm_policies.routes import Backend, referred
from llm_policies.selection import candidates
from llm_policies.values import Doubt, Undecided, Value


class Network:
    """The Services of a stack, and the pods behind them."""

    def __init__(self, stack: Stack) -> None:
        """Sort them, since every route asks for some."""
        self._stack = stack
        self._targets: dict[tuple[str, str | None], list[Object]] = {}
        for item in stack.of("Service", "TraefikService", "InferencePool"):
            if item.kind == "InferencePool" or is_a(item, item.kind):
                self._targets.setdefault((item.kind, name_of(item)), []).append(item)

    def engines(self, way: Backend | Object) -> list[tuple[Object, Container]]:
        """As `reached`.

        Raises:
            Doubt: something on the way cannot be read.
        """
        found, doubts = self.reached(way)
        if doubts:
            raise doubts[0]
        return found

    def reached(self, *ways: Backend | Object) -> tuple[list[tuple[Object, Container]], list[Doubt]]:
        """The containers with an engine that ways lead to, each with its workload, and what cannot be read.

        Of what is not in the stack, nothing: it is judged with its own.

        Args:
            ways: Services themselves, or what names one, with the port that is meant, or None for any.
        """
        found: list[tuple[Object, Container]] = []
        doubts: list[Doubt] = []
        for way in ways:
            try:
                if isinstance(way, Object):
                    found += self._behind(way, None, doubts)
                    continue
                for target, port, unsure in self._services_of(way, set()):
                    behind = self._behind(target, port, doubts)
                    if behind and unsure is not None:
                        raise unsure
                    found += behind
            except Doubt as doubt:
                doubts.append(doubt)
        return found, doubts

    def _meant(self, backend: Backend) -> list[tuple[Object, Doubt | None]]:
        """The objects that a backend may mean, each with why it may be another."""
        may_be: list[tuple[Object, Doubt | None]] = []
        for name in (backend.name, None):
            for item in self._targets.get((backend.kind, name), []):
                namespace = namespace_of(item)
                if None not in (name, namespace) and namespace == backend.namespace:
                    return [(item, None)]
                if None in (namespace, backend.namespace) or namespace == backend.namespace:
                    doubt = untold(item, "name") or untold(item, "namespace")
                    may_be.append((item, doubt or Undecided("metadata.namespace")))  # else the backend's
        return may_be

    def _services_of(self, backend: Backend, seen: set[int]) -> Iterator[tuple[Object, str | int | None, Doubt | None]]:
        """What is behind TraefikServices, which may lead to others, also in circles."""
        for target, unsure in self._meant(backend):
            if target.kind != "TraefikService":
                yield target, backend.port, unsure
            elif id(target) not in seen:
                seen.add(id(target))
                for one in _of_traefik(target):
                    for service, port, doubt in self._services_of(one, seen):
                        yield service, port, unsure or doubt

    def _behind(self, target: Object, port: str | int | None, doubts: list[Doubt]) -> list[tuple[Object, Container]]:
        spec = target.properties.get("spec")
        selector, ports = spec.get("selector"), None
        if target.kind == "InferencePool":
            inner = selector.get("matchLabels")
            selector = inner if inner.raw is not None else selector
        else:
            ports = _target_ports(spec, port)
        found: list[tuple[Object, Container]] = []
        if not selector.pairs():
            return found  # its endpoints come from elsewhere
        for workload in candidates(self._stack, namespace_of(target), selector):
            try:
                behind = [
                    (workload, engine)
                    for pod in workload.pods
                    for engine in _serving(workload, pod, selector)
                    if _listens(engine, ports)
                ]
                doubt = untold(target, "namespace") or untold(workload, "namespace")
                if behind and doubt is not None:
                    raise doubt
                found += behind
            except Doubt as unread:
                doubts.append(unread)
        return found


def _serving(workload: Object, pod: Pod, selector: Value) -> list[Container]:
    """The engines of a pod that answer requests, if it is selected: what the labels of others are need not be known."""
    engines = [engine for engine in pod.engines if engine.serves]
    return engines if engines and has(of_pod(workload, pod), selector) else []


def _of_traefik(service: Object) -> Iterator[Backend]:
    """Where a TraefikService sends requests, and copies of them."""
    spec = service.properties.get("spec")
    mirroring = spec.get("mirroring")
    members = [
        *spec.get("weighted", "services").items(),
        *spec.get("highestRandomWeight", "services").items(),
        *mirroring.get("mirrors").items(),
        *([mirroring] if mirroring.raw is not None else []),
    ]
    for member in members:
        yield from referred(service, member)


def _target_ports(spec: Value, port: str | int | None) -> list[Value] | None:
    """The pods' ports behind a Service's port, or behind all; None where any may be meant."""
    found = []
    for one in spec.get("ports").items():
        number, target = one.get("port"), one.get("targetPort")
        if port in (None, number.integer(), str(number.integer()), one.get("name").text()):
            found.append(number if target.raw is None else target)
    return found or None


def _listens(engine: Container, ports: list[Value] | None) -> bool:
    """Whether one of `ports` is the engine's: not one of another container, as of a proxy that asks for a key."""
    if ports is None:
        return True
    for port in ports:
        wanted = port.raw if isinstance(port.raw, str) and not port.raw.isdecimal() else _number(port)
        owners = {id(container) for container in engine.pod.main_containers if wanted in _ports(container)}
        # Containers need not say where they listen.
        if not owners or id(engine) in owners:
            return True
    return False


def _number(port: Value) -> int | None:
    return int(port.raw) if isinstance(port.raw, str) and len(port.raw) < 6 else port.integer()


def _ports(container: Container) -> set[str | int | None]:
    ports = container.value.get("ports").items()
    return {port.get("containerPort").integer() for port in ports} | {port.get("name").text() for port in ports}


def services(stack: Stack) -> list[Object]:
    """The Services of Kubernetes itself."""
    return edges(stack, "Service")
