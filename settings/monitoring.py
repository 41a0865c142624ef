"""Monitoring: metrics, alerts, dashboards, and what feeds the autoscalers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.base import Image, Name, Size, StrictModel
from settings.ingress import LOCALHOST, Host


def _is_this_machine(host: str) -> bool:
    """Browsers take every name under `localhost` for the machine that they run on (RFC 6761)."""
    return host == LOCALHOST or host.endswith(f".{LOCALHOST}")


class GrafanaSettings(StrictModel):
    """The dashboards; without a host they are reached by `kubectl port-forward` alone."""

    host: Host | None = Field(
        default=None,
        description="Name under which Grafana is served, e.g. 'grafana.localhost'; by default none.",
    )
    tls_secret_name: Name | None = Field(
        default=None,
        description="Secret of type kubernetes.io/tls with the host's certificate, in the namespace of monitoring.",
    )

    @model_validator(mode="after")
    def _no_password_in_the_clear(self) -> GrafanaSettings:
        if self.host and not _is_this_machine(self.host) and self.tls_secret_name is None:
            raise ValueError(
                f"host {self.host!r} without tlsSecretName: the password would cross the network readable. Name the "
                "Secret with the certificate, or leave host out and use kubectl port-forward."
            )
        if self.host is None and self.tls_secret_name is not None:
            raise ValueError(
                f"tlsSecretName {self.tls_secret_name!r} without host: nothing is served, so the certificate would be "
                "used by nobody. Write host, or leave tlsSecretName out."
            )
        return self


class MonitoringImages(StrictModel):
    """Container images, each with a release tag or a digest."""

    prometheus: Image = Field(default="docker.io/prom/prometheus:v3.15.0", description="Image of Prometheus.")
    dcgm_exporter: Image = Field(
        default="nvcr.io/nvidia/k8s/dcgm-exporter:4.6.0-4.8.3-distroless", description="Image of the DCGM exporter."
    )
    grafana: Image = Field(default="docker.io/grafana/grafana:12.4.4", description="Image of Grafana.")
    prometheus_adapter: Image = Field(
        default="registry.k8s.io/prometheus-adapter/prometheus-adapter:v0.12.0",
        description="Image of the metrics adapter; needed only where a model is autoscaled.",
    )


class MonitoringSettings(StrictModel):
    """What is watched, how often, and for how long it is kept; `{}` turns it on."""

    namespace: Name = Field(default="monitoring", description="Namespace of Prometheus, Grafana and the adapter.")
    retention: Annotated[str, Field(pattern=r"^[1-9][0-9]*[hdwy]$")] = Field(
        default="15d", description="How long samples are kept: a number and h, d, w or y."
    )
    storage: Size = Field(
        default="20Gi", description="Volume of Prometheus; the oldest samples go earlier than said when it gets full."
    )
    # Not above 120 s: Prometheus forgets a series that it has not seen for 5 minutes, and two scrapes make a rate.
    scrape_interval_seconds: Annotated[int, Field(ge=1, le=120)] = Field(
        default=15, description="Seconds between two looks at each engine and GPU."
    )
    dcgm_on_wsl2: bool = Field(
        default=False, description="Run the DCGM exporter on WSL2 nodes too, where nobody has seen it work."
    )
    grafana: GrafanaSettings | None = Field(
        default_factory=GrafanaSettings, description="Dashboards; null for none at all."
    )
    adapter: Literal["prometheus-adapter"] = Field(
        default="prometheus-adapter", description="What turns Prometheus' samples into metrics for autoscalers."
    )
    images: MonitoringImages = Field(default_factory=MonitoringImages, description="Container images.")
