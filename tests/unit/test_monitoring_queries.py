"""Prometheus takes its files, every query asks for a metric that exists, and Grafana takes the dashboard."""

from __future__ import annotations

import json
import re
from pathlib import Path

import promtool
import pytest
import yaml
from grafana_schema import dashboard_problems, provisioning_problems
from on_mocks import Raw
from small_stacks import node, ollama, planned, vllm

from planning import yaml_text
from planning.dashboards import FIRING, GPU_PANELS, SERVER_PANELS, VARIABLE_METRIC
from planning.dcgm import COUNTERS
from planning.metrics_adapter import RUNNING_REQUESTS_METRIC
from planning.monitoring import MonitoringPlan
from toolchain.paths import REPOSITORY

STANDINS = REPOSITORY / "lab" / "standins"
VLLM_METRICS = {
    sample
    for metric in json.loads((STANDINS / "vllm" / "metrics.json").read_text())
    for sample in metric["sample_names"]
}
PROMETHEUS_OWN = {"up", "ALERTS"}

QUERIES = [query for panel in (*SERVER_PANELS, *GPU_PANELS) for query in panel.queries] + [FIRING]

STACKS: dict[str, Raw] = {
    "whole": {"nodes": {"a": node(count=2)}, "models": {"chat": vllm(autoscale={"max": 2, "runningRequests": 9})}},
    "shared": {"nodes": {"a": node(slices=2)}, "models": {"chat": vllm(), "help": ollama()}, "namespace": "other"},
    "wsl2": {"nodes": {"a": node(platform="wsl2")}, "models": {"help": ollama()}},
}


def monitoring(raw: Raw) -> MonitoringPlan:
    """The plan of monitoring of a stack that has it."""
    found = planned(**raw, monitoring={}).monitoring
    assert found
    return found


@pytest.mark.parametrize("raw", STACKS.values(), ids=STACKS.keys())
def test_prometheus_would_start_with_its_files(tmp_path: Path, raw: Raw) -> None:
    found = monitoring(raw).prometheus
    promtool.check_config(tmp_path, found.config, found.alerts)


def test_discovery_looks_into_no_other_namespace() -> None:
    config = yaml.safe_load(monitoring(STACKS["shared"]).prometheus.config)
    discovered = [sd for job in config["scrape_configs"] for sd in job.get("kubernetes_sd_configs", [])]
    assert {name for sd in discovered for name in sd["namespaces"]["names"]} == {"other", "kube-system"}
    assert all(sd["role"] == "pod" for sd in discovered)


def test_what_prometheus_scrapes_does_not_change_with_the_models() -> None:
    """Its pod would have to start anew."""
    one = planned({"a": node(count=2)}, {"chat": vllm()}, monitoring={}).monitoring
    two = planned({"a": node(count=2)}, {"chat": vllm(), "more": vllm()}, monitoring={}).monitoring
    assert one
    assert two
    assert one.prometheus.config == two.prometheus.config
    assert one.grafana == two.grafana


def test_prometheus_parses_every_query(tmp_path: Path) -> None:
    filled = [query.expr.replace("$__rate_interval", "1m").replace("$server", ".*") for query in QUERIES]
    assert not any("$" in query for query in filled)
    promtool.check_queries(tmp_path, filled)


def test_every_query_asks_for_metrics_that_exist() -> None:
    """A query for a name that is gone draws an empty diagram, not an error."""
    rules = yaml.safe_load(monitoring(STACKS["whole"]).prometheus.alerts)["groups"][0]["rules"]
    asked = {name: query.expr for query in QUERIES for name in promtool.metrics_of(query.expr)}
    asked |= {name: rule["expr"] for rule in rules for name in promtool.metrics_of(rule["expr"])}
    asked[VARIABLE_METRIC] = "the variable"
    assert len(asked) > 10
    assert {
        name: query for name, query in asked.items() if name not in VLLM_METRICS | set(COUNTERS) | PROMETHEUS_OWN
    } == {}
    # Each counter is collected for some diagram or alert, but for the clock, which explains a slow GPU by hand.
    assert set(COUNTERS) - set(asked) == {"DCGM_FI_DEV_SM_CLOCK"}


