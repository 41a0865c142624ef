"""What an operator is told of: alerts as data, and as a rule file of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from planning.llamacpp import LlamaCppPlan
from planning.tgi import TgiPlan
from planning.vllm import VllmPlan
from planning.yaml_text import yaml_text

WatchedPlan = VllmPlan | LlamaCppPlan | TgiPlan
"""A server that has metrics."""

_JOBS: dict[type[WatchedPlan], str] = {VllmPlan: "vllm", LlamaCppPlan: "llamacpp", TgiPlan: "tgi"}
"""The job of planning.prometheus that asks it for them."""

_LEAST_DOWN_SECONDS = 300
_WAITING_SECONDS = 300
_FULL_GPU_SECONDS = 300

# What NVIDIA's device plugin calls errors of the application, after which the GPU is still healthy.
_XIDS_OF_APPLICATIONS = (13, 31, 43, 45, 68, 109)

# From 0.95 on engines run out of memory in use (the published table of the mission); 2 % more are fragments and driver.
_FULL_GPU = 0.97
_FULL_KV_CACHE = 0.95


@dataclass(frozen=True, kw_only=True)
class Alert:
    """One alert: when it fires, and what whoever reads it needs to know. Texts may use Prometheus' templates."""

    name: str
    expr: str
    """PromQL; the alert is for each series that it gives."""

    for_seconds: int
    """How long it must hold."""

    severity: Literal["critical", "warning"]
    summary: str
    consequence: str
    repair: str
    labels: Mapping[str, str] = field(default_factory=dict)

    def rule(self) -> dict[str, object]:
        """The alert as a rule of Prometheus."""
        return {
            "alert": self.name,
            "expr": self.expr,
            "for": f"{self.for_seconds}s",
            "labels": {"severity": self.severity, **self.labels},
            "annotations": {"summary": self.summary, "consequence": self.consequence, "repair": self.repair},
        }


def alerts(servers: Mapping[str, WatchedPlan], *, models_namespace: str, gpus: bool) -> tuple[Alert, ...]:
    """Every alert.

    Args:
        servers: all that have metrics; Ollama has none, so nobody is told when it is down.
        models_namespace: where they are.
        gpus: whether the metrics of GPUs are there.
    """
    engines = {_JOBS[type(plan)] for plan in servers.values()}
    return (
        *(_server_down(name, plan, models_namespace) for name, plan in servers.items()),
        *(alert for engine, alert in _REQUESTS_WAITING.items() if engine in engines),
        *((_GPU_ERROR, _GPU_MEMORY_FULL) if gpus else ()),
    )


def rule_file(found: Sequence[Alert]) -> str:
    """The rule file (YAML) with all of `found`."""
    return yaml_text({"groups": [{"name": "llm-serving", "rules": [a.rule() for a in found]}]})


def _server_down(name: str, plan: WatchedPlan, namespace: str) -> Alert:
    """Fires when no pod of the server gives metrics for longer than a restart with the model on disk takes.

    `absent`, since a pod that is Pending, or not there at all, has no address and so no series. The first start, which
    downloads the model, may take longer: somebody is watching then.
    """
    seconds = max(_LEAST_DOWN_SECONDS, plan.shutdown.grace_period_seconds + 2 * plan.startup.expected_seconds)
    return Alert(
        name="ModelServerDown",
        expr=f'absent(up{{job="{_JOBS[type(plan)]}", namespace="{namespace}", server="{name}"}} == 1)',
        for_seconds=seconds,
        severity="critical",
        labels={"namespace": namespace, "server": name},
        summary=f"{name} has not answered for {-(-seconds // 60)} minutes.",
        consequence=f"Every request to {name} fails; a restart would have been over by now.",
        repair=(
            f"Look at its pods: kubectl -n {namespace} describe pods -l app.kubernetes.io/instance={name}, and at "
            "their logs. Pending: no GPU is free, or its node is gone. CrashLoopBackOff: the log's last lines say why."
        ),
    )


def _requests_waiting(expr: str, *, wait_for: str, repair: str) -> Alert:
    return Alert(
        name="RequestsWaiting",
        expr=expr,
        for_seconds=_WAITING_SECONDS,
        severity="warning",
        summary=f"{{{{ $labels.server }}}} has had more requests than it can run for {_WAITING_SECONDS // 60} minutes.",
        consequence=f"New requests wait for {wait_for}, so the first token comes ever later.",
        repair=repair,
    )


_REQUESTS_WAITING = {
    "vllm": _requests_waiting(
        "sum by (namespace, server) (vllm:num_requests_waiting) > 0\n"
        f"or max by (namespace, server) (vllm:kv_cache_usage_perc) > {_FULL_KV_CACHE}",
        wait_for="a place in the batch or for KV cache",
        repair=(
            "Give the model more replicas, or autoscale with a higher max. If the KV cache is full while few requests "
            "run, lower maxModelLen; if it is not full, choose the profile throughput."
        ),
    ),
    "llamacpp": _requests_waiting(
        "sum by (namespace, server) (llamacpp:requests_deferred) > 0",
        wait_for="one of the server's slots",
        repair="Give the model more replicas, or more slots by a higher `parallel`, where the GPU has room for them.",
    ),
    "tgi": _requests_waiting(
        "sum by (namespace, server) (tgi_queue_size) > 0",
        wait_for="a place in the batch or for KV cache",
        repair="Give the model more replicas, or lower maxTotalTokens, so that more requests have room at once.",
    ),
}
"""By job: only that of an engine which is there, since the others' metrics are never seen."""

_GPU_ERROR = Alert(
    name="GpuError",
    expr=" ".join(["max by (node, gpu) (DCGM_FI_DEV_XID_ERRORS) > 0", *(f"!= {xid}" for xid in _XIDS_OF_APPLICATIONS)]),
    for_seconds=0,
    severity="critical",
    summary="GPU {{ $labels.gpu }} of {{ $labels.node }} has had XID error {{ $value }}.",
    consequence="The GPU may give wrong results or none; the device plugin gives it to no new pod.",
    repair=(
        "Look {{ $value }} up in NVIDIA's list of XID errors. Drain {{ $labels.node }}, reset the GPU (nvidia-smi -r) "
        "or reboot; if it comes back, have the card replaced. The alert ends when the exporter's pod is started again."
    ),
)

_GPU_MEMORY_FULL = Alert(
    name="GpuMemoryFull",
    expr=(f"max by (node, gpu) (DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE)) > {_FULL_GPU}"),
    for_seconds=_FULL_GPU_SECONDS,
    severity="warning",
    summary=("GPU {{ $labels.gpu }} of {{ $labels.node }} has {{ $value | humanizePercentage }} of its memory in use."),
    consequence="The next larger batch may run out of memory, and the engine with it.",
    repair=(
        "See with nvidia-smi on the node who has it. Lower gpuMemoryUtilization or gpuShare of the models there, or "
        "end what else runs on the GPU, such as a desktop."
    ),
)
