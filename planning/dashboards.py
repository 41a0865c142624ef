"""Grafana's dashboard, as code. It names no server and no node: its variable lists those that there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from grafana_foundation_sdk.builders import common, dashboard, prometheus, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, VariableRefresh
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

DATASOURCE = "prometheus"
"""The datasource's uid."""

_UID = "llm-serving"
_SOURCE = DataSourceRef(type_val="prometheus", uid=DATASOURCE)
_SERVERS = 'server=~"$server"'


@dataclass(frozen=True, kw_only=True)
class Query:
    """One query and what its lines are called."""

    expr: str
    """PromQL; `$server` and `$__rate_interval` are filled in by Grafana."""

    legend: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One diagram."""

    title: str
    description: str
    unit: str
    """A unit of Grafana: `s`, `short`, `percentunit`, `percent`, `decmbytes`, `celsius`, `watt`."""

    queries: tuple[Query, ...]
    most: float | None = None
    """Upper end of the axis, where there is one."""


def _quantiles(histogram: str) -> tuple[Query, ...]:
    return tuple(
        Query(
            expr=(
                f"histogram_quantile({quantile}, sum by (le, server) "
                f"(rate({histogram}_bucket{{{_SERVERS}}}[$__rate_interval])))"
            ),
            legend=f"{{{{server}}}} p{quantile * 100:.0f}",
        )
        for quantile in (0.5, 0.95, 0.99)
    )


def _by_server(function: str, metric: str, legend: str = "{{server}}") -> Query:
    return Query(expr=f"{function} by (server) ({metric}{{{_SERVERS}}})", legend=legend)


def _per_second(counter: str, legend: str) -> Query:
    return Query(expr=f"sum by (server) (rate({counter}{{{_SERVERS}}}[$__rate_interval]))", legend=legend)


def _by_gpu(expr: str) -> tuple[Query, ...]:
    # The largest, not the sum: a GPU that pods share has one series for each of them, all with the same value.
    return (Query(expr=f"max by (node, gpu) ({expr})", legend="{{node}} GPU {{gpu}}"),)


SERVER_PANELS = (
    Panel(
        title="Requests",
        description="Requests that run, and that wait for a place in the batch.",
        unit="short",
        queries=(
            _by_server("sum", "vllm:num_requests_running", "{{server}} running"),
            _by_server("sum", "vllm:num_requests_waiting", "{{server}} waiting"),
        ),
    ),
    Panel(
        title="Tokens per second",
        description="Tokens that are written, and that prompts bring in.",
        unit="short",
        queries=(
            _per_second("vllm:generation_tokens_total", "{{server}} generated"),
            _per_second("vllm:prompt_tokens_total", "{{server}} prompts"),
        ),
    ),
    Panel(
        title="Time to first token",
        description="Seconds from a request's arrival to the first piece of its answer.",
        unit="s",
        queries=_quantiles("vllm:time_to_first_token_seconds"),
    ),
    Panel(
        title="Inter-token latency",
        description="Seconds between two pieces of an answer.",
        unit="s",
        queries=_quantiles("vllm:inter_token_latency_seconds"),
    ),
    Panel(
        title="KV cache",
        description="Share of the KV cache that is in use, of the pod with the most; near 100 % requests wait.",
        unit="percentunit",
        most=1,
        queries=(_by_server("max", "vllm:kv_cache_usage_perc"),),
    ),
    Panel(
        title="Pods that answer",
        description="Pods whose metrics were read at the last try.",
        unit="short",
        queries=(Query(expr=f'sum by (server) (up{{job="vllm", {_SERVERS}}})', legend="{{server}}"),),
    ),
)
"""What is shown of each model server."""

GPU_PANELS = (
    Panel(
        title="GPU utilization",
        description="Share of the time in which the GPU did anything at all.",
        unit="percent",
        most=100,
        queries=_by_gpu("DCGM_FI_DEV_GPU_UTIL"),
    ),
    Panel(
        title="GPU memory",
        description="Memory in use. Engines reserve their share at the start, so it hardly moves.",
        unit="decmbytes",
        queries=_by_gpu("DCGM_FI_DEV_FB_USED"),
    ),
    Panel(
        title="GPU temperature",
        description="Temperature of the chip.",
        unit="celsius",
        queries=_by_gpu("DCGM_FI_DEV_GPU_TEMP"),
    ),
    Panel(
        title="GPU power",
        description="Power drawn.",
        unit="watt",
        queries=_by_gpu("DCGM_FI_DEV_POWER_USAGE"),
    ),
)
"""What is shown of each GPU."""

FIRING = Query(expr='ALERTS{alertstate="firing"}', legend="{{alertname}}")
VARIABLE_METRIC = "vllm:num_requests_running"
"""Its label `server` lists the servers to choose from."""


@cache
def dashboard_json(*, gpus: bool) -> str:
    """The dashboard as Grafana's provisioning reads it.

    Args:
        gpus: whether there are metrics of GPUs.
    """
    built = (
        dashboard.Dashboard("LLM serving")
        .uid(_UID)
        .tags(["llm-serving"])
        .refresh("30s")
        .time("now-1h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(
            dashboard.QueryVariable("server")
            .label("Model server")
            .datasource(_SOURCE)
            .query(f"label_values({VARIABLE_METRIC}, server)")
            .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
        .with_panel(_firing())
        .with_row(dashboard.Row("Model servers"))
    )
    _add(built, SERVER_PANELS)
    if gpus:
        built.with_row(dashboard.Row("GPUs"))
        _add(built, GPU_PANELS)
    return JSONEncoder(sort_keys=True, indent=1).encode(built.build())


def _add(to: dashboard.Dashboard, panels: Sequence[Panel]) -> None:
    for panel in panels:
        drawn = (
            timeseries.Panel()
            .title(panel.title)
            .description(panel.description)
            .datasource(_SOURCE)
            .unit(panel.unit)
            .min(0)
            .legend(
                common.VizLegendOptions()
                .show_legend(True)
                .display_mode(LegendDisplayMode.LIST)
                .placement(LegendPlacement.BOTTOM)
            )
        )
        if panel.most is not None:
            drawn.max(panel.most)
        for position, query in enumerate(panel.queries):
            drawn.with_target(_target(query, chr(ord("A") + position)))
        to.with_panel(drawn)


def _target(query: Query, reference: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(reference).datasource(_SOURCE)


def _firing() -> table.Panel:
    return (
        table.Panel()
        .title("Alerts that fire")
        .description("What to do about each is in its annotation `repair`: Alerting, Alert rules.")
        .datasource(_SOURCE)
        .height(5)
        .span(24)
        .with_target(_target(FIRING, "A").instant().format(PromQueryFormat.TABLE))
    )
