"""Rules about who reaches a model server inside the cluster."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import Object, Stack
from llm_policies.rule import Context, Rule, Said
from llm_policies.selectors import matches
from llm_policies.values import Doubt


def _closes_ingress(policy: Object) -> bool:
    """Whether it limits who comes in: by default it does, whatever it says of the way out."""
    types = [kind.text() for kind in policy.properties.get("spec", "policyTypes").items()]
    return not types or "Ingress" in types


def _unprotected(stack: Stack, _: Context) -> Iterator[tuple[Object, Said]]:
    for workload in stack.workloads():
        if workload.kind in ("Job", "CronJob"):
            continue  # nothing listens there for others
        try:
            for pod in workload.pods:
                if pod.engines and not any(
                    policy.namespace == workload.namespace
                    and _closes_ingress(policy)
                    and matches(policy.properties.get("spec", "podSelector"), dict(pod.labels))
                    for policy in stack.of("NetworkPolicy")
                ):
                    yield (
                        workload,
                        f"no NetworkPolicy selects '{workload.name}'; any pod can call the model API, past keys and "
                        "limits of the edge. Add one that lets the gateway in.",
                    )
        except Doubt as doubt:
            yield workload, doubt


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
        "vLLM's protect some of its paths only."
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