def test_the_exporter_knows_every_counter() -> None:
    known = {
        line.split(",")[0]
        for line in (STANDINS / "dcgm_exporter" / "default-counters.csv").read_text().splitlines()
        if line.startswith("DCGM")
    }
    assert set(COUNTERS) <= known
    # Those of profiling need CAP_SYS_ADMIN, which the pod does not have.
    assert not any(name.startswith("DCGM_FI_PROF") for name in COUNTERS)


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('sum by (le, server) (rate(a:b_bucket{x=~"up"}[1m])) > 0.95', {"a:b_bucket"}),
        ("max by (node) (A / (A + B)) != 13", {"A", "B"}),
        ('absent(up{job="x"} == 1)', {"up"}),
    ],
)
def test_the_reader_of_queries_sees_each_name(query: str, names: set[str]) -> None:
    assert promtool.metrics_of(query) == names


def test_latencies_and_rates_of_each_model_are_on_the_dashboard() -> None:
    shown = {name for query in QUERIES for name in promtool.metrics_of(query.expr)}
    assert {
        "vllm:num_requests_running",
        "vllm:num_requests_waiting",
        "vllm:time_to_first_token_seconds_bucket",
        "vllm:inter_token_latency_seconds_bucket",
        "vllm:generation_tokens_total",
        "vllm:kv_cache_usage_perc",
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_FB_USED",
        "DCGM_FI_DEV_GPU_TEMP",
        "DCGM_FI_DEV_POWER_USAGE",
    } <= shown


@pytest.mark.parametrize("raw", STACKS.values(), ids=STACKS.keys())
def test_grafana_takes_what_it_is_provisioned_with(raw: Raw) -> None:
    found = monitoring(raw).grafana
    assert found
    assert dashboard_problems(json.loads(found.dashboard)) == []
    assert provisioning_problems("datasources", yaml.safe_load(found.datasources)) == []
    assert provisioning_problems("dashboards", yaml.safe_load(found.providers)) == []


def test_every_diagram_asks_the_provisioned_datasource() -> None:
    found = monitoring(STACKS["whole"]).grafana
    assert found
    [source] = yaml.safe_load(found.datasources)["datasources"]
    dashboard = json.loads(found.dashboard)
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) == len(SERVER_PANELS) + len(GPU_PANELS) + 1
    for panel in panels:
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {source["uid"]}


def test_nobody_gets_into_grafana_without_the_password() -> None:
    found = monitoring(STACKS["whole"]).grafana
    assert found
    assert found.environment["GF_AUTH_ANONYMOUS_ENABLED"] == "false"
    assert found.environment["GF_USERS_ALLOW_SIGN_UP"] == "false"
    assert not any("PASSWORD" in name and not name.endswith("__FILE") for name in found.environment)


def test_the_adapters_rule_gives_the_metric_its_name_by_pod_and_namespace() -> None:
    found = monitoring(STACKS["whole"]).adapter
    assert found
    [rule] = yaml.safe_load(found.config)["rules"]
    series = rule["seriesQuery"].partition("{")[0]
    assert series in VLLM_METRICS
    assert re.sub(rule["name"]["matches"], rule["name"]["as"], series) == RUNNING_REQUESTS_METRIC
    assert set(rule["resources"]["overrides"]) == {"namespace", "pod"}


def test_files_are_the_same_whichever_dumper_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a colleague's machine would start Prometheus anew."""
    found = monitoring(STACKS["whole"]).prometheus
    monkeypatch.setattr(yaml_text, "_DUMPER", yaml.SafeDumper)
    again = monitoring(STACKS["whole"]).prometheus
    assert (again.alerts, again.config) == (found.alerts, found.config)
