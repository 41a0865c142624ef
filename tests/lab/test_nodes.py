"""A lab of two nodes is one cluster: pods, Services, volumes and policies across them, and each has its own GPUs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from lab.spec import LabSpec, NodeSpec
from toolchain.steps import StepFailed

IMAGE = "docker.io/vllm/vllm-openai:v0.33.0"
SPEC = LabSpec(
    nodes={"gpu-a": NodeSpec(gpus=2), "gpu-b": NodeSpec(gpus=4, gpu_model="NVIDIA L40S")}, images={"vllm": (IMAGE,)}
)


def pod(name: str, node: str, *, serves: bool = False, **spec: Any) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": IMAGE, **spec.pop("container", {})}
    if serves:
        spec["runtimeClassName"] = "nvidia"
        container |= {
            "args": ["m"],
            "readinessProbe": {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1},
        }
    else:
        container |= {"command": ["sleep", "3600"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 0, "containers": [container], **spec},
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of its own with two nodes, a server on the first and a client on the second."""
    made = Lab(tmp_path_factory.mktemp("two-nodes"), forward=False)
    try:
        made.up(SPEC)
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "server"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 8000}]},
        }
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "models"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }
        client = pod(
            "client",
            "",
            runtimeClassName="nvidia",
            nodeSelector={"kubernetes.io/hostname": "gpu-b"},
            volumes=[{"name": "models", "persistentVolumeClaim": {"claimName": "models"}}],
            container={"volumeMounts": [{"name": "models", "mountPath": "/models"}]},
        )
        objects = [service, claim, pod("server", "gpu-a", serves=True), client, pod("other", "gpu-b")]
        made.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        made.kubectl("wait", "--for=condition=Ready", "pod/server", "pod/client", "pod/other", "--timeout=90s")
        yield made
    finally:
        made.down()


def asked(lab: Lab, client: str, address: str) -> str:
    """The first line that `address` answers to pod `client`, whatever it says; empty where nothing gets through."""
    host, _, port = address.partition(":")
    request = f"printf 'GET /health HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n' | nc -w 2 {host} {port}"
    try:
        return lab.kubectl("exec", client, "--", "sh", "-c", request).partition("\n")[0].strip()
    except StepFailed:
        return ""


def test_pods_reach_pods_services_and_names_of_the_other_node(two: Lab) -> None:
    server = json.loads(two.kubectl("get", "pod", "server", "-o", "json"))
    assert server["spec"]["nodeName"] == "gpu-a"
    assert server["status"]["podIP"].startswith("10.42.0.")
    service = json.loads(two.kubectl("get", "service", "server", "-o", "json"))
    for address in (f"{server['status']['podIP']}:8000", f"{service['spec']['clusterIP']}:80", "server.default.svc:80"):
        assert asked(two, "client", address), address


def test_each_node_has_its_own_gpus(two: Lab) -> None:
    seen = json.loads(two.kubectl("exec", "client", "--", "cat", "/run/nvidia-lab/gpus.json"))
    assert [gpu["name"] for gpu in seen["gpus"]] == ["NVIDIA L40S"] * 4
    assert two.run(["cat", "/run/nvidia-lab/gpus.json"]).count("uuid") == 2


def test_a_volume_is_on_the_node_of_its_pod(two: Lab) -> None:
    two.kubectl("exec", "client", "--", "sh", "-c", "echo kept > /models/file")
    assert two.run(["sh", "-c", "cat /var/lib/rancher/k3s/storage/*/file"], node="gpu-b") == "kept\n"
    with pytest.raises(StepFailed):
        two.run(["sh", "-c", "cat /var/lib/rancher/k3s/storage/*/file"])


def test_a_policy_holds_across_nodes(two: Lab) -> None:
    policy = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "server"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "server"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}]}],
        },
    }
    assert asked(two, "other", "server:80")
    two.kubectl("apply", "-f", "-", stdin=json.dumps(policy))
    until = time.monotonic() + 30
    while asked(two, "other", "server:80"):
        assert time.monotonic() < until, "the policy is not enforced"
    assert asked(two, "client", "server:80")


def test_a_node_that_the_spec_no_longer_names_is_gone(two: Lab) -> None:
    two.up(LabSpec(nodes={"gpu-a": SPEC.nodes["gpu-a"]}, images=SPEC.images))
    assert two.kubectl("get", "nodes", "-o", "name").split() == ["node/gpu-a"]
    assert [name for name in two.status().components if "gpu-b" in name] == []
    assert json.loads(two.kubectl("get", "pod", "server", "-o", "json"))["status"]["phase"] == "Running"


def test_down_leaves_nothing_of_any_node(two: Lab) -> None:
    two.up(SPEC)
    root = str(two.layout.root)
    two.down()
    assert root not in Path("/proc/mounts").read_text()
    assert not Path("/sys/class/net", two.layout.interface).exists()
    assert not two.layout.root.exists()
