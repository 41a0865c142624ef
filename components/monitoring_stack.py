"""MonitoringStack: metrics, alerts and dashboards, and what feeds the autoscalers."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi
import pulumi_kubernetes as k8s

from components import _grafana, _metrics_adapter
from components._application import Application
from components._autoscaling import autoscaler
from components._dcgm import dcgm_exporter
from components._grafana import grafana
from components._metrics_adapter import metrics_adapter
from components._prometheus import prometheus
from planning.monitoring import MonitoringPlan
from planning.prometheus import PORT
from planning.volumes import VolumeClass

__all__ = ["MonitoringStack"]


class MonitoringStack(pulumi.ComponentResource):
    """Prometheus with alerts, Grafana with a dashboard, the DCGM exporter, the metrics adapter and the autoscalers.

    Creates a policy that closes the namespace in both directions, and for each program what it needs and no more: a
    service account (with rights to see pods, for Prometheus and the adapter), configuration, workload, Service, network
    policy. Where a server is autoscaled also the API custom.metrics.k8s.io, of which a cluster has only one.
    Deliberately does not create the namespace, nor send alerts anywhere: Grafana shows them. Ollama has no metrics.
    """

    prometheus_url: pulumi.Output[str]
    """URL inside the cluster, known once Prometheus answers."""

    grafana_password: pulumi.Output[str] | None
    """Password of the user `admin`, secret; known once Grafana answers. None where there is no Grafana."""

    def __init__(
        self,
        name: str,
        plan: MonitoringPlan,
        *,
        services: Mapping[str, pulumi.Output[str]],
        volumes: VolumeClass,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Create it.

        Args:
            name: Pulumi name of the component.
            plan: what to create, in the existing namespace that it names.
            services: by server, the name of its Service, known once its model answers.
            volumes: class of Prometheus' volume.
            opts: apply to the component; children inherit through `parent`.
        """
        super().__init__("llm:index:MonitoringStack", name, None, opts)
        k8s.networking.v1.NetworkPolicy(
            name,
            metadata=Application(self, name, "default-deny", namespace=plan.namespace).metadata(),
            spec={"pod_selector": {}, "policy_types": ["Ingress", "Egress"]},
            opts=pulumi.ResourceOptions(parent=self),
        )
        clients = [*([_grafana.APP] if plan.grafana else []), *([_metrics_adapter.APP] if plan.adapter else [])]
        watching = prometheus(self, name, plan, clients=clients, volumes=volumes)
        if plan.dcgm:
            dcgm_exporter(self, name, plan.dcgm, monitoring_namespace=plan.namespace)
        self.grafana_password = (
            grafana(self, name, plan.grafana, namespace=plan.namespace, after=watching) if plan.grafana else None
        )
        if plan.adapter:
            api = metrics_adapter(self, name, plan, plan.adapter, after=watching)
            for server, autoscale in plan.autoscalers.items():
                autoscaler(
                    self,
                    name,
                    autoscale,
                    server=server,
                    service_name=services[server],
                    namespace=plan.models_namespace,
                    api=api,
                )
        self.prometheus_url = watching.id.apply(
            lambda _: f"http://prometheus.{plan.namespace}.svc.cluster.local:{PORT}"
        )
        self.register_outputs({"prometheusUrl": self.prometheus_url})
