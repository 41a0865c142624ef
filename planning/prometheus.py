"""What Prometheus looks at: its configuration, as a file of its own format."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from planning import dcgm, llamacpp, tgi, vllm
from planning.yaml_text import yaml_text

PORT = 9090
CONFIG_FOLDER = "/etc/prometheus"
ALERTS_FILE = "alerts.yml"
SYSTEM_NAMESPACE = "kube-system"
"""Where Traefik is, and the DCGM exporter."""

ENGINE_PORTS: Mapping[str, int] = {"vllm": vllm.PORT, "llamacpp": llamacpp.PORT, "tgi": tgi.PORT}
"""Port of every engine that has metrics, by the name of its application, which is its job's too."""

_TRAEFIK_METRICS_PORT = 9100
"""The entry point `metrics` of k3s' Traefik."""

SYSTEM_PORTS = (dcgm.PORT, _TRAEFIK_METRICS_PORT)
"""Ports in `SYSTEM_NAMESPACE` that have metrics."""

_LONGEST_SCRAPE_SECONDS = 10


def prometheus_config(*, models_namespace: str, scrape_interval_seconds: int) -> str:
    """The configuration (YAML). It names no server and no node: discovery finds them, so it changes with none.

    Ollama is not in it, as it has no metrics. Series of an engine have the labels `namespace`, `pod`, `node` and
    `server`; those of a GPU `node`, and from the exporter `gpu` with the `namespace` and `pod` that use it.
    """
    return yaml_text(
        {
            "global": {
                "scrape_interval": f"{scrape_interval_seconds}s",
                "scrape_timeout": f"{min(scrape_interval_seconds, _LONGEST_SCRAPE_SECONDS)}s",
                "evaluation_interval": f"{scrape_interval_seconds}s",
            },
            "rule_files": [f"{CONFIG_FOLDER}/{ALERTS_FILE}"],
            "scrape_configs": [
                {"job_name": "prometheus", "static_configs": [{"targets": [f"localhost:{PORT}"]}]},
                *(
                    _pods(
                        engine,
                        namespace=models_namespace,
                        app=engine,
                        port="http",
                        labels={
                            "namespace": "namespace",
                            "pod": "pod_name",
                            "server": "pod_label_app_kubernetes_io_instance",
                            "node": "pod_node_name",
                        },
                    )
                    for engine in ENGINE_PORTS
                ),
                # No label `pod` of the target: the exporter's own says who uses the GPU.
                _pods(
                    "dcgm",
                    namespace=SYSTEM_NAMESPACE,
                    app=dcgm.APP,
                    port=dcgm.PORT_NAME,
                    labels={"node": "pod_node_name"},
                ),
                _pods(
                    "traefik",
                    namespace=SYSTEM_NAMESPACE,
                    app="traefik",
                    port="metrics",
                    labels={"namespace": "namespace", "pod": "pod_name"},
                ),
            ],
        },
    )


def _pods(job: str, *, namespace: str, app: str, port: str, labels: dict[str, str]) -> dict[str, Any]:
    """A job for the port named `port` of all pods of `app`.

    Args:
        labels: what its series are labelled with: the rest of a `__meta_kubernetes_` label by label.
    """
    return {
        "job_name": job,
        "kubernetes_sd_configs": [
            {
                "role": "pod",
                "namespaces": {"names": [namespace]},
                "selectors": [{"role": "pod", "label": f"app.kubernetes.io/name={app}"}],
            }
        ],
        "relabel_configs": [
            {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": port, "action": "keep"},
            # A pod that has ended stays in the list until it is collected, and would count as down.
            {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Succeeded|Failed", "action": "drop"},
            *(
                {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": label}
                for label, source in labels.items()
            ),
        ],
    }
