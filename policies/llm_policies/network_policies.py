"""Rules about who reaches a model server inside the cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from llm_policies.containers import Container
from llm_policies.engine_ports import ports_of
from llm_policies.labels import has, matches, of_pod, selects_all, untold
from llm_policies.objects import Object, Stack
from llm_policies.pods import Pod
from llm_policies.rule import Context, Rule, Said
from llm_policies.selection import candidates
from llm_policies.values import Doubt, Value

_CALICO = ("projectcalico.org", "crd.projectcalico.org")
_CALICO_PAIR = re.compile(r"""\s*([\w./-]+)\s*==\s*(?:'([^']*)'|"([^"]*)")\s*""")
_CLUSTER_WIDE = ("GlobalNetworkPolicy", "CiliumClusterwideNetworkPolicy")
_POLICIES = ("NetworkPolicy", "CiliumNetworkPolicy", *_CLUSTER_WIDE)
_NAMESPACE_NAME = "kubernetes.io/metadata.name"
"""The label that every namespace has."""

_OF_CILIUM = ("io.kubernetes.pod.namespace", f"io.cilium.k8s.namespace.labels.{_NAMESPACE_NAME}")
"""Labels that Cilium gives to pods: their namespace."""

_Callers = tuple[str, str]
"""All of them, and any one of them."""

_PODS: _Callers = ("everyone", "any pod")
_ENTITIES: dict[str | None, _Callers] = {
    "all": _PODS,
    "cluster": _PODS,
    "world": ("all the world", "anyone outside the cluster"),
}
"""What Cilium calls those who may come in."""


