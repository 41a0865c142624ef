"""The committed production stack on two real nodes: answers, isolation, and a node that is drained and comes back.

The tests build on each other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_stack import Stack, eventually

from lab.lab import Lab

MODELS = ("general", "korean", "fast")
IMAGE = "docker.io/vllm/vllm-openai:v0.33.0"


@pytest.fixture(scope="module")
def prod(lab: Lab, project: Path) -> Iterator[Stack]:
    """The production stack, not yet brought up."""
    stack = Stack(lab, project, name="prod")
    yield stack
    stack.make("down")


def stranger(namespace: str) -> dict[str, Any]:
    """A pod of somebody else's that only waits for what it is told to do."""
    restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "namespace": namespace},
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {"name": "main", "image": IMAGE, "command": ["sleep", "3600"], "securityContext": restricted}
            ],
        },
    }


def test_make_up_ends_with_an_answer_of_each_model(prod: Stack) -> None:
    said = prod.make("up")
    answers = [line.removeprefix("It answers: ") for line in said.splitlines() if line.startswith("It answers: ")]
    assert len(answers) == len(MODELS), said
    assert all(answer.strip() for answer in answers), said
    assert "sk-" not in said
    assert "warning: models.general.model: meta-llama/Llama-3.3-70B-Instruct is gated" in said


def test_a_second_preview_changes_nothing(prod: Stack) -> None:
    assert prod.steps() == []


def test_every_model_has_the_gpus_that_were_planned(prod: Stack) -> None:
    pods = json.loads(prod.lab.kubectl("get", "pods", "-n", "llm", "-o", "json"))["items"]
    found = {
        pod["metadata"]["labels"]["app.kubernetes.io/instance"]: (
            pod["spec"]["nodeName"],
            pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"],
        )
        for pod in pods
        if "nvidia.com/gpu" in pod["spec"]["containers"][0].get("resources", {}).get("limits", {})
    }
    assert found == {"general": ("gpu-a", "4"), "korean": ("gpu-b", "2"), "fast": ("gpu-b", "1")}
    assert prod.get("deployment", "general")["spec"]["strategy"] == {"type": "Recreate"}


@pytest.mark.parametrize("namespace", ["default", "llm"])
def test_nobody_reaches_an_engine_around_the_gateway(prod: Stack, namespace: str) -> None:
    prod.lab.kubectl("apply", "-f", "-", stdin=json.dumps(stranger(namespace)))
    prod.lab.kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/stranger", "--timeout=60s")
    # A new pod is let nowhere until its node knows it: what is open must be seen first, or closed means nothing.
    eventually(lambda: reaches(prod, namespace, "kube-dns.kube-system.svc", 53), 30, "cluster DNS reached")
    for model in MODELS:
        assert not reaches(prod, namespace, f"{model}.llm.svc", 8000), model
    prod.lab.kubectl("delete", "pod", "-n", namespace, "stranger", "--wait=true")


def reaches(prod: Stack, namespace: str, host: str, port: int) -> bool:
    """Whether a new connection from the stranger to `host` is made."""
    command = f"nc -w 2 {host} {port} </dev/null >/dev/null 2>&1 && echo open || echo closed"
    return prod.lab.kubectl("exec", "-n", namespace, "stranger", "--", "sh", "-c", command).strip() == "open"


def test_a_drained_node_gives_up_its_models_and_gets_them_back(prod: Stack) -> None:
    """Disruption budgets let a node go, also where a model has one pod; its volume brings it back to the same node."""
    prod.lab.kubectl("drain", "gpu-b", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=120s")
    assert phases(prod)["korean"] == "Pending"
    assert phases(prod)["general"] == "Running"
    prod.lab.kubectl("uncordon", "gpu-b")
    eventually(
        lambda: prod.get("deployment", "korean")["status"].get("readyReplicas") == 1, 90, "the Korean model is back"
    )


def phases(prod: Stack) -> dict[str, str]:
    """Phase of the newest pod by model."""
    pods = json.loads(prod.lab.kubectl("get", "pods", "-n", "llm", "-o", "json"))["items"]
    newest = sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    return {pod["metadata"]["labels"]["app.kubernetes.io/instance"]: pod["status"]["phase"] for pod in newest}


def test_a_destroyed_stack_leaves_nothing_on_the_nodes(prod: Stack) -> None:
    prod.pulumi("destroy", "--yes")
    ours = "app.kubernetes.io/part-of=llm-serving"
    workloads = "deployments,daemonsets,statefulsets,services,ingresses,horizontalpodautoscalers"
    kinds = f"{workloads},secrets,configmaps,persistentvolumeclaims"
    assert prod.lab.kubectl("get", kinds, "-A", "-l", ours, "-o", "name").split() == []
    for node in ("gpu-a", "gpu-b"):
        assert not [label for label in prod.get("node", node)["metadata"]["labels"] if "llm-serving" in label]
    assert "llm" not in prod.lab.kubectl("get", "namespaces", "-o", "name").replace("namespace/", "").split()
