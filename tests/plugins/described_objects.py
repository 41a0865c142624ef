"""What the program reads of a described graph, and where the cluster does not hold what the graph means."""

from __future__ import annotations

import base64
from typing import Any

from described import DATA_PATH, LABEL, LABEL_PATH, PLACES, Described, Program


def description(program: Program) -> list[dict[str, Any]]:
    """What programs/described.py reads."""
    return [
        {
            "key": item.key,
            "kind": item.kind,
            "name": item.name,
            "parent": item.parent,
            "dependsOn": item.after,
            "aliases": item.aliases,
            "ignoreChanges": sorted(item.ignored),
            "deleteBeforeReplace": item.before,
            "arguments": arguments(item, item.said()),
        }
        for item in program.objects
    ]


def arguments(item: Described, values: dict[str, str]) -> dict[str, Any]:
    """The object's fields with `values` at the paths that may be ignored; {"$nameOf": key} and {"$secret": text}
    stand for another object's name and for a secret.
    """
    text = {"$secret": values[DATA_PATH]} if item.secret else values[DATA_PATH]
    other = {"ref": {"$nameOf": item.refer}} if item.refer else {}
    more = {"x": "x"} if item.number % 2 else {}
    metadata: dict[str, Any] = {"labels": {LABEL: "yes", "v": values[LABEL_PATH], **more}}
    if item.fixed:
        metadata["name"] = item.fixed
    if item.place:
        metadata["namespace"] = item.place if item.place in PLACES else {"$nameOf": item.place}
    if item.kind in ("ConfigMap", "Secret"):
        data = {"a": text, **more, **other}
        strings = {"stringData": data, "type": f"props.test/{item.frozen}"}
        return {"metadata": metadata, **(strings if item.kind == "Secret" else {"data": data})}
    metadata["annotations"] = {"a": text, **other}
    return {"metadata": metadata, **_rest(item)}


def _rest(item: Described) -> dict[str, Any]:
    match item.kind:
        case "ServiceAccount":
            return {"automountServiceAccountToken": item.number % 2 == 0}
        case "Service":
            headless = {"clusterIP": "None"} if item.frozen % 2 else {}
            return {"spec": {"ports": [{"port": 80 + item.number}], **headless}}
        case "Deployment":
            labels = {"app": f"{item.key}-{item.frozen}"}
            pod = {"containers": [{"name": "c", "image": f"image-{item.number}"}]}
            template = {"metadata": {"labels": labels}, "spec": pod}
            spec = {"replicas": item.number % 2, "selector": {"matchLabels": labels}, "template": template}
            return {"spec": spec}
        case "CustomResourceDefinition":
            schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
            version = {"name": "v1", "served": True, "storage": True, "schema": schema}
            names = {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"}
            spec = {"group": "props.test", "scope": "Namespaced", "names": names, "versions": [version]}
            return {"spec": spec}
        case "Widget":
            return {"spec": {"size": item.number, "list": [{"n": n} for n in range(item.number)], "empty": {}}}
        case _:
            return {}


def differences(program: Program, live: dict[str, Any]) -> list[str]:
    """Where the objects in the cluster are not what the program means; empty if they are.

    Args:
        program: the program that was brought up.
        live: the objects by the names of their resources, as the API server has them.
    """
    found = [f"{item.name} is missing" for item in program.objects if item.name not in live]
    found += [f"{name} is left over" for name in live.keys() - {item.name for item in program.objects}]
    names = {item.key: live[item.name]["metadata"]["name"] for item in program.objects if item.name in live}
    for item in program.objects:
        if item.name not in live or not {item.place, item.refer} <= names.keys() | {*PLACES, ""}:
            continue
        wanted = _resolved(arguments(item, item.meant()), names)
        if item.kind == "Secret":
            strings = wanted.pop("stringData")
            wanted["data"] = {name: base64.b64encode(text.encode()).decode() for name, text in strings.items()}
        found += [f"{item.name}: {text}" for text in _uncovered(live[item.name], wanted, "")]
        data = live[item.name].get("data") or {}
        labels = {name for name in live[item.name]["metadata"]["labels"] if "/" not in name}
        found += [f"{item.name}: data {name} is left over" for name in data.keys() - wanted.get("data", {}).keys()]
        found += [f"{item.name}: label {name} is left over" for name in labels - wanted["metadata"]["labels"].keys()]
        annotations = {name for name in live[item.name]["metadata"].get("annotations", {}) if "/" not in name}
        more = annotations - wanted["metadata"].get("annotations", {}).keys()
        found += [f"{item.name}: annotation {name} is left over" for name in more]
    return found


def _resolved(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict) and "$nameOf" in value:
        return names[value["$nameOf"]]
    if isinstance(value, dict) and "$secret" in value:
        return value["$secret"]
    if isinstance(value, dict):
        return {name: _resolved(item, names) for name, item in value.items()}
    return [_resolved(item, names) for item in value] if isinstance(value, list) else value


def _uncovered(live: Any, wanted: Any, path: str) -> list[str]:
    if isinstance(wanted, dict) and isinstance(live, dict):
        return [text for name, item in wanted.items() for text in _uncovered(live.get(name), item, f"{path}.{name}")]
    if isinstance(wanted, list) and isinstance(live, list) and len(live) == len(wanted):
        pairs = enumerate(zip(live, wanted, strict=True))
        return [text for index, (one, other) in pairs for text in _uncovered(one, other, f"{path}[{index}]")]
    # The server leaves out what is empty.
    return [] if live == wanted or (live is None and not wanted) else [f"{path} is {live!r}, not {wanted!r}"]