def _unprotected(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    policies: dict[int, list[_Policy]] = {}
    for policy in (_Policy(item, spec) for item in stack.of(*_POLICIES) for spec in _specs(item)):
        for workload in policy.candidates(stack):
            policies.setdefault(id(workload), []).append(policy)
    for workload in stack.workloads():
        if workload.kind in ("Job", "CronJob"):
            continue  # nothing listens there for others
        try:
            for pod in workload.pods:
                if pod.engines:
                    yield from ((workload, said) for said in _judged(workload, pod, policies.get(id(workload), [])))
        except Doubt as doubt:
            yield workload, doubt


def _judged(workload: Object, pod: Pod, policies: list[_Policy]) -> Iterator[Said]:
    doubts: list[Doubt] = []
    closed = False
    opened: list[tuple[str, _Callers]] = []
    for policy in policies:
        try:
            if policy.closes and policy.selects(workload, pod):
                policy.meet(workload)
                closed = True
                opened += [(policy.item.name, callers) for engine in pod.engines for callers in policy.lets_in(engine)]
        except Doubt as doubt:
            doubts.append(doubt)
    if opened:
        name, (all_of_them, any_of_them) = opened[0]
        yield (
            f"NetworkPolicy '{name}' lets {all_of_them} in to '{workload.name}'; {any_of_them} can call the model API, "
            "past keys and limits of the edge. Say under 'from' who may."
        )
    elif not closed and not doubts and not _is_left_out(pod.written_labels):
        yield (
            f"no NetworkPolicy selects '{workload.name}'; any pod can call the model API, past keys and "
            "limits of the edge. Add one that lets the gateway in."
        )
    elif not closed:
        yield from doubts


def _is_left_out(labels: Value) -> bool:
    """Whether a patch says nothing of them, so that policies for the pods may be elsewhere."""
    return labels.partial and labels.raw is None


def _is_of_cilium(policy: Object) -> bool:
    return policy.kind.startswith("Cilium")


def _specs(policy: Object) -> list[Value]:
    """What a policy says; one of Cilium may say several things."""
    spec, specs = policy.properties.get("spec"), policy.properties.get("specs")
    if not _is_of_cilium(policy):
        return [spec]
    try:
        several = specs.items() if specs.raw is not None else []
    except Doubt:
        return [specs]  # told when it is read
    return [*several, *([spec] if spec.raw is not None else [])]


class _Policy:
    """What a policy says, read once."""

    def __init__(self, item: Object, spec: Value) -> None:
        self.item = item
        self._spec = spec

    @cached_property
    def _is_cluster_wide(self) -> bool:
        return self.item.kind in _CLUSTER_WIDE

    @cached_property
    def _untold(self) -> Doubt | None:
        return untold(self.item, "namespace")

    def candidates(self, stack: Stack) -> list[Object]:
        """The workloads that it may be for: there are as many as policies."""
        try:
            written = self._selector.get("matchLabels").pairs()
            pairs = Value({key: value.raw for key, value in written if key not in _OF_CILIUM})
        except Doubt:
            pairs = Value(None)  # told of those that it is asked of
        is_anywhere = self._is_cluster_wide or self._untold is not None
        return candidates(stack, None if is_anywhere else self.item.namespace, pairs)

    def meet(self, workload: Object) -> None:
        """See that it surely is for pods of the workload's namespace.

        Raises:
            Doubt: it may be.
        """
        doubt = self._untold or untold(workload, "namespace")
        if doubt is not None and not self._is_cluster_wide:
            raise doubt

    @cached_property
    def closes(self) -> bool:
        """Whether it limits who comes in: by default it does, whatever it says of the way out."""
        spec = self._spec
        if _is_of_cilium(self.item):
            # With a list, also an empty one, all else is closed.
            return spec.get("ingress").raw is not None or spec.get("ingressDeny").raw is not None
        if self.item.group in _CALICO:
            types = [kind.text() for kind in spec.get("types").items()]
            # Without types: Ingress, unless there are rules for the way out alone.
            only_out = spec.get("ingress").raw is None and spec.get("egress").raw is not None
            return "Ingress" in types if types else not only_out
        types = [kind.text() for kind in spec.get("policyTypes").items()]
        return not types or "Ingress" in types

    @cached_property
    def _selector(self) -> Value:
        # Without a selector: every pod of the namespace.
        if not _is_of_cilium(self.item):
            return self._spec.get("podSelector")
        selector = self._spec.get("endpointSelector")
        labels = {_key(key): value.raw for key, value in selector.get("matchLabels").pairs()}
        expressions = [
            {**expression.raw, "key": _key(expression.get("key").text() or "")}
            for expression in selector.get("matchExpressions").items()
        ]
        return selector.replaced({"matchLabels": labels, "matchExpressions": expressions})

    def selects(self, workload: Object, pod: Pod) -> bool:
        """Whether it selects a pod of a workload; an empty selector selects all.

        Raises:
            Doubt: it cannot be read, or a label that it asks for is not known yet.
        """
        labels = of_pod(workload, pod)
        if self.item.group in _CALICO:
            return _matches_calico(self._spec.get("selector").text() or "all()", labels)
        return matches(_in_cilium(labels, workload) if _is_of_cilium(self.item) else labels, self._selector)

    def lets_in(self, engine: Container) -> Iterator[_Callers]:
        """Of whom it lets all in to the engine, so that it is as good as none.

        Calico has more ways to say whom it lets in than are read here.
        """
        own = ports_of(engine)
        for rule in self._spec.get("ingress").items() if self.item.group not in _CALICO else []:
            if _is_of_cilium(self.item):
                entities = [entity.text() for entity in rule.get("fromEntities").items()]
                callers = next((_ENTITIES[entity] for entity in entities if entity in _ENTITIES), None)
                ports = [port for one in rule.get("toPorts").items() for port in one.get("ports").items()]
            else:
                sources, ports = rule.get("from").items(), rule.get("ports").items()
                callers = _PODS if not sources or any(_is_everyone(source) for source in sources) else None
            if callers is not None and (not ports or any(_is_one_of(own, port) for port in ports)):
                yield callers


def _matches_calico(selector: str, labels: Value) -> bool:
    """As `matches`, of Calico's language; of it `all()` and `a == 'b' && ...` are read, and others select nothing."""
    if selector.strip() == "all()":
        return True
    pairs = [_CALICO_PAIR.fullmatch(part) for part in selector.split("&&")]
    return all(pair is not None and has(labels, Value({pair[1]: pair[2] or pair[3]})) for pair in pairs)


def _in_cilium(labels: Value, workload: Object) -> Value:
    """The labels of a pod with those that Cilium gives it."""
    if not (labels.raw is None or isinstance(labels.raw, dict)):
        return labels  # told when it is read
    namespace = workload.properties.get("metadata", "namespace").raw or workload.home
    return labels.replaced({**(labels.raw or {}), **dict.fromkeys(_OF_CILIUM, namespace)})


def _key(key: str) -> str:
    """A label as Kubernetes has it: Cilium says from where it is."""
    return key.removeprefix("k8s:").removeprefix("any:")


def _is_everyone(source: Value) -> bool:
    block, namespaces, pods = source.get("ipBlock"), source.get("namespaceSelector"), source.get("podSelector")
    if block.raw is not None:
        return block.get("cidr").text() in ("0.0.0.0/0", "::/0") and not block.get("except").items()
    return namespaces.raw is not None and _is_every_namespace(namespaces) and selects_all(pods)


def _is_every_namespace(selector: Value) -> bool:
    demands = [(one.get("key").text(), one.get("operator").text()) for one in selector.get("matchExpressions").items()]
    return not selector.get("matchLabels").pairs() and set(demands) <= {(_NAMESPACE_NAME, "Exists")}


def _is_one_of(own: set[str | int | None], port: Value) -> bool:
    """Whether a port of a rule, or one up to its `endPort`, is one of an engine's `own`."""
    first, last = _port(port.get("port")), port.get("endPort").integer()
    if isinstance(first, str):
        return first in own
    if first is None:
        return True
    return any(isinstance(one, int) and first <= one <= (first if last is None else last) for one in own)


def _port(port: Value) -> str | int | None:
    """A port as a policy names it; None for every one. Cilium writes numbers as texts."""
    text = port.text() if isinstance(port.raw, str) else None
    if text is None:
        return port.integer()
    return int(text) if text.isdecimal() else text


_SERVER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    metadata: {labels: {app: chat}}
    spec: {containers: [{name: vllm, image: "vllm/vllm-openai:v0.33.0"}]}
"""

NETWORK_POLICY = Rule(
    name="network-policy",
    title="Model servers are reached by those alone who should.",
    description=(
        "Without a NetworkPolicy every pod of the cluster reaches the engine's port. Ollama has no keys at all, and "
        "vLLM's protect some of its paths only. Policies of Cilium count, and those of Calico that select all pods or "
        "those with certain labels; one that lets all pods in to the engine's port counts as none."
    ),
    remediation="Add a NetworkPolicy that selects the pods, with Ingress, and lets in the gateway and Prometheus.",
    severity="warn",
    references=(
        "kube-score pod-networkpolicy",
        "CKV2_K8S_6",
        "polaris missingNetworkPolicy",
        "kubescape C-0260",
        "NSA 3",
    ),
    of_stack=_unprotected,
    kinds=None,
    bad=_SERVER,
    good=_SERVER
    + """\
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: chat}
spec:
  podSelector: {matchLabels: {app: chat}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: gateway}}}]}]
""",
)

RULES = (NETWORK_POLICY,)
