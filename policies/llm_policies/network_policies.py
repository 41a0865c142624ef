"""Rules about who reaches a model server inside the cluster."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property

from llm_policies.labels import plainly_differ, untold
from llm_policies.objects import Object, Stack
from llm_policies.pods import Container, Pod
from llm_policies.rule import Context, Rule, Said
from llm_policies.values import Doubt, Value

_CALICO = ("projectcalico.org", "crd.projectcalico.org")
_CALICO_PAIR = re.compile(r"""\s*([\w./-]+)\s*==\s*(?:'([^']*)'|"([^"]*)")\s*""")
_CLUSTER_WIDE = ("GlobalNetworkPolicy", "CiliumClusterwideNetworkPolicy")
_USUAL_PORTS: dict[str | None, int] = {"vllm": 8000, "sglang": 30000, "ollama": 11434, "llamacpp": 8080, "tgi": 80}
_POLICIES = ("NetworkPolicy", "CiliumNetworkPolicy", *_CLUSTER_WIDE)


def _unprotected(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    policies = [_Policy(item) for item in stack.of(*_POLICIES)]
    for workload in stack.workloads():
        if workload.kind in ("Job", "CronJob"):
            continue  # nothing listens there for others
        try:
            is_anywhere = untold(workload, "namespace") is not None
            there = [policy for policy in policies if is_anywhere or policy.may_be_in(workload.namespace)]
            for pod in workload.pods:
                if pod.engines:
                    yield from ((workload, said) for said in _judged(workload, pod, there))
        except Doubt as doubt:
            yield workload, doubt


def _judged(workload: Object, pod: Pod, policies: list[_Policy]) -> Iterator[Said]:
    doubts: list[Doubt] = []
    closed, opened = False, ""
    for policy in policies:
        try:
            if policy.closes and policy.selects(pod):
                policy.meet(workload)
                closed = True
                opens = any(_lets_all_in(policy.item, engine) for engine in pod.engines)
                opened = opened or (policy.item.name if opens else "")
        except Doubt as doubt:
            doubts.append(doubt)
    if opened:
        yield (
            f"NetworkPolicy '{opened}' lets everyone in to '{workload.name}'; any pod can call the model API, past "
            "keys and limits of the edge. Say under 'from' who may."
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


def _closes_ingress(policy: Object) -> bool:
    """Whether it limits who comes in: by default it does, whatever it says of the way out."""
    spec = policy.properties.get("spec")
    if policy.kind.startswith("Cilium"):
        # With a list, also an empty one, all else is closed.
        return spec.get("ingress").raw is not None or spec.get("ingressDeny").raw is not None
    if policy.group in _CALICO:
        types = [kind.text() for kind in spec.get("types").items()]
        # Without types: Ingress, unless there are rules for the way out alone.
        return "Ingress" in types if types else spec.get("ingress").raw is not None or spec.get("egress").raw is None
    types = [kind.text() for kind in spec.get("policyTypes").items()]
    return not types or "Ingress" in types


class _Policy:
    """A policy whose selector is read once: there are as many policies as workloads."""

    def __init__(self, item: Object) -> None:
        self.item = item

    @cached_property
    def _is_cluster_wide(self) -> bool:
        return self.item.kind in _CLUSTER_WIDE

    @cached_property
    def _untold(self) -> Doubt | None:
        return untold(self.item, "namespace")

    def may_be_in(self, namespace: str) -> bool:
        """Whether it is for pods of `namespace`, or may be."""
        return self._is_cluster_wide or self.item.namespace == namespace or self._untold is not None

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
        return _closes_ingress(self.item)

    @cached_property
    def _selector(self) -> Value:
        key = "endpointSelector" if self.item.kind.startswith("Cilium") else "podSelector"
        # Without a selector: every pod of the namespace.
        return self.item.properties.get("spec", key)

    @cached_property
    def _match_labels(self) -> Value:
        return self._selector.get("matchLabels")

    @cached_property
    def _labels(self) -> list[tuple[str, str | None]]:
        return [(key, value.text()) for key, value in self._match_labels.pairs()]

    @cached_property
    def _expressions(self) -> list[tuple[str, str | None, list[str | None]]]:
        return [
            (e.get("key").text() or "", e.get("operator").text(), [value.text() for value in e.get("values").items()])
            for e in self._selector.get("matchExpressions").items()
        ]

    def selects(self, pod: Pod) -> bool:
        """Whether it selects a pod; an empty selector selects all.

        Raises:
            Doubt: it cannot be read, or a label that it asks for is not known yet.
        """
        if self.item.group in _CALICO:
            return _matches_calico(self.item.properties.get("spec", "selector").text() or "all()", pod)
        if plainly_differ(pod.written_labels.raw, self._match_labels.raw):
            return False
        return all(_label(pod, key) == text for key, text in self._labels) and all(
            _holds(_label(pod, key), operator, values) for key, operator, values in self._expressions
        )


def _holds(label: str | None, operator: str | None, values: list[str | None]) -> bool:
    holds = {
        "In": label in values,
        "NotIn": label not in values,
        "Exists": label is not None,
        "DoesNotExist": label is None,
    }
    return operator in holds and holds[operator]


def _matches_calico(selector: str, pod: Pod) -> bool:
    """As `_matches`, of Calico's language; of it `all()` and `a == 'b' && ...` are read, and others select nothing."""
    if selector.strip() == "all()":
        return True
    pairs = [_CALICO_PAIR.fullmatch(part) for part in selector.split("&&")]
    return all(pair is not None and _label(pod, pair[1]) == (pair[2] or pair[3]) for pair in pairs)


def _label(pod: Pod, key: str) -> str | None:
    # Cilium says from where it has a label.
    return pod.written_labels.get(key.removeprefix("k8s:")).text()


def _lets_all_in(policy: Object, engine: Container) -> bool:
    """Whether some rule lets everyone in to the engine, so that the policy is as good as none."""
    if policy.group in _CALICO or policy.kind.startswith("Cilium"):
        return False  # they have more ways to say whom they let in than are read here
    own = _ports(engine)
    return any(_opens(rule, own) for rule in policy.properties.get("spec", "ingress").items())


def _opens(rule: Value, own: set[str | int | None]) -> bool:
    """Whether a rule lets everyone in to one of the ports `own`."""
    sources = rule.get("from").items()
    if sources and not any(_is_everyone(source) for source in sources):
        return False
    ports = [_port(port.get("port")) for port in rule.get("ports").items()]
    return not ports or any(port is None or port in own for port in ports)


def _is_everyone(source: Value) -> bool:
    block, namespaces, pods = source.get("ipBlock"), source.get("namespaceSelector"), source.get("podSelector")
    if block.raw is not None:
        return block.get("cidr").text() in ("0.0.0.0/0", "::/0") and not block.get("except").items()
    return namespaces.raw is not None and not namespaces.pairs() and not pods.pairs()


def _ports(engine: Container) -> set[str | int | None]:
    """Numbers and names of the ports that an engine has: its usual one, where it declares none."""
    ports = engine.value.get("ports").items()
    if not ports:
        return {_USUAL_PORTS.get(engine.engine)}
    return {port.get("containerPort").integer() for port in ports} | {port.get("name").text() for port in ports}


def _port(port: Value) -> str | int | None:
    """A port as a policy names it; None for every one."""
    return port.text() if isinstance(port.raw, str) else port.integer()


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
        "those with certain labels."
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
