"""The monitoring of one environment: what is watched, shown, told, and what feeds the autoscalers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from planning.alerts import WatchedPlan, alerts, rule_file
from planning.autoscaling import AutoscalePlan
from planning.dcgm import DcgmPlan, plan_dcgm
from planning.grafana import GrafanaPlan, plan_grafana
from planning.metrics_adapter import AdapterPlan, plan_adapter
from planning.ollama import OllamaPlan
from planning.prometheus import PORT, prometheus_config
from settings.base import quantity_bytes
from settings.monitoring import MonitoringSettings
from settings.node import NodeSettings
from settings.stack import ModelSettings
from settings.vllm import VllmSettings

_FULL_VOLUME = 0.8
"""Part of the volume that samples may take; the write-ahead log and a compaction need the rest."""


@dataclass(frozen=True, kw_only=True)
class PrometheusPlan:
    """One Prometheus with its volume."""

    image: str
    config: str
    """Its configuration (YAML)."""

    alerts: str
    """Its rule file (YAML)."""

    retention: str
    retention_bytes: int
    storage_bytes: int


@dataclass(frozen=True, kw_only=True)
class MonitoringPlan:
    """Everything that the MonitoringStack component is made of."""

    namespace: str
    models_namespace: str
    prometheus: PrometheusPlan
    dcgm: DcgmPlan | None
    """None where no node is to have an exporter."""

    grafana: GrafanaPlan | None
    adapter: AdapterPlan | None
    """None where no server is autoscaled."""

    autoscalers: Mapping[str, AutoscalePlan]
    """By server."""


def plan_monitoring(
    settings: MonitoringSettings,
    servers: Mapping[str, WatchedPlan | OllamaPlan],
    nodes: Mapping[str, NodeSettings],
    *,
    models_namespace: str,
    models_host: str | None,
    problems: list[str],
) -> MonitoringPlan:
    """The plan of monitoring; what is wrong with it is added to `problems`.

    Args:
        models_namespace: of the model servers.
        models_host: name under which clients reach them; None where there is no way in.
    """
    if settings.namespace == models_namespace:
        problems.append(
            f"monitoring.namespace: {settings.namespace!r} has other pods, to which the closed network of monitoring "
            "would be closed too. Write another name, or leave it out."
        )
    if settings.grafana and settings.grafana.host and settings.grafana.host == models_host:
        problems.append(
            f"monitoring.grafana.host: {models_host!r} is ingress.host too, so the ingress controller would send "
            f"requests to either. Write another name, e.g. 'grafana.{models_host}'."
        )
    interval = settings.scrape_interval_seconds
    watched = {name: server for name, server in servers.items() if not isinstance(server, OllamaPlan)}
    autoscalers = {name: server.autoscale for name, server in watched.items() if server.autoscale}
    dcgm = plan_dcgm(
        nodes,
        image=settings.images.dcgm_exporter,
        scrape_interval_seconds=interval,
        on_wsl2=settings.dcgm_on_wsl2,
    )
    storage = quantity_bytes(settings.storage)
    return MonitoringPlan(
        namespace=settings.namespace,
        models_namespace=models_namespace,
        prometheus=PrometheusPlan(
            image=settings.images.prometheus,
            config=prometheus_config(models_namespace=models_namespace, scrape_interval_seconds=interval),
            alerts=rule_file(alerts(watched, models_namespace=models_namespace, gpus=dcgm is not None)),
            retention=settings.retention,
            retention_bytes=int(storage * _FULL_VOLUME),
            storage_bytes=storage,
        ),
        dcgm=dcgm,
        grafana=(
            plan_grafana(
                settings.grafana,
                image=settings.images.grafana,
                prometheus_url=f"http://prometheus.{settings.namespace}.svc:{PORT}",
                scrape_interval_seconds=interval,
                gpus=dcgm is not None,
            )
            if settings.grafana
            else None
        ),
        adapter=(
            plan_adapter(
                settings.images.prometheus_adapter,
                models_namespace=models_namespace,
                scrape_interval_seconds=interval,
            )
            if autoscalers
            else None
        ),
        autoscalers=autoscalers,
    )


def unfed_autoscalers(models: Mapping[str, ModelSettings]) -> list[str]:
    """What is wrong with autoscaled `models` where there is no monitoring."""
    return [
        f"models.{name}.autoscale: is set, but monitoring is not, so nothing would feed its metric and the number of "
        "pods would never change. Write monitoring: {}."
        for name, model in models.items()
        if isinstance(model, VllmSettings) and model.autoscale
    ]
