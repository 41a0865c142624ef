"""Monitoring on a real cluster: real Prometheus and adapter, and an autoscaler that follows a real load.

The tests build on each other.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from lab_stack import Stack, eventually

from lab.lab import Lab
from toolchain import gobuild
from toolchain.steps import StepFailed

_NAMESPACE = "monitoring"
_GRAFANA = "grafana.localhost"
_TARGET = 4
_CLIENTS = 12
# 5.6 GB at this speed and 20 s for the process: what a start is planned to take, and so the window of a scale-up.
_READ_MEGABYTES_PER_SECOND = 200
_CONFIG = {
    "nodes": {"workstation": {"gpus": {"model": "rtx-4090", "count": 2}}},
    "models": {
        "fast": {
            "engine": "vllm",
            "model": "Qwen/Qwen2.5-7B-Instruct-AWQ",
            "enforceEager": True,
            "autoscale": {"min": 1, "max": 2, "runningRequests": _TARGET, "scaleDownWindowSeconds": 15},
        }
    },
    "ingress": {"host": "localhost", "routes": {"/v1": "fast"}},
    "storage": {"readMegabytesPerSecond": _READ_MEGABYTES_PER_SECOND},
    "monitoring": {"scrapeIntervalSeconds": 5, "grafana": {"host": _GRAFANA}},
}


class Monitored(Stack):
    """The stack, and what an operator sees of it."""

    def prometheus(self, path: str) -> Any:
        """Data of Prometheus' API, by way of the API server as `kubectl port-forward` comes."""
        service = f"/api/v1/namespaces/{_NAMESPACE}/services/prometheus:9090/proxy/api/v1/{path}"
        return json.loads(self.lab.kubectl("get", "--raw", service))["data"]

    def query(self, promql: str) -> list[dict[str, Any]]:
        """What Prometheus answers to a query at this moment."""
        found: list[dict[str, Any]] = self.prometheus(f"query?{httpx.QueryParams({'query': promql})}")["result"]
        return found

    def grafana(self, path: str, password: str | None) -> httpx.Response:
        """What Grafana answers to its administrator with `password`, or to somebody without any."""
        auth = None if password is None else ("admin", password)
        return httpx.get(f"http://{self.lab.network.node}{path}", headers={"Host": _GRAFANA}, auth=auth, timeout=30)

    @property
    def password(self) -> str:
        """Grafana's password, as an operator reads it."""
        return self.pulumi("stack", "output", "grafanaPassword", "--show-secrets").stdout.strip()

    def replicas(self) -> int:
        """Pods that the autoscaler wants at this moment."""
        return int(self.get("deployment", "fast")["spec"]["replicas"])

    def can_reach(self, namespace: str, workload: str, host: str, port: int) -> bool:
        """Whether a new connection from a pod of `workload` to `host` is made."""
        command = f"nc -w 2 {host} {port} </dev/null >/dev/null 2>&1 && echo open || echo closed"
        return self.lab.kubectl("exec", "-n", namespace, workload, "--", "sh", "-c", command).strip() == "open"


@pytest.fixture(scope="module")
def stack(lab: Lab, project: Path) -> Iterator[Monitored]:
    """The stack, brought up as a person would."""
    made = Monitored(lab, project, name="monitored")
    made.file.write_text(yaml.safe_dump({"config": {f"llm-serving:{key}": value for key, value in _CONFIG.items()}}))
    made.make("up")
    yield made
    made.make("down")


def test_a_second_preview_changes_nothing(stack: Monitored) -> None:
    assert stack.steps() == []


def test_every_target_is_found_and_answers(stack: Monitored) -> None:
    def up() -> set[str]:
        targets = stack.prometheus("targets")["activeTargets"]
        return {target["labels"]["job"] for target in targets if target["health"] == "up"}

    eventually(lambda: up() == {"prometheus", "vllm", "dcgm", "traefik"}, 60, "every target up")
    [series] = stack.query('up{job="vllm"}')
    [pod] = json.loads(
        stack.lab.kubectl("get", "pods", "-n", "llm", "-l", "app.kubernetes.io/name=vllm", "-o", "json")
    )["items"]
    assert {key: series["metric"][key] for key in ("namespace", "pod", "server", "node")} == {
        "namespace": "llm",
        "pod": pod["metadata"]["name"],
        "server": "fast",
        "node": "workstation",
    }


