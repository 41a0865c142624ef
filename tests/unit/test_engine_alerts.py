"""Servers of every engine that has metrics are watched, each by its own metrics and by no other's."""

from __future__ import annotations

from pathlib import Path

import promtool
import pytest
import yaml
from on_mocks import Raw
from small_stacks import AWQ, node, planned, vllm
from test_monitoring_alerts import Case, promtools

from planning.alerts import Alert, WatchedPlan, alerts, rule_file
from planning.ollama import OllamaPlan

SERVERS: dict[str, Raw] = {
    "vllm": vllm(),
    "llamacpp": {"engine": "llamacpp", "model": "Qwen/Qwen3-8B-GGUF:Q4_K_M"},
    "tgi": {"engine": "tgi", "model": AWQ},
}
METRICS = {"vllm": "vllm:", "llamacpp": "llamacpp:", "tgi": "tgi_"}
"""How the names of an engine's metrics begin."""

SERVER = 'namespace="llm", server="chat"'
OF_SERVER = {"namespace": "llm", "server": "chat"}


def plan_of(engine: str) -> WatchedPlan:
    found = planned({"a": node()}, {"chat": SERVERS[engine]}).servers["chat"]
    assert not isinstance(found, OllamaPlan)
    return found


def alerts_of(engine: str) -> tuple[Alert, ...]:
    return alerts({"chat": plan_of(engine)}, models_namespace="llm", gpus=False)


@pytest.mark.parametrize("engine", SERVERS)
def test_no_alert_waits_for_metrics_that_the_engine_has_not(engine: str) -> None:
    others = [prefix for other, prefix in METRICS.items() if other != engine]
    text = "\n".join(alert.expr for alert in alerts_of(engine))
    assert METRICS[engine] in text
    assert not any(prefix in text for prefix in others)


@pytest.mark.parametrize(
    ("engine", "case"),
    [
        (engine, case)
        for engine, metric in (("llamacpp", "llamacpp:requests_deferred"), ("tgi", "tgi_queue_size"))
        for case in (
            Case("wait", "RequestsWaiting", {f"{metric}{{{SERVER}}}": "2x40"}, 9, OF_SERVER, "2"),
            Case("do not", "RequestsWaiting", {f"{metric}{{{SERVER}}}": "0x40"}, 9),
            Case("answers", "ModelServerDown", {f'up{{job="{engine}", {SERVER}}}': "1x80"}, 20),
            Case("does not", "ModelServerDown", {f'up{{job="{engine}", {SERVER}}}': "0x80"}, 20, OF_SERVER),
        )
    ],
    ids=lambda item: item if isinstance(item, str) else item.what,
)
def test_an_alert_fires_when_it_should_and_only_then(tmp_path: Path, engine: str, case: Case) -> None:
    found = alerts_of(engine)
    [alert] = [alert for alert in found if alert.name == case.alert]
    promtool.run_rule_tests(tmp_path, rule_file(found), [promtools(case, alert)])


def test_every_engine_that_has_metrics_is_asked_for_them_by_a_job_of_its_own() -> None:
    found = planned({"a": node(count=3)}, SERVERS, monitoring={}).monitoring
    assert found is not None
    jobs = {job["job_name"]: job for job in yaml.safe_load(found.prometheus.config)["scrape_configs"]}
    for engine in SERVERS:
        [discovery] = jobs[engine]["kubernetes_sd_configs"]
        assert discovery["selectors"] == [{"role": "pod", "label": f"app.kubernetes.io/name={engine}"}]
        assert f'absent(up{{job="{engine}", namespace="llm", server="{engine}"}} == 1)' in found.prometheus.alerts
