"""The metrics adapter: which of Prometheus' series autoscalers can ask for."""

from __future__ import annotations

from dataclasses import dataclass

from planning.yaml_text import yaml_text

RUNNING_REQUESTS_METRIC = "vllm_num_requests_running"
"""The name under which autoscalers know `vllm:num_requests_running`; theirs may have no colon."""

_SHORTEST_RELIST_SECONDS = 30


@dataclass(frozen=True, kw_only=True)
class AdapterPlan:
    """prometheus-adapter; None of it where no server is autoscaled."""

    image: str
    config: str
    """Its configuration file (YAML)."""

    relist_seconds: int
    """How often it asks which series there are."""


def plan_adapter(image: str, *, models_namespace: str, scrape_interval_seconds: int) -> AdapterPlan:
    """The adapter for the engines in `models_namespace`."""
    return AdapterPlan(
        image=image,
        config=yaml_text({"rules": [_running_requests(models_namespace)]}),
        # Series older than one interval are not listed, so at least two scrapes must fall into it.
        relist_seconds=max(_SHORTEST_RELIST_SECONDS, 2 * scrape_interval_seconds),
    )


def _running_requests(namespace: str) -> dict[str, object]:
    return {
        "seriesQuery": f'vllm:num_requests_running{{namespace="{namespace}",pod!=""}}',
        # Both: without `pod` a metric of the type Pods is not found, and without `namespace` none is.
        "resources": {"overrides": {label: {"resource": label} for label in ("namespace", "pod")}},
        "name": {"matches": "^vllm:num_requests_running$", "as": RUNNING_REQUESTS_METRIC},
        # The sum is over the engines of one pod, of which there are several with data parallelism.
        "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
    }
