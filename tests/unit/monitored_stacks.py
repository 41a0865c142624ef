"""Stack files with monitoring, and what MonitoringStack registers for them."""

from __future__ import annotations

import pytest
from on_mocks import Deployed, Raw, Registration
from small_stacks import node, ollama, vllm

AUTOSCALED = vllm(autoscale={"min": 1, "max": 2, "runningRequests": 9, "scaleDownWindowSeconds": 120})

WHOLE: Raw = {
    "nodes": {"a": node(count=3), "w": node(platform="wsl2", slices=2)},
    "models": {"fast": AUTOSCALED, "chat": vllm(), "help": ollama()},
    "monitoring": {"grafana": {"host": "grafana.example.com", "tlsSecretName": "grafana-tls"}, "storage": "5Gi"},
    "namespace": "models",
    "storage": {"className": "fast-disk", "accessMode": "ReadWriteMany"},
}
PLAIN: Raw = {"nodes": {"a": node()}, "models": {"chat": vllm()}, "monitoring": {"namespace": "watch"}}
BARE: Raw = {
    "nodes": {"a": node(platform="wsl2")},
    "models": {"help": ollama()},
    "monitoring": {"grafana": None},
}
STACKS = {"whole": WHOLE, "plain": PLAIN, "bare": BARE}

every_stack = pytest.mark.parametrize("raw", STACKS.values(), ids=STACKS.keys())


def ours(found: Deployed) -> list[Registration]:
    """Everything that the component made."""
    [component] = found.of("MonitoringStack")
    return [r for r in found.resources if r.parent == component.urn]


def pods(found: Deployed) -> dict[str, Raw]:
    """Its pods by application."""
    urns = {r.urn for r in ours(found)}
    return {r.inputs["metadata"]["name"]: pod for r, pod in found.pods() if r.urn in urns}
