"""The check of dashboards finds what Grafana would silently leave out, and nothing in a sound one."""

from __future__ import annotations

import copy
from typing import Any, Literal

import pytest
from grafana_schema import dashboard_problems, provisioning_problems

PANEL: dict[str, Any] = {
    "type": "timeseries",
    "id": 1,
    "title": "Requests",
    "datasource": {"type": "prometheus", "uid": "prometheus"},
    "gridPos": {"x": 0, "y": 0, "w": 12, "h": 8},
    "fieldConfig": {"defaults": {"unit": "short", "custom": {"fillOpacity": 10}}, "overrides": []},
    "options": {"legend": {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}},
    "targets": [{"refId": "A", "expr": 'vllm:num_requests_running{server=~"$server"}', "legendFormat": "{{server}}"}],
}
DASHBOARD: dict[str, Any] = {
    "uid": "llm",
    "title": "Models",
    "schemaVersion": 41,
    "templating": {"list": [{"type": "query", "name": "server", "query": "label_values(server)"}]},
    "panels": [PANEL, {"type": "row", "id": 2, "title": "More", "collapsed": True, "panels": []}],
}
SOURCES: dict[str, Any] = {
    "apiVersion": 1,
    "datasources": [
        {"name": "Prometheus", "uid": "prometheus", "type": "prometheus", "url": "http://p", "isDefault": True}
    ],
}
PROVIDERS: dict[str, Any] = {
    "apiVersion": 1,
    "providers": [{"name": "llm", "type": "file", "options": {"path": "/var/lib/dashboards"}}],
}


def changed(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """`document` with `value` at `path`, e.g. `panels.0.title`."""
    result = copy.deepcopy(document)
    *parents, last = path.split(".")
    where: Any = result
    for step in parents:
        where = where[int(step)] if step.isdecimal() else where[step]
    where[int(last) if last.isdecimal() else last] = value
    return result


def test_sound_documents_have_no_problems() -> None:
    assert dashboard_problems(DASHBOARD) == []
    assert provisioning_problems("datasources", SOURCES) == []
    assert provisioning_problems("dashboards", PROVIDERS) == []


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("titel", "x", "Additional properties are not allowed ('titel' was unexpected)"),
        ("title", "", "title: empty"),
        ("uid", "models of the lab", "uid: 'models of the lab' is not"),
        ("schemaVersion", "41", "schemaVersion: '41' is not of type 'number'"),
        ("graphTooltip", 7, "graphTooltip: 7 is not one of"),
        ("panels.0.type", "graph", "panels[0].type: 'graph' is none of"),
        ("panels.0.titel", "x", "panels[0]: Additional properties"),
        ("panels.0.options.legends", {}, "panels[0].options: Additional properties"),
        ("panels.0.options.legend.placement", "left", "panels[0].options.legend.placement: 'left' is not one of"),
        ("panels.0.fieldConfig.defaults.units", "s", "panels[0].fieldConfig.defaults: Additional properties"),
        ("panels.0.fieldConfig.defaults.custom.fillOpacity", "10", "custom.fillOpacity: '10' is not of type 'number'"),
        ("panels.0.targets.0.query", "up", "panels[0].targets[0]: Additional properties"),
        ("panels.0.targets.0.expr", "up{node='$node'}", "panels[0].targets[0].expr: variable 'node' is not"),
        ("panels.0.targets", [{"refId": "A", "expr": "a"}, {"refId": "A", "expr": "b"}], "refId 'A' is had by 2"),
        ("panels.0.gridPos.x", 20, "panels[0].gridPos: ends in column 32"),
        ("panels.1", {**PANEL, "id": 1, "gridPos": {"x": 12, "y": 0, "w": 12, "h": 8}}, "id 1 is had by 2"),
        (
            "panels.1",
            {**PANEL, "id": 3, "gridPos": {"x": 6, "y": 7, "w": 12, "h": 8}},
            "[0].gridPos: overlaps panels[1]",
        ),
        ("panels.1.panels", [{**PANEL, "id": 9, "type": "pie"}], "panels[1].panels[0].type: 'pie' is none of"),
    ],
)
def test_what_grafana_would_leave_out_is_found(path: str, value: object, problem: str) -> None:
    found = dashboard_problems(changed(DASHBOARD, path, value))
    assert any(problem in line for line in found), found


@pytest.mark.parametrize(
    ("kind", "path", "value", "problem"),
    [
        ("datasources", "apiVersion", 2, "apiVersion: 1 was expected"),
        ("datasources", "datasources.0.default", True, "datasources[0]: Additional properties"),
        ("datasources", "datasources.0.access", "server", "datasources[0].access: 'server' is not one of"),
        ("datasources", "datasources.0.name", "", "datasources[0].name: '' should be non-empty"),
        ("datasources", "datasources", SOURCES["datasources"] * 2, "more than one has isDefault"),
        ("datasources", "datasources", SOURCES["datasources"] * 2, "uid 'prometheus' is had by 2"),
        ("dashboards", "providers.0.options", {"folder": "/x"}, "'path' is a required property"),
        ("dashboards", "providers.0.type", "git", "providers[0].type: 'file' was expected"),
        ("dashboards", "dashboards", [], "Additional properties"),
    ],
)
def test_provisioning_that_is_not_taken_is_found(
    kind: Literal["datasources", "dashboards"], path: str, value: object, problem: str
) -> None:
    document = SOURCES if kind == "datasources" else PROVIDERS
    found = provisioning_problems(kind, changed(document, path, value))
    assert any(problem in line for line in found), found
