"""Rules about objects that point at others by labels or names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache

from llm_policies.labels import matches, may_be_in, selects_all
from llm_policies.objects import POD_BEARING, Object, Stack
from llm_policies.pods import Pod
from llm_policies.rule import Context, Rule, Said
from llm_policies.scalers import SCALERS, owners
from llm_policies.selection import NOTHING, Meant, meant_by, meant_by_pairs, selected
from llm_policies.values import Doubt, Undecided, Value

_MONITORS = {"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}
_KINDS = ("Service", "PodDisruptionBudget", "NetworkPolicy", *_MONITORS, *sorted(SCALERS))

_OF_THE_CLUSTER = "kube-"
"""Begins the names of namespaces with pods that no stack makes."""

_MAKE_NO_PODS = frozenset(
    {
        *("traefik.io", "traefik.containo.us", "keda.sh", "cert-manager.io", "acme.cert-manager.io", "cilium.io"),
        *("networking.istio.io", "security.istio.io", "policy.linkerd.io", "kyverno.io", "bitnami.com"),
        *("external-secrets.io", "projectcalico.org", "crd.projectcalico.org", "inference.networking.x-k8s.io"),
        "monitoring.coreos.com",
    }
)
"""Groups of custom resources of which no pod is made; those of Kubernetes itself end in .k8s.io, or have no dot."""

_MAKE_PODS = frozenset(
    {
        *("monitoring.coreos.com/Prometheus", "monitoring.coreos.com/PrometheusAgent"),
        *("monitoring.coreos.com/Alertmanager", "monitoring.coreos.com/ThanosRuler"),
        *("keda.sh/ScaledJob", "gateway.networking.k8s.io/Gateway"),
    }
)
"""What pods are made of among them: Istio and Envoy Gateway deploy a proxy for each Gateway."""


def _makes_unseen_pods(item: Object) -> bool:
    """Whether pods come of it that are no objects of the stack: of a Helm release, or by an operator."""
    if f"{item.group}/{item.kind}" in _MAKE_PODS:
        return True
    is_foreign = "." in item.group and not item.group.endswith(".k8s.io") and item.group not in _MAKE_NO_PODS
    return is_foreign and not item.pods  # a LeaderWorkerSet's are seen, those of Volcano's Job are not


def _namespace(item: Object) -> str:
    """Its namespace; a Helm release has it elsewhere.

    Raises:
        Doubt: it is not known yet.
    """
    if item.group == "helm.sh":
        return item.properties.get("namespace").text() or "default"
    item.properties.get("metadata", "namespace").text()
    return item.namespace


@lru_cache(maxsize=1)  # each object that finds nothing asks for the same
def _makers(stack: Stack) -> list[Object]:
    return [item for item in stack.objects if _makes_unseen_pods(item)]


@lru_cache(maxsize=2)
def _made(stack: Stack, kinds: frozenset[str]) -> set[str]:
    """Namespaces that the stack makes, or in which it has something of `kinds`."""
    return {namespace.name for namespace in stack.of("Namespace")} | {item.namespace for item in stack.of(*kinds)}


def _unless_unseen(namespaces: Iterable[str], kinds: frozenset[str], stack: Stack, said: str) -> Said | None:
    """`said` of an object that finds nothing; None where what it means may be none of the stack's.

    Args:
        namespaces: where it looks.
        kinds: what it looks for.
    """
    there = set(namespaces)
    for maker in _makers(stack):
        if _namespace(maker) in there:
            return Undecided(f"what {maker.kind} '{maker.name}' makes")
    own = _made(stack, kinds)
    is_seen = all(name in own and not name.startswith(_OF_THE_CLUSTER) for name in there)
    return said if is_seen else None


def _nothing(item: Object, stack: Stack, meant: Meant, what: str) -> Said | None:
    """What to say of an object that selects no pod in its namespace."""
    elsewhere, _ = selected(stack, None, meant)
    if elsewhere:
        return (
            f"{item.kind}/{item.name} selects nothing in namespace '{item.namespace}', so {what}; such pods are in "
            f"'{elsewhere[0][0].namespace}'. Put it there."
        )
    said = f"{item.kind}/{item.name} selects nothing, so {what}. Write the labels of the pods that it is for."
    return _unless_unseen([item.namespace], POD_BEARING, stack, said)


def _pods(item: Object, stack: Stack, meant: Meant) -> list[Pod]:
    """The pods that it selects in its namespace.

    Raises:
        Doubt: it may select some.
    """
    found, doubts = selected(stack, _namespace(item), meant)
    if not found and doubts:
        raise doubts[0]
    return [pod for _, pod in found]


def _dangling(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    for item in stack.of(*_KINDS):
        try:
            if not owners(item):  # one that is made by another object is that one's
                yield from ((item, said) for said in _of(item, stack) if said is not None)
        except Doubt as doubt:
            yield item, doubt


def _of(item: Object, stack: Stack) -> Iterator[Said | None]:
    if item.kind == "Service":
        yield from _of_service(item, stack)
    elif item.kind in _MONITORS:
        yield from _of_monitor(item, stack)
    elif item.kind in SCALERS:
        yield from _of_scaler(item, stack)
    else:
        key, what = (
            ("podSelector", "it protects nothing")
            if item.kind == "NetworkPolicy"
            else ("selector", "it keeps no pod from being evicted")
        )
        selector = item.properties.get("spec", key)
        # A policy of all pods is for whatever comes; a budget without any selector is one of none.
        if selects_all(selector) and (item.kind == "NetworkPolicy" or selector.exists):
            return
        meant = meant_by(selector) if selector.exists else NOTHING
        if not _pods(item, stack, meant):
            yield _nothing(item, stack, meant, what)


def _of_service(item: Object, stack: Stack) -> Iterator[Said | None]:
    spec = item.properties.get("spec")
    selector = spec.get("selector")
    if not selector.pairs() or spec.get("type").text() == "ExternalName":
        return  # its endpoints come from elsewhere
    meant = meant_by_pairs(selector)
    pods = _pods(item, stack, meant)
    if not pods:
        yield _nothing(item, stack, meant, "it refuses every connection")
        return
    names = {name for pod in pods for name in _port_names(pod)}
    for port in spec.get("ports").items():
        # Raw, since it may be a number too, which needs no name.
        target = port.get("targetPort")
        name = target.text() if isinstance(target.raw, str) else None
        if name is not None and not name.isdecimal() and name not in names:
            yield (
                f"Service/{item.name}: targetPort '{name}' is no port of its pods, so every connection is refused. "
                "Name a port of a container."
            )


def _of_monitor(item: Object, stack: Stack) -> Iterator[Said | None]:
    spec = item.properties.get("spec")
    where = spec.get("namespaceSelector")
    anywhere = where.get("any").boolean() is True
    named = [_written(name) for name in where.get("matchNames").items()]
    namespaces = named or [_namespace(item)]
    ports: list[set[str | None]] = []  # of each that it selects
    if item.kind == "ServiceMonitor":
        for service in stack.of("Service"):
            inside = anywhere or any(may_be_in(service, namespace) for namespace in namespaces)
            if inside and matches(service.properties.get("metadata", "labels"), spec.get("selector")):
                ports.append({port.get("name").text() for port in service.properties.get("spec", "ports").items()})
    else:
        for namespace in [None] if anywhere else namespaces:
            found, doubts = selected(stack, namespace, meant_by(spec.get("selector")))
            if not found and doubts:
                raise doubts[0]
            ports += [_port_names(pod) for _, pod in found]
    if not ports:
        what, kinds = ("Services", frozenset({"Service"})) if item.kind == "ServiceMonitor" else ("pods", POD_BEARING)
        said = f"{item.kind}/{item.name} selects nothing, so nothing is scraped. Write the labels of the {what}."
        if not anywhere:
            yield _unless_unseen(namespaces, kinds, stack, said)
        return
    names = set().union(*ports)
    for endpoint in spec.get(_MONITORS[item.kind]).items():
        port = endpoint.get("port").text()
        if port is not None and port not in names:
            yield (
                f"{item.kind}/{item.name}: port '{port}' is none of what it selects, so nothing is scraped. Name a "
                "port that is there."
            )


def _written(value: Value) -> str:
    text = value.text()
    if text is None:
        raise value.malformed("a text")
    return text


def _of_scaler(item: Object, stack: Stack) -> Iterator[Said | None]:
    target = item.properties.get("spec", "scaleTargetRef")
    # KEDA's own default.
    kind, name = target.get("kind").text() or "Deployment", target.get("name").text()
    namespace = _namespace(item)
    doubts: list[Doubt] = []
    for other in stack.of(kind):
        try:
            if may_be_in(other, namespace) and other.properties.get("metadata", "name").text() == name:
                return
        except Doubt as doubt:
            doubts.append(doubt)
    if doubts:
        raise doubts[0]
    said = (
        f"{item.kind}/{item.name} scales {kind} '{name}', which is not there, so nothing is scaled. Name one that is."
    )
    yield _unless_unseen([namespace], POD_BEARING, stack, said)


def _port_names(pod: Pod) -> set[str | None]:
    return {port.get("name").text() for container in pod.containers for port in container.value.get("ports").items()}


_SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: chat}
spec:
  selector: {app: chat}
  ports: [{port: 8000}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
"""

DANGLING_SELECTOR = Rule(
    name="dangling-selector",
    title="What points at something finds it.",
    description=(
        "A Service whose labels no pod has refuses every connection; a budget, an autoscaler or a NetworkPolicy that "
        "finds nothing does nothing, without a word. Objects are held against those of the same stack, or the same "
        "files: where these make nothing in a namespace, or something else makes pods there (a Helm release, an "
        "operator), what an object means may be none of them."
    ),
    remediation="Write the labels (or the name, or the port) of what is meant.",
    severity="error",
    references=("kube-linter dangling-service, dangling-hpa, ...", "kube-score *-targets-*", "kubescape C-0298"),
    of_stack=_dangling,
    kinds=frozenset(_KINDS),
    bad=_SERVICE + '    {metadata: {labels: {app: chats}}, spec: {containers: [{name: vllm, image: "x:v1"}]}}\n',
    good=_SERVICE + '    {metadata: {labels: {app: chat}}, spec: {containers: [{name: vllm, image: "x:v1"}]}}\n',
)

RULES = (DANGLING_SELECTOR,)
