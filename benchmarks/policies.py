"""How long the policy pack takes to start, and to judge a stack of a thousand objects, asked as Pulumi's engine asks.

    .venv/bin/python -m benchmarks.policies [--servers 100] [--runs 5]

A server is ten objects: a Deployment of 5 KB with an engine on two GPUs, and what stands around it. Each object is sent
to Analyze, then all to AnalyzeStack, over gRPC. CPU time is the pack's own process; where it is far below the wall
clock, the machine was busy with something else. Ends with 1 where a limit is passed.

The limits are of the pack's own CPU time, since the wall clock has as much again for the client here, which is Python
too. A pack without a rule is asked in turn with it: what gRPC and the reading of messages take is not the rules', and
how fast the machine is shows in both.

Seen with 52 rules and 1,000 objects on two cores of a virtual machine that is not alone on its host: in its good hours
0.9 ms of CPU for an object with all that gRPC takes, in bad ones 1.6 ms, of which the pack without rules had 0.9; the
rules took 0.4 to 0.7 ms. The start took 0.26 to 0.42 s. judge and judge_stack alone, in a process: 0.20 and 0.11 ms.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import (  # type: ignore[import-untyped]  # its stubs lie in a namespace package
    empty_pb2,
)
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from rich.console import Console
from rich.table import Table

from toolchain.paths import REPOSITORY

START_SECONDS = 0.5
"""Of CPU, to the line with the port."""

OBJECT_SECONDS = 0.001
"""Of CPU, for each object of a stack, by both questions together: what the rules add to a pack that has none."""

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Took:
    """Seconds of one part."""

    wall: float
    cpu: float
    """Of the pack's process."""


def server(name: str) -> list[tuple[str, dict[str, Any]]]:
    """Type and properties of the objects of one server that breaks no rule by much."""
    labels = {"app.kubernetes.io/name": "vllm", "app.kubernetes.io/instance": name, "app.kubernetes.io/part-of": "llm"}
    probe = {"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 10, "timeoutSeconds": 5}
    locked = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True}
    variables = [{"name": f"SETTING_{number}", "value": f"a value of some length {number}"} for number in range(30)]
    key = {"name": "VLLM_API_KEY", "valueFrom": {"secretKeyRef": {"name": f"{name}-key", "key": "key"}}}
    container = {
        "name": "vllm",
        "image": f"vllm/vllm-openai:v0.33.0@sha256:{'5e0b' * 16}",
        "args": ["org/model", "--tensor-parallel-size=2", "--max-model-len=8192", "--gpu-memory-utilization=0.9"],
        "env": [*variables, key],
        "ports": [{"name": "http", "containerPort": 8000}],
        "resources": {
            "limits": {"memory": "32Gi", "nvidia.com/gpu": "2"},
            "requests": {"cpu": "4", "memory": "32Gi", "nvidia.com/gpu": "2"},
        },
        "startupProbe": {**probe, "failureThreshold": 120},
        "readinessProbe": probe,
        "livenessProbe": {**probe, "failureThreshold": 6},
        "lifecycle": {"preStop": {"sleep": {"seconds": 15}}},
        "securityContext": locked,
        "volumeMounts": [
            {"name": "shm", "mountPath": "/dev/shm"},
            {"name": "cache", "mountPath": "/home/vllm/.cache"},
            {"name": "tmp", "mountPath": "/tmp"},
        ],
    }
    puller = {
        **{"name": "pull", "image": container["image"], "command": ["python3", "-c", "x = 1\n" * 200]},
        **{"env": variables[:10], "securityContext": locked, "volumeMounts": container["volumeMounts"]},
    }
    pod = {
        "containers": [container],
        "initContainers": [puller],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "runtimeClassName": "nvidia",
        "terminationGracePeriodSeconds": 120,
        "serviceAccountName": name,
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB"},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "securityContext": {
            **{"runAsNonRoot": True, "runAsUser": 2000, "fsGroup": 2000},
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumes": [
            {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "2Gi"}},
            {"name": "cache", "persistentVolumeClaim": {"claimName": f"{name}-cache"}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
        ],
    }
    metadata = {"name": name, "namespace": "llm", "labels": labels}
    backend = {"service": {"name": name, "port": {"name": "http"}}}
    path = {"path": "/v1", "pathType": "Prefix", "backend": backend}
    return [
        (
            "apps/v1:Deployment",
            {
                "metadata": metadata,
                "spec": {
                    "replicas": 1,
                    "selector": {"matchLabels": labels},
                    "strategy": {"type": "Recreate"},
                    "template": {"metadata": {"labels": labels}, "spec": pod},
                },
            },
        ),
        (
            "core/v1:Service",
            {
                "metadata": metadata,
                "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
            },
        ),
        ("core/v1:ConfigMap", {"metadata": metadata, "data": {f"file{n}.json": "{}" * 200 for n in range(5)}}),
        ("core/v1:ConfigMap", {"metadata": {**metadata, "name": f"{name}-chat"}, "data": {"template": "x" * 2000}}),
        ("core/v1:ServiceAccount", {"metadata": metadata, "automountServiceAccountToken": False}),
        ("core/v1:Secret", {"metadata": {**metadata, "name": f"{name}-key"}, "stringData": {"key": "k" * 32}}),
        (
            "core/v1:PersistentVolumeClaim",
            {
                "metadata": {**metadata, "name": f"{name}-cache"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "50Gi"}}},
            },
        ),
        (
            "policy/v1:PodDisruptionBudget",
            {
                "metadata": metadata,
                "spec": {
                    "selector": {"matchLabels": labels},
                    "maxUnavailable": 1,
                    "unhealthyPodEvictionPolicy": "AlwaysAllow",
                },
            },
        ),
        (
            "networking.k8s.io/v1:NetworkPolicy",
            {
                "metadata": metadata,
                "spec": {
                    "podSelector": {"matchLabels": labels},
                    "policyTypes": ["Ingress"],
                    "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": "http"}]}],
                },
            },
        ),
        (
            "networking.k8s.io/v1:Ingress",
            {
                "metadata": {
                    **metadata,
                    "annotations": {
                        "nginx.ingress.kubernetes.io/proxy-read-timeout": "600",
                        "nginx.ingress.kubernetes.io/proxy-send-timeout": "600",
                        "nginx.ingress.kubernetes.io/proxy-buffering": "off",
                    },
                },
                "spec": {
                    "ingressClassName": "nginx",
                    "tls": [{"hosts": [f"{name}.example.com"], "secretName": f"{name}-tls"}],
                    "rules": [{"host": f"{name}.example.com", "http": {"paths": [path]}}],
                },
            },
        ),
    ]


