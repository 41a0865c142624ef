"""Which engines a Service leads to, and through what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.pods import Container, Pod
from llm_policies.routes import Backend, edges, is_a, referred
from llm_policies.values import Doubt, Undecided, Value

_Serving = tuple[Object, Pod, Mapping[str, str], list[Container]]


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
        self._read: dict[str, tuple[list[_Serving], list[Doubt]]] = {}
        for item in stack.objects:
            if item.kind in POD_BEARING:
                self._workloads.setdefault(item.namespace, []).append(item)

    def engines(self, backend: Backend) -> list[tuple[Object, Container]]:
        """As `reached`.

        Raises:
            Doubt: something on the way cannot be read.
        """
        found, doubts = self.reached(backend)
        if doubts:
            raise doubts[0]
        return found

    def reached(self, *backends: Backend) -> tuple[list[tuple[Object, Container]], list[Doubt]]:
        """The containers with an engine that backends lead to, each with its workload, and what cannot be read.

        Of what is not in the stack, nothing: it is judged with its own.

        Args:
            backends: with the port that is meant, or None for any.
        """
        found: list[tuple[Object, Container]] = []
        doubts: list[Doubt] = []
        for backend in backends:
            try:
                for target, one in self._services_of(backend, set()):
                    found += self._behind(target, one, doubts)
            except Doubt as doubt:
                doubts.append(doubt)
        return found, doubts

    def _services_of(self, backend: Backend, seen: set[int]) -> Iterator[tuple[Object, Backend]]:
        """What is behind TraefikServices, which may lead to others, also in circles."""
        target = self._targets.get((backend.kind, backend.namespace, backend.name))
        if target is None or (target.kind == "TraefikService" and id(target) in seen):
            return
        if target.kind != "TraefikService":
            yield target, backend
            return
        seen.add(id(target))
        for one in _of_traefik(target):
            yield from self._services_of(one, seen)

    def _behind(self, target: Object, backend: Backend, doubts: list[Doubt]) -> list[tuple[Object, Container]]:
        spec = target.properties.get("spec")
        selector, ports = spec.get("selector"), None
        if target.kind == "InferencePool":
            inner = selector.get("matchLabels")
            selector = inner if inner.raw is not None else selector
        else:
            ports = _target_ports(spec, backend.port)
        wanted = {key: value.text() for key, value in selector.pairs()}
        found: list[tuple[Object, Container]] = []
        if not wanted:
            return found  # its endpoints come from elsewhere
        serving, unread = self._serving(target.namespace)
        doubts += unread
        for workload, pod, labels, engines in serving:
            # What is known first: there are as many Services as workloads.
            if any(key in labels and labels[key] != text for key, text in wanted.items()):
                continue
            try:
                if has_labels(pod, wanted):
                    found += [(workload, engine) for engine in engines if _listens(engine, pod, ports)]
            except Doubt as doubt:
                doubts.append(doubt)
        return found

    def _serving(self, namespace: str) -> tuple[list[_Serving], list[Doubt]]:
        """The pods of a namespace that have engines, read once, and what cannot be read."""
        if namespace not in self._read:
            serving: list[_Serving] = []
            doubts: list[Doubt] = []
            for workload in self._workloads.get(namespace, []):
                try:
                    for pod in workload.pods:
                        engines = [engine for engine in pod.engines if engine.serves]
                        if engines:
                            _ = (
                                pod.labels
                            )  # a doubt about them is told here, and keeps none beside it from being judged
                            serving.append((workload, pod, pod.labels, engines))
                except Doubt as doubt:
                    doubts.append(doubt)
            self._read[namespace] = serving, doubts
        return self._read[namespace]


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


def _listens(engine: Container, pod: Pod, ports: list[Value] | None) -> bool:
    """Whether one of `ports` is the engine's: not one of another container, as of a proxy that asks for a key."""
    if ports is None:
        return True
    for port in ports:
        wanted = port.raw if isinstance(port.raw, str) and not port.raw.isdecimal() else _number(port)
        owners = {id(container) for container in pod.main_containers if wanted in _ports(container)}
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
