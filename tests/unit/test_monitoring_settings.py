"""Settings of monitoring, and what the plan makes of them: defaults, problems, what follows from the nodes."""

from __future__ import annotations

import pytest
from on_mocks import Raw, settings_of
from small_stacks import node, ollama, planned, problems, vllm

from planning.monitoring import MonitoringPlan
from planning.nodes import GPU_PRESENT_LABEL
from planning.plan import plan
from planning.problems import PlanError
from settings.problems import SettingsError

AUTOSCALED = vllm(autoscale={"max": 2, "runningRequests": 9})


def monitoring(nodes: Raw | None = None, models: Raw | None = None, **settings: object) -> MonitoringPlan:
    """The plan of monitoring with these settings."""
    found = planned(nodes or {"a": node(count=2)}, models or {"chat": vllm()}, monitoring=settings).monitoring
    assert found
    return found


def test_monitoring_is_off_unless_it_is_asked_for() -> None:
    assert planned({"a": node()}, {"chat": vllm()}).monitoring is None


def test_an_empty_mapping_turns_it_on() -> None:
    found = monitoring()
    assert (found.namespace, found.prometheus.retention) == ("monitoring", "15d")
    assert found.grafana
    assert found.grafana.host is None


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"retention": "15 days"}, "monitoring.retention"),
        ({"retention": "0d"}, "monitoring.retention"),
        ({"scrapeIntervalSeconds": 0}, "monitoring.scrapeIntervalSeconds"),
        ({"scrapeIntervalSeconds": 300}, "monitoring.scrapeIntervalSeconds"),
        ({"storage": "20GB"}, "monitoring.storage: '20GB' is not a Kubernetes quantity"),
        ({"adapter": "keda"}, "monitoring.adapter"),
        ({"images": {"prometheus": ""}}, "monitoring.images.prometheus"),
        ({"dashboards": {}}, "monitoring.dashboards: there is no such setting"),
        ({"grafana": {"host": "g.example.com"}}, "monitoring.grafana: host 'g.example.com' without tlsSecretName"),
        ({"grafana": {"host": "notlocalhost"}}, "monitoring.grafana: host 'notlocalhost' without tlsSecretName"),
        ({"grafana": {"tlsSecretName": "tls"}}, "monitoring.grafana: tlsSecretName 'tls' without host"),
    ],
)
def test_what_cannot_be_followed_is_told(settings: Raw, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings_of({"nodes": {"a": node()}, "models": {"chat": vllm()}, "monitoring": settings})


def test_an_autoscaled_server_without_monitoring_is_told() -> None:
    raw = {"nodes": {"a": node(count=3)}, "models": {"chat": AUTOSCALED, "help": vllm()}}
    with pytest.raises(PlanError) as caught:
        plan(settings_of(raw))
    assert list(caught.value.problems) == [
        "models.chat.autoscale: is set, but monitoring is not, so nothing would feed its metric and the number of pods "
        "would never change. Write monitoring: {}."
    ]


@pytest.mark.parametrize("namespace", ["llm"])
def test_a_namespace_with_other_pods_is_told(namespace: str) -> None:
    """A policy that closes the namespace would close the models too."""
    [told] = problems({"a": node()}, {"chat": vllm()}, monitoring={"namespace": namespace})
    assert told.startswith(f"monitoring.namespace: '{namespace}' has other pods")


def test_one_name_for_grafana_and_the_models_is_told() -> None:
    """The ingress controller would answer with one of them, as it likes."""
    [told] = problems(
        {"a": node()},
        {"chat": vllm()},
        ingress={"host": "localhost", "routes": {"/v1": "chat"}},
        monitoring={"grafana": {"host": "localhost"}},
    )
    assert told.startswith("monitoring.grafana.host: 'localhost' is ingress.host too")
    assert told.endswith("'grafana.localhost'.")


def test_this_machine_needs_no_certificate_by_any_of_its_names() -> None:
    for host in ("localhost", "grafana.localhost"):
        found = monitoring(grafana={"host": host}).grafana
        assert found
        assert found.environment["GF_SERVER_ROOT_URL"] == f"http://{host}"


def test_the_adapter_is_there_only_where_something_asks_it() -> None:
    assert monitoring().adapter is None
    found = monitoring(models={"chat": AUTOSCALED})
    assert found.adapter
    assert set(found.autoscalers) == {"chat"}


def test_samples_leave_room_on_their_volume() -> None:
    found = monitoring(storage="10Gi").prometheus
    assert found.storage_bytes == 10 * 2**30
    assert found.retention_bytes < 0.9 * found.storage_bytes


def test_the_adapter_still_lists_a_series_between_two_scrapes() -> None:
    for seconds in (1, 15, 120):
        found = monitoring(models={"chat": AUTOSCALED}, scrapeIntervalSeconds=seconds).adapter
        assert found
        assert found.relist_seconds >= 2 * seconds


# --- the exporter's nodes ---


def test_no_exporter_runs_on_wsl2_unless_asked() -> None:
    wsl2 = node(platform="wsl2")
    assert monitoring({"w": wsl2}).dcgm is None
    asked = monitoring({"w": wsl2}, dcgmOnWsl2=True).dcgm
    assert asked
    assert asked.excluded_nodes == ()
    mixed = monitoring({"a": node(), "w": wsl2}).dcgm
    assert mixed
    assert mixed.excluded_nodes == ("w",)


def test_pods_that_share_a_gpu_have_a_series_each() -> None:
    for slices in (1, 2):
        found = monitoring({"a": node(slices=slices)}).dcgm
        assert found
        assert found.shares_gpus == (slices > 1)
    # Only where the exporter runs.
    mixed = monitoring({"a": node(), "w": node(platform="wsl2", slices=2)}).dcgm
    assert mixed
    assert not mixed.shares_gpus


def test_every_gpu_node_can_be_selected() -> None:
    found = planned({"a": node(), "w": node(platform="wsl2")}, {"chat": vllm()}, monitoring={})
    assert all(n.labels[GPU_PRESENT_LABEL] == "true" for n in found.nodes.values())


def test_without_an_exporter_nothing_asks_for_its_metrics() -> None:
    found = monitoring({"w": node(platform="wsl2", slices=2)}, {"chat": vllm(), "help": ollama()})
    assert found.grafana
    assert "DCGM" not in found.prometheus.alerts + found.grafana.dashboard
    watched = monitoring({"a": node(slices=2)}, {"chat": vllm(), "help": ollama()})
    assert watched.grafana
    assert "DCGM" in watched.prometheus.alerts
    assert "DCGM" in watched.grafana.dashboard
