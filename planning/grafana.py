"""Grafana: its environment and the files that it is provisioned with."""

from __future__ import annotations

from dataclasses import dataclass

from planning.yaml_text import yaml_text
from settings.monitoring import GrafanaSettings

PORT = 3000
DASHBOARDS_FOLDER = "/etc/grafana/dashboards"
PASSWORD_FILE = "/etc/grafana/admin/password"  # noqa: S105  # where it is, not what it is


@dataclass(frozen=True, kw_only=True)
class GrafanaPlan:
    """Grafana with one datasource and one dashboard."""

    image: str
    environment: dict[str, str]
    datasources: str
    """Provisioning file (YAML)."""

    providers: str
    """Provisioning file (YAML) that names the folder of the dashboards."""

    dashboard: str
    """The dashboard (JSON)."""

    host: str | None
    """None where there is no way in but `kubectl port-forward`."""

    tls_secret_name: str | None


def plan_grafana(
    settings: GrafanaSettings, *, image: str, prometheus_url: str, scrape_interval_seconds: int, gpus: bool
) -> GrafanaPlan:
    """The plan of Grafana; `gpus`: whether there are metrics of GPUs."""
    # Here, so that stacks without dashboards do not wait 0.2 s for the import.
    from planning.dashboards import DATASOURCE, dashboard_json

    scheme = "https" if settings.tls_secret_name else "http"
    return GrafanaPlan(
        image=image,
        environment={
            "GF_SECURITY_ADMIN_PASSWORD__FILE": PASSWORD_FILE,
            "GF_AUTH_ANONYMOUS_ENABLED": "false",
            "GF_USERS_ALLOW_SIGN_UP": "false",
            # Nothing is asked of the internet: there may be none, and the network policy lets nothing out.
            "GF_ANALYTICS_REPORTING_ENABLED": "false",
            "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
            "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
            "GF_NEWS_NEWS_FEED_ENABLED": "false",
            "GF_SECURITY_DISABLE_GRAVATAR": "true",
            "GF_PLUGINS_PREINSTALL_DISABLED": "true",
            **({"GF_SERVER_ROOT_URL": f"{scheme}://{settings.host}"} if settings.host else {}),
        },
        datasources=yaml_text(
            {
                "apiVersion": 1,
                "datasources": [
                    {
                        "name": "Prometheus",
                        "uid": DATASOURCE,
                        "type": "prometheus",
                        "access": "proxy",
                        "url": prometheus_url,
                        "isDefault": True,
                        "editable": False,
                        # Grafana makes $__rate_interval of it: four scrapes, so that a rate has its two samples.
                        "jsonData": {"timeInterval": f"{scrape_interval_seconds}s", "httpMethod": "POST"},
                    }
                ],
            },
        ),
        providers=yaml_text(
            {
                "apiVersion": 1,
                "providers": [
                    {
                        "name": "llm-serving",
                        "type": "file",
                        "disableDeletion": True,
                        "allowUiUpdates": False,
                        "options": {"path": DASHBOARDS_FOLDER},
                    }
                ],
            },
        ),
        dashboard=dashboard_json(gpus=gpus),
        host=settings.host,
        tls_secret_name=settings.tls_secret_name,
    )