def requests(servers: int) -> list[analyzer_pb2.AnalyzeRequest]:
    """What the engine sends."""
    made = []
    for index in range(servers):
        for token, properties in server(f"chat-{index}"):
            type_, name = f"kubernetes:{token}", properties["metadata"]["name"]
            request = analyzer_pb2.AnalyzeRequest(type=type_, name=name, urn=f"urn:pulumi:dev::llm::{type_}::{name}")
            request.properties.update(properties)
            made.append(request)
    return made


PACK = ("-m", "pulumi.policy", "127.0.0.1:1", "policies")
EMPTY = ("-c", "import sys; sys.path.insert(0, 'policies'); from llm_policies import analyzer; analyzer.serve('x', [])")
"""A pack without a rule: what gRPC takes, and the reading of messages."""


@contextlib.contextmanager
def running(program: tuple[str, ...]) -> Iterator[tuple[analyzer_pb2_grpc.AnalyzerStub, int, Took]]:
    """A running pack, its process and its start."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
    start = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-u", *program],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            port = process.stdout.readline().strip() if process.stdout else ""
            took = Took(time.monotonic() - start, _cpu(process.pid))
            if not port.isdecimal():
                raise RuntimeError(f"the pack has printed {port!r} instead of a port")
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                yield analyzer_pb2_grpc.AnalyzerStub(channel), process.pid, took
        finally:
            process.kill()


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS  # utime and stime: fields 14 and 15 of proc(5)'s stat


def one_run(sent: list[analyzer_pb2.AnalyzeRequest], program: tuple[str, ...] = PACK) -> tuple[dict[str, Took], int]:
    """What each part took, and how many findings there were."""
    found = 0
    whole = analyzer_pb2.AnalyzeStackRequest(
        resources=[
            analyzer_pb2.AnalyzerResource(type=one.type, name=one.name, urn=one.urn, properties=one.properties)
            for one in sent
        ]
    )
    with running(program) as (stub, pid, start):
        stub.GetAnalyzerInfo(empty_pb2.Empty())
        marks = [(time.monotonic(), _cpu(pid))]
        for one in sent:
            found += len(stub.Analyze(one).diagnostics)
        marks.append((time.monotonic(), _cpu(pid)))
        found += len(stub.AnalyzeStack(whole).diagnostics)
        marks.append((time.monotonic(), _cpu(pid)))
    (begun, cpu0), (single, cpu1), (together, cpu2) = marks
    return {
        "start": start,
        "Analyze, one by one": Took(single - begun, cpu1 - cpu0),
        "AnalyzeStack": Took(together - single, cpu2 - cpu1),
    }, found


def spread(values: list[float], digits: int = 3) -> str:
    """The median and the range."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=100, help="ten objects each")
    parser.add_argument("--runs", type=int, default=5)
    asked = parser.parse_args()
    sent = requests(asked.servers)
    runs, empty = [], []
    for _ in range(asked.runs):  # one after the other: the machine may be slower later
        runs.append(one_run(sent))
        empty.append(one_run(sent, EMPTY)[0])
    table = Table(title=f"{len(sent)} objects, {runs[0][1]} findings: seconds, median (range)")
    for column in ("part", "wall clock", "CPU of the pack"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in runs[0][0]:
        took = [run[part] for run, _ in runs]
        table.add_row(part, spread([one.wall for one in took]), spread([one.cpu for one in took]))
    Console(width=120).print(table)
    size = len(json.dumps(server("chat-0")[0][1]))
    start = statistics.median(run["start"].cpu for run, _ in runs)
    whole, bare = (
        statistics.median(sum(took.cpu for part, took in run.items() if part != "start") for run in of)
        for of in ([run for run, _ in runs], empty)
    )
    each = whole - bare
    print(
        f"a Deployment: {size} bytes; ms of CPU for each object: {1000 * whole / len(sent):.2f}, of a pack without "
        f"rules {1000 * bare / len(sent):.2f}, so of the rules {1000 * each / len(sent):.2f}"
    )
    print(f"load of the machine, 1 minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    if start > START_SECONDS or each > OBJECT_SECONDS * len(sent):
        sys.exit(f"a start of {start:.2f} s or {1000 * each / len(sent):.2f} ms of CPU for an object is over the limit")


if __name__ == "__main__":
    main()
