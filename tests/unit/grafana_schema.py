"""Whether Grafana would take a dashboard and provisioning files as they are meant: by its own types of version 12.4.

Grafana itself ignores what it does not know, so a misspelt option is a panel that looks otherwise, not an error.
Not looked at: whether a query means something (Prometheus' parser knows) and whether a picture is pleasant.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from jsonschema import Draft7Validator

_SCHEMA = json.loads((Path(__file__).parent / "grafana/dashboard.schema.json").read_text())
_COLUMNS = 24
_UID = re.compile(r"[A-Za-z0-9_-]{1,40}")
_VARIABLE = re.compile(r"\$\{?(\w+)")

PANELS = {
    "timeseries": "TimeSeriesPanel",
    "stat": "StatPanel",
    "gauge": "GaugePanel",
    "bargauge": "BarGaugePanel",
    "table": "TablePanel",
    "heatmap": "HeatmapPanel",
    "text": "TextPanel",
}
"""Type of Grafana's for each type of panel that is known here; another one is added in grafana/dashboard.ts."""

_TEXT = {"type": "string", "minLength": 1}
_FLAG = {"type": "boolean"}
_NUMBER = {"type": "integer"}


def _list_of(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    item = {"type": "object", "additionalProperties": False, "properties": properties, "required": list(required)}
    return {"type": "array", "items": item}


_DATA_SOURCE = {
    **dict.fromkeys(("name", "type", "uid", "url", "user", "database", "basicAuthUser"), _TEXT),
    **dict.fromkeys(("basicAuth", "withCredentials", "isDefault", "editable"), _FLAG),
    **dict.fromkeys(("orgId", "version"), _NUMBER),
    "access": {"enum": ["proxy", "direct"]},
    "jsonData": {"type": "object"},
    "secureJsonData": {"type": "object"},
}
_PROVIDER = {
    **dict.fromkeys(("name", "folder", "folderUid"), _TEXT),
    **dict.fromkeys(("disableDeletion", "allowUiUpdates"), _FLAG),
    **dict.fromkeys(("orgId", "updateIntervalSeconds"), _NUMBER),
    "type": {"const": "file"},
    "options": {
        "type": "object",
        "additionalProperties": False,
        "properties": {"path": _TEXT, "foldersFromFilesStructure": _FLAG},
        "required": ["path"],
    },
}
_PROVISIONING: dict[str, dict[str, Any]] = {
    "datasources": {
        "apiVersion": {"const": 1},
        "prune": _FLAG,
        "datasources": _list_of(_DATA_SOURCE, "name", "type"),
        "deleteDatasources": _list_of({"name": _TEXT, "orgId": _NUMBER}, "name"),
    },
    "dashboards": {"apiVersion": {"const": 1}, "providers": _list_of(_PROVIDER, "name", "options")},
}
"""Keys of the provisioning files, from Grafana's documentation of version 12."""


def dashboard_problems(dashboard: dict[str, Any]) -> list[str]:
    """What Grafana would not take, or would silently leave out.

    Args:
        dashboard: the dashboard as its JSON file has it.

    Returns:
        Each problem with its place, e.g. `panels[2].options.legend.showLegends: ...`; empty if there is none.
    """
    problems = _against("Dashboard", dashboard, "")
    if not dashboard.get("title"):
        problems.append("title: empty, so Grafana leaves the dashboard out")
    if not _UID.fullmatch(str(dashboard.get("uid", ""))):
        problems.append(f"uid: {dashboard.get('uid')!r} is not 1 to 40 letters, digits, `-` and `_`")
    panels = list(_panels(dashboard))
    for place, panel in panels:
        problems += _panel_problems(place, panel)
    # The builder gives rows the id 0, and Grafana replaces it.
    ids = Counter(panel["id"] for _, panel in panels if panel.get("id"))
    problems += [f"panels: id {number} is had by {count}" for number, count in ids.items() if count > 1]
    problems += _overlaps(panels)
    known = {variable.get("name") for variable in dashboard.get("templating", {}).get("list", [])}
    for place, panel in panels:
        for position, target in enumerate(panel.get("targets", [])):
            for name in _VARIABLE.findall(str(target.get("expr", ""))):
                if not name.startswith("__") and name not in known:
                    problems.append(f"{place}.targets[{position}].expr: variable {name!r} is not in templating.list")
    return problems


def provisioning_problems(kind: Literal["datasources", "dashboards"], document: dict[str, Any]) -> list[str]:
    """What Grafana would end for, or silently leave out.

    Args:
        kind: the folder below `provisioning` that the file is for.
        document: its content.

    Returns:
        Each problem with its place; empty if there is none.
    """
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": _PROVISIONING[kind],
        "required": ["apiVersion"],
    }
    problems = _problems(Draft7Validator(schema), document, "")
    sources = document.get("datasources", [])
    if sum(bool(source.get("isDefault")) for source in sources) > 1:
        problems.append("datasources: more than one has isDefault, for which Grafana ends")
    for key in ("name", "uid"):
        taken = Counter(source[key] for source in sources if key in source)
        problems += [f"datasources: {key} {value!r} is had by {count}" for value, count in taken.items() if count > 1]
    return problems


def _panels(dashboard: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every panel with its place, also those within a collapsed row."""
    for position, panel in enumerate(dashboard.get("panels", [])):
        yield f"panels[{position}]", panel
        for inner, hidden in enumerate(panel.get("panels", [])):
            yield f"panels[{position}].panels[{inner}]", hidden


def _panel_problems(place: str, panel: dict[str, Any]) -> list[str]:
    kind = panel.get("type")
    if kind == "row":
        return _against("Row", panel, place)
    if kind not in PANELS:
        return [f"{place}.type: {kind!r} is none of row, {', '.join(PANELS)}"]
    problems = _against(PANELS[kind], panel, place)
    references = Counter(target.get("refId") for target in panel.get("targets", []))
    problems += [f"{place}.targets: refId {name!r} is had by {n}" for name, n in references.items() if n > 1]
    return problems


def _overlaps(panels: list[tuple[str, dict[str, Any]]]) -> list[str]:
    problems = []
    placed = [
        (place, panel["gridPos"]) for place, panel in panels if {"x", "y", "w", "h"} <= panel.get("gridPos", {}).keys()
    ]
    for number, (place, one) in enumerate(placed):
        if one["x"] + one["w"] > _COLUMNS:
            problems.append(f"{place}.gridPos: ends in column {one['x'] + one['w']}, and there are {_COLUMNS}")
        for other_place, other in placed[number + 1 :]:
            apart = any(
                a[at] + a[size] <= b[at]
                for at, size in (("x", "w"), ("y", "h"))
                for a, b in ((one, other), (other, one))
            )
            if not apart:
                problems.append(f"{place}.gridPos: overlaps {other_place}")
    return problems


def _against(definition: str, value: object, place: str) -> list[str]:
    schema = {"$ref": f"#/definitions/{definition}", "definitions": _SCHEMA["definitions"]}
    return _problems(Draft7Validator(schema), value, place)


def _problems(validator: Draft7Validator, value: object, place: str) -> list[str]:
    found = sorted(validator.iter_errors(value), key=lambda error: list(map(str, error.absolute_path)))
    return [f"{place}{error.json_path[1:]}".lstrip(".") + f": {error.message}" for error in found]
