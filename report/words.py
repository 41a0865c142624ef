"""Resources in the words that people use for them."""

from __future__ import annotations

import re

from report.preview import Step

_KINDS = {
    "ConfigMap": "configuration",
    "CustomResourceDefinition": "resource definition",
    "DaemonSet": "pod on each node",
    "Deployment": "workload",
    "HorizontalPodAutoscaler": "autoscaler",
    "Ingress": "route",
    "NodePatch": "node labels",
    "PersistentVolumeClaim": "volume",
    "PodDisruptionBudget": "disruption budget",
    "StatefulSet": "workload",
}
"""Where the kind's own name would not tell a reader what it is; `NetworkPolicy` is network policy."""

THE_EDGE = "the edge"
"""There is one in a stack, so its name would tell nothing."""

_COMPONENTS = {
    "VllmServer": "vLLM server",
    "OllamaServer": "Ollama server",
    "LlmIngress": THE_EDGE,
    "GpuNode": "GPU node",
    "GpuRuntime": "GPU runtime",
}


def kind_in_words(kind: str) -> str:
    """`volume` of `PersistentVolumeClaim`."""
    return _KINDS.get(kind) or _split(kind)


def part_in_words(step: Step) -> tuple[str, str]:
    """The part of the service that a resource belongs to, and its name: (`vLLM server`, `chat`)."""
    if step.component_type is None or step.component is None:
        return "the stack", ""
    component = step.component_type.rpartition(":")[2]
    return _COMPONENTS.get(component) or _split(component), step.component


def _split(name: str) -> str:
    words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
    return " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words) or name