def test_a_gpu_says_which_pod_has_it(stack: Monitored) -> None:
    used = {series["metric"].get("pod", "") for series in stack.query("DCGM_FI_DEV_FB_USED")}
    assert len(used) == 2
    assert {pod.partition("-")[0] for pod in used} == {"fast", ""}


def test_every_alert_is_evaluated_and_none_fires(stack: Monitored) -> None:
    [group] = stack.prometheus("rules")["groups"]
    assert {rule["name"] for rule in group["rules"]} == {
        "ModelServerDown",
        "RequestsWaiting",
        "GpuError",
        "GpuMemoryFull",
    }
    assert {(rule["health"], rule["state"]) for rule in group["rules"]} == {("ok", "inactive")}


def test_a_broken_gpu_is_told_with_its_number_and_node(stack: Monitored) -> None:
    file = stack.lab.layout.driver / "gpus.json"
    healthy = file.read_text()
    driver = json.loads(healthy)
    driver["gpus"][1]["xid"] = 79
    file.write_text(json.dumps(driver))
    try:
        eventually(lambda: bool(stack.query('ALERTS{alertname="GpuError"}')), 60, "the alert")
        [alert] = [
            alert for alert in stack.prometheus("alerts")["alerts"] if alert["labels"]["alertname"] == "GpuError"
        ]
        assert alert["annotations"]["summary"] == "GPU 1 of workstation has had XID error 79."
    finally:
        file.write_text(healthy)
    eventually(lambda: not stack.query('ALERTS{alertname="GpuError"}'), 60, "the end of the alert")


def test_grafana_shows_the_dashboard_to_whom_has_the_password(stack: Monitored) -> None:
    for password in (None, "admin"):
        assert stack.grafana("/api/search", password).status_code == 401
    found = stack.grafana("/api/search", stack.password).json()
    assert [dashboard["uid"] for dashboard in found] == ["llm-serving"]


