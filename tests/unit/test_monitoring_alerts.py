"""Alerts fire when they should, and only then; Prometheus' own tool is asked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promtool
import pytest
from small_stacks import LLAMA_70B, node, planned, vllm

from planning.alerts import Alert, alerts, rule_file
from planning.vllm import VllmPlan

GPU = 'gpu="0", node="a", UUID="GPU-1"'
ON_GPU: Mapping[str, str] = {"gpu": "0", "node": "a"}
CHAT = 'namespace="llm", server="chat"'
OF_CHAT: Mapping[str, str] = {"namespace": "llm", "server": "chat"}

POD = f'up{{job="vllm", {CHAT}, pod="chat-1"}}'
OTHER_POD = f'up{{job="vllm", {CHAT}, pod="chat-2"}}'
OTHER_SERVER = 'up{job="vllm", namespace="llm", server="fast", pod="fast-1"}'
UP_ELSEWHERE = 'up{job="other", namespace="llm", server="chat", pod="chat-1"}'
WAITING = f'vllm:num_requests_waiting{{{CHAT}, pod="chat-1", model_name="chat"}}'
KV_CACHE = f'vllm:kv_cache_usage_perc{{{CHAT}, pod="chat-1", model_name="chat"}}'
XID = f"DCGM_FI_DEV_XID_ERRORS{{{GPU}}}"
USED, FREE = f"DCGM_FI_DEV_FB_USED{{{GPU}}}", f"DCGM_FI_DEV_FB_FREE{{{GPU}}}"


@dataclass(frozen=True)
class Case:
    """What Prometheus sees, one value each 15 s (`1x40` is one and 40 repetitions), and what it makes of it."""

    what: str
    alert: str
    series: Mapping[str, str]
    minutes: int
    fires: Mapping[str, str] | None = None
    """Labels of the alert that fires; None where none does."""

    value: str = "1"


CASES = (
    Case("the pod answers", "ModelServerDown", {POD: "1x80"}, 20),
    Case("the pod does not answer", "ModelServerDown", {POD: "1x4 0x80"}, 20, OF_CHAT),
    Case("there is no pod at all", "ModelServerDown", {OTHER_SERVER: "1x80"}, 20, OF_CHAT),
    Case("its pod went away", "ModelServerDown", {POD: "1x4 stale", OTHER_SERVER: "1x80"}, 20, OF_CHAT),
    Case("a restart takes four minutes", "ModelServerDown", {POD: "1x4 0x16 1x60"}, 5),
    Case("one of two pods answers", "ModelServerDown", {POD: "0x80", OTHER_POD: "1x80"}, 20),
    Case("another job's target is up", "ModelServerDown", {UP_ELSEWHERE: "1x80"}, 20, OF_CHAT),
    Case("requests wait for six minutes", "RequestsWaiting", {WAITING: "3x24"}, 6, OF_CHAT, "3"),
    Case("requests have waited for four minutes", "RequestsWaiting", {WAITING: "3x24"}, 4),
    Case("requests waited for four minutes", "RequestsWaiting", {WAITING: "3x16 0x20"}, 8),
    Case("nobody waits and there is cache", "RequestsWaiting", {WAITING: "0x40", KV_CACHE: "0.94x40"}, 9),
    Case("the KV cache is full", "RequestsWaiting", {WAITING: "0x40", KV_CACHE: "0.97x40"}, 9, OF_CHAT, "0.97"),
    Case("no XID error", "GpuError", {XID: "0x8"}, 2),
    Case("off the bus", "GpuError", {XID: "0 0 79x8"}, 2, ON_GPU, "79"),
    Case("an application's own error", "GpuError", {XID: "0 0 31x8"}, 2),
    Case("engines have their share", "GpuMemoryFull", {USED: "23000x40", FREE: "1500x40"}, 9),
    Case("hardly a byte is free", "GpuMemoryFull", {USED: "24000x40", FREE: "500x40"}, 9, ON_GPU, "0.98"),
    Case("full since two minutes", "GpuMemoryFull", {USED: "20000x8 24000x32", FREE: "4500x8 500x32"}, 4),
)


@pytest.fixture(scope="module")
def found() -> tuple[Alert, ...]:
    """The alerts of one server on a node whose GPUs are watched."""
    server = planned({"a": node()}, {"chat": vllm()}).servers["chat"]
    assert isinstance(server, VllmPlan)
    return alerts({"chat": server}, models_namespace="llm", gpus=True)


def filled(text: str, labels: Mapping[str, str], value: str) -> str:
    """`text` as Prometheus fills it in."""
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda match: labels[match.group(1)], text)
    text = text.replace("{{ $value | humanizePercentage }}", "97.96%")
    return text.replace("{{ $value }}", value)


def promtools(case: Case, alert: Alert) -> dict[str, Any]:
    """`case` as promtool reads it."""
    expected = []
    if case.fires is not None:
        texts = {"summary": alert.summary, "consequence": alert.consequence, "repair": alert.repair}
        expected.append(
            {
                "exp_labels": {"severity": alert.severity, **case.fires},
                "exp_annotations": {key: filled(text, case.fires, case.value) for key, text in texts.items()},
            }
        )
    return {
        "interval": "15s",
        "input_series": [{"series": series, "values": values} for series, values in case.series.items()],
        "alert_rule_test": [{"eval_time": f"{case.minutes}m", "alertname": alert.name, "exp_alerts": expected}],
    }


@pytest.mark.parametrize("case", CASES, ids=[case.what for case in CASES])
def test_an_alert_fires_when_it_should_and_only_then(tmp_path: Path, found: tuple[Alert, ...], case: Case) -> None:
    [alert] = [alert for alert in found if alert.name == case.alert]
    promtool.run_rule_tests(tmp_path, rule_file(found), [promtools(case, alert)])


def test_every_alert_is_seen_to_fire_and_not_to_fire(found: tuple[Alert, ...]) -> None:
    names = {alert.name for alert in found}
    assert {case.alert for case in CASES if case.fires is None} == names
    assert {case.alert for case in CASES if case.fires is not None} == names


def test_every_alert_says_what_it_means_and_what_to_do(found: tuple[Alert, ...]) -> None:
    for alert in found:
        for text in (alert.summary, alert.consequence, alert.repair):
            assert text.endswith("."), f"{alert.name}: {text!r}"


def test_a_server_that_loads_long_is_not_called_down_while_it_restarts() -> None:
    found = planned({"a": node("a100-80gb", 4)}, {"big": vllm(LLAMA_70B, gpus=4)}).servers["big"]
    assert isinstance(found, VllmPlan)
    [down, *_] = alerts({"big": found}, models_namespace="llm", gpus=False)
    assert down.for_seconds > found.shutdown.grace_period_seconds + found.startup.expected_seconds > 300


def test_each_server_has_its_own_alert_and_ollama_none() -> None:
    found = planned(
        {"a": node(count=3)},
        {"chat": vllm(), "fast": vllm(), "help": {"engine": "ollama", "pull": ["qwen3:4b"]}},
        monitoring={},
    )
    assert found.monitoring
    down = [line for line in found.monitoring.prometheus.alerts.splitlines() if "absent(" in line]
    assert [re.findall(r'server="(\w+)"', line) for line in down] == [["chat"], ["fast"]]
