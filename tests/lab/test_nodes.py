"""A lab of two nodes is one cluster: pods, Services, volumes and policies across them, and each has its own GPUs."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.lab import Lab
from lab.layout import CONTAINERD_SOCKET
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


def service(name: str) -> dict[str, Any]:
    """The Service of pod `name`."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 8000}]},
    }


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of its own with two nodes: a server on each, and clients on the second."""
    made = Lab(tmp_path_factory.mktemp("two-nodes"), forward=False)
    try:
        made.up(SPEC)
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
        backend = {"service": {"name": "far", "port": {"number": 80}}}
        route = {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"name": "far"},
            "spec": {"rules": [{"http": {"paths": [{"path": "/health", "pathType": "Exact", "backend": backend}]}}]},
        }
        pods = [pod("server", "gpu-a", serves=True), pod("far", "gpu-b", serves=True), client, pod("other", "gpu-b")]
        objects = [service("server"), service("far"), route, claim, *pods]
        made.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
        made.kubectl(
            "wait", "--for=condition=Ready", *(f"pod/{item['metadata']['name']}" for item in pods), "--timeout=90s"
        )
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


def http_status(url: str, token: str, authority: Path | None = None) -> int:
    """What `url` answers to this machine, which asks with `token` where it is not empty."""
    context = ssl.create_default_context(cafile=authority) if authority else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    try:
        with direct.open(urllib.request.Request(url, headers=headers), timeout=10) as answer:  # noqa: S310 - our URL
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_pods_reach_pods_services_and_names_of_the_other_node(two: Lab) -> None:
    server = json.loads(two.kubectl("get", "pod", "server", "-o", "json"))
    assert server["spec"]["nodeName"] == "gpu-a"
    assert server["status"]["podIP"].startswith("10.42.0.")
    service = json.loads(two.kubectl("get", "service", "server", "-o", "json"))
    for address in (
        *(f"{server['status']['podIP']}:8000", f"{service['spec']['clusterIP']}:80"),
        *("server.default.svc:80", "kubernetes.default.svc:443"),
    ):
        assert asked(two, "client", address), address
    far = json.loads(two.kubectl("get", "pod", "far", "-o", "json"))
    assert far["status"]["podIP"].startswith("10.42.1.")
    assert asked(two, "server", f"{far['status']['podIP']}:8000")


def test_the_edge_reaches_pods_of_the_other_node(two: Lab) -> None:
    until = time.monotonic() + 30
    while (status := http_status(f"http://{two.network.node}/health", "")) != 200:
        assert time.monotonic() < until, f"the edge answers {status}"
        time.sleep(0.2)  # the edge learns of the route a moment after the API server does


def test_every_kubelet_gives_metrics_to_whom_may_read_them_alone(two: Lab) -> None:
    two.kubectl("create", "serviceaccount", "scraper")
    two.kubectl("create", "clusterrole", "scraper", "--verb=get", "--resource=nodes/metrics")
    two.kubectl("create", "clusterrolebinding", "scraper", "--clusterrole=scraper", "--serviceaccount=default:scraper")
    scraper, other = (two.kubectl("create", "token", account).strip() for account in ("scraper", "default"))
    for node in json.loads(two.kubectl("get", "nodes", "-o", "json"))["items"]:
        address = next(item["address"] for item in node["status"]["addresses"] if item["type"] == "InternalIP")
        for path in ("metrics/cadvisor", "metrics/resource"):
            url = f"https://{address}:10250/{path}"
            answers = [http_status(url, token, two.layout.pki / "ca.crt") for token in (scraper, other, "")]
            assert answers == [200, 403, 401], url


def test_each_node_has_its_own_gpus(two: Lab) -> None:
    seen = json.loads(two.kubectl("exec", "client", "--", "cat", "/run/nvidia-lab/gpus.json"))
    assert [gpu["name"] for gpu in seen["gpus"]] == ["NVIDIA L40S"] * 4
    assert two.run(["cat", "/run/nvidia-lab/gpus.json"]).count("uuid") == 2


def test_each_node_has_its_own_images_and_name(two: Lab) -> None:
    for node in SPEC.nodes:
        assert two.run(["hostname"], node=node) == f"{node}\n"
        images = two.run(
            ["ctr", "--address", str(CONTAINERD_SOCKET), "-n", "k8s.io", "images", "list", "-q"], node=node
        )
        assert IMAGE in images.splitlines()


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
    assert undisturbed(two, "server")


def test_a_node_that_the_spec_names_again_takes_pods(two: Lab) -> None:
    two.up(SPEC)
    two.kubectl("apply", "-f", "-", stdin=json.dumps(pod("late", "gpu-b")))
    two.kubectl("wait", "--for=condition=Ready", "pod/late", "--timeout=60s")
    assert undisturbed(two, "server")


def test_down_leaves_nothing_of_any_node(two: Lab) -> None:
    root, group = str(two.layout.root), Path(two.layout.cgroup).name
    assert len(processes_of(group)) > 20
    two.down()
    assert processes_of(group) == []
    assert root not in Path("/proc/mounts").read_text()
    assert not Path("/sys/class/net", two.layout.interface).exists()
    assert [str(folder) for folder in Path("/sys/fs/cgroup").glob(f"**/{group}")] == []
    assert not two.layout.root.exists()


def undisturbed(lab: Lab, name: str) -> bool:
    """Whether pod `name` runs as it was first started."""
    (container,) = json.loads(lab.kubectl("get", "pod", name, "-o", "json"))["status"]["containerStatuses"]
    return "running" in container["state"] and container["restartCount"] == 0


def processes_of(group: str) -> list[str]:
    """Processes of this machine that are in the control group `group`, or in one below it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = file.read_text()
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            continue
        if group in text:
            found.append(file.parent.name)
    return found