def test_an_operator_gets_into_grafana_without_a_route(stack: Monitored) -> None:
    """As `kubectl port-forward` does it, past the closed network."""
    kubectl = [str(gobuild.program_path("kube")), "kubectl", f"--kubeconfig={stack.lab.kubeconfig}"]
    forward = [*kubectl, "port-forward", "-n", _NAMESPACE, "service/grafana", ":3000"]
    with subprocess.Popen(forward, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            said = process.stdout.readline()  # Forwarding from 127.0.0.1:40123 -> 3000
            port = int(said.partition("127.0.0.1:")[2].split()[0])
            answer = httpx.get(f"http://127.0.0.1:{port}/api/org", auth=("admin", stack.password), trust_env=False)
            assert answer.status_code == 200
        finally:
            process.terminate()


def test_every_diagram_has_something_to_draw(stack: Monitored) -> None:
    """Each query of the dashboard goes through Grafana's own datasource; after an answer each has a value."""
    stack.post("/v1/chat/completions", {"model": "fast", "messages": [{"role": "user", "content": "hi"}]})
    password = stack.password
    dashboard = stack.grafana("/api/dashboards/uid/llm-serving", password).json()["dashboard"]
    queries = [
        target["expr"].replace("$__rate_interval", "1m").replace("$server", ".*")
        for panel in dashboard["panels"]
        for target in panel.get("targets", [])
        if "ALERTS" not in target["expr"]
    ]
    assert len(queries) > 10

    def empty() -> list[str]:
        proxy = "/api/datasources/proxy/uid/prometheus/api/v1/query"
        answers = {q: stack.grafana(f"{proxy}?{httpx.QueryParams({'query': q})}", password).json() for q in queries}
        return [query for query, answer in answers.items() if not answer["data"]["result"]]

    eventually(lambda: empty() == [], 60, "a value for each query")


def test_the_api_server_trusts_the_adapter_and_gives_its_metric(stack: Monitored) -> None:
    api = json.loads(stack.lab.kubectl("get", "apiservice", "v1beta1.custom.metrics.k8s.io", "-o", "json"))
    assert "insecureSkipTLSVerify" not in api["spec"]
    path = "/apis/custom.metrics.k8s.io/v1beta1/namespaces/llm/pods/*/vllm_num_requests_running"

    def value() -> str:
        try:
            [item] = json.loads(stack.lab.kubectl("get", "--raw", path))["items"]
        except StepFailed:
            return "not known yet"
        assert item["describedObject"]["name"].startswith("fast-")
        return str(item["value"])

    # The adapter may not have looked since the first scrape, and the last request may have been under way at the last.
    eventually(lambda: value() == "0", 90, "nothing runs")


def test_nothing_is_reached_but_what_must_be(stack: Monitored) -> None:
    def address(service: str, namespace: str = _NAMESPACE) -> str:
        return str(stack.get("service", service, namespace)["spec"]["clusterIP"])

    api_server = address("kubernetes", "default")
    seen = {
        (who, whom): stack.can_reach(namespace, f"deploy/{who}", address, port)
        for namespace, who, whom, address, port in (
            (_NAMESPACE, "prometheus", "fast", address("fast", "llm"), 8000),
            (_NAMESPACE, "prometheus", "grafana", address("grafana"), 3000),
            (_NAMESPACE, "prometheus", "API server", api_server, 443),
            (_NAMESPACE, "grafana", "prometheus", address("prometheus"), 9090),
            (_NAMESPACE, "grafana", "fast", address("fast", "llm"), 8000),
            (_NAMESPACE, "grafana", "API server", api_server, 443),
            ("llm", "fast", "prometheus", address("prometheus"), 9090),
            ("llm", "fast", "grafana", address("grafana"), 3000),
        )
    }
    open_ways = {("prometheus", "fast"), ("prometheus", "API server"), ("grafana", "prometheus")}
    assert {way for way, is_open in seen.items() if is_open} == open_ways


@contextmanager
def load(stack: Monitored) -> Iterator[None]:
    """So many clients that ask for a long answer, again and again."""
    end = threading.Event()
    body: dict[str, Any] = {"model": "fast", "stream": True, "max_tokens": 40, "ignore_eos": True}
    body["messages"] = [{"role": "user", "content": "Go on."}]
    url = f"http://{stack.lab.network.node}/v1/chat/completions"

    def ask() -> None:
        while not end.is_set():
            try:
                with httpx.stream("POST", url, json=body, headers={"Host": "localhost"}, timeout=60) as response:
                    for _ in response.iter_lines():
                        if end.is_set():
                            return
            except httpx.HTTPError:
                time.sleep(1)  # a pod that comes or goes; the next request goes to another

    threads = [threading.Thread(target=ask) for _ in range(_CLIENTS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        end.set()
        for thread in threads:
            thread.join()


def test_pods_follow_the_load_up_after_their_window_and_down_again(stack: Monitored) -> None:
    # Half a second a token: requests run long enough to be counted. Last but one, as the next preview sees it.
    stack.lab.kubectl("set", "env", "-n", "llm", "deploy/fast", "LAB_VLLM_SIMULATOR_FLAGS=--inter-token-latency 500ms")
    stack.lab.kubectl("rollout", "status", "-n", "llm", "deploy/fast", "--timeout=120s")
    window = stack.get("hpa", "fast")["spec"]["behavior"]["scaleUp"]["stabilizationWindowSeconds"]
    assert window > 40
    eventually(lambda: stack.replicas() == 1, 60, "one pod")
    start = time.monotonic()  # before the load: the window begins with the first request that is counted
    with load(stack):
        eventually(lambda: bool(stack.query(f"vllm:num_requests_running > {_TARGET}")), 30, "the load in Prometheus")
        eventually(lambda: stack.replicas() == 2, window + 90, "a second pod")
        # Without its window the autoscaler would have acted within two of its rounds of 15 s.
        assert time.monotonic() - start >= window
        eventually(lambda: stack.get("deployment", "fast")["status"].get("readyReplicas") == 2, 60, "two pods ready")
        eventually(lambda: len(stack.query("vllm:num_requests_running > 0")) == 2, 60, "load on both pods")
    eventually(lambda: stack.replicas() == 1, 120, "one pod again")


def test_destroy_leaves_nothing(stack: Monitored) -> None:
    stack.pulumi("destroy", "--yes")
    ours = "app.kubernetes.io/part-of=llm-serving"
    kinds = "apiservices,clusterrolebindings,rolebindings,roles,networkpolicies,daemonsets,pods,hpa,pvc"
    assert stack.lab.kubectl("get", kinds, "-A", "-l", ours, "-o", "name").split() == []
    assert f"namespace/{_NAMESPACE}" not in stack.lab.kubectl("get", "namespaces", "-o", "name").split()
