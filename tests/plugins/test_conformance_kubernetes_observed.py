"""The Kubernetes stand-in against what was recorded with the official provider: everything that the recording holds."""

from __future__ import annotations

import base64
import collections
import json
from pathlib import Path
from typing import Any

from api_server import ApiServer
from workspace import Workspace

HERE = Path(__file__).parent
OBSERVED = json.loads((HERE / "observed.json").read_text())
SECRET = {"secret": True}


def plain(value: Any) -> Any:
    """A state's value with its secrets as the recording has them."""
    if isinstance(value, dict):
        if "plaintext" in value:  # the Automation API exports with secrets laid open
            return SECRET
        return {name: plain(item) for name, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


def engines(value: Any) -> Any:
    """What the engine keeps of a resource, as the recording has it: short URNs, in order."""
    if isinstance(value, dict):
        return {name: engines(item) for name, item in value.items()}
    if isinstance(value, list):
        return sorted(engines(item) for item in value)
    return value.split("::", 2)[2] if value.startswith("urn:") else value


def covers(found: Any, recorded: Any, path: str = "") -> list[str]:
    """Paths of `recorded` that `found` does not have with the same value; what is made at random may differ."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        return [
            text
            for name, item in recorded.items()
            for text in (
                covers(found[name], item, f"{path}.{name}") if name in found else [f"{path}.{name} is missing"]
            )
        ]
    if isinstance(recorded, list) and isinstance(found, list) and len(found) == len(recorded):
        pairs = enumerate(zip(found, recorded, strict=True))
        return [text for index, (one, other) in pairs for text in covers(one, other, f"{path}[{index}]")]
    random = ("__fieldManager", "controller-uid", "clusterIP", "clusterIPs[0]", "metadata.name")
    if found == recorded or (path.endswith(random) and type(found) is type(recorded)):
        return []
    return [f"{path}: {found!r}, recorded {recorded!r}"]


def test_states_and_steps_are_those_of_the_official_provider(workspace: Workspace, cluster: ApiServer) -> None:
    workspace.program((HERE / "programs" / "observed.py").read_text()).configure(step=1)
    created = workspace.preview()
    assert set(created.steps) - {"pulumi:pulumi:Stack::test-dev"} == set(OBSERVED["state"])
    for item in OBSERVED["previews"]["create"]["steps"]:
        assert created.steps[item["urn"]].operation == item["op"]
    workspace.up()
    state = workspace.state()
    for urn, recorded in OBSERVED["state"].items():
        found = state[urn]
        assert found["id"] == recorded.get("id", found["id"]) or urn.endswith("::auto")
        for name in ("type", "parent", "dependencies", "propertyDependencies", "ignoreChanges"):
            assert engines(found.get(name, [])) == recorded.get(name, []), f"{urn} {name}"
        assert covers(plain(found["inputs"]), recorded["inputs"], f"{urn} inputs") == []
        assert covers(recorded["inputs"], plain(found["inputs"]), f"{urn} inputs, reverse") == []
        assert covers(plain(found["outputs"]), recorded["outputs"], f"{urn} outputs") == []
    assert workspace.preview().steps == {}

    # A replica count changed by hand is ignored, as the program says.
    cluster.merge("/apis/apps/v1/namespaces/oracle3/deployments/web", {"spec": {"replicas": 2}})
    workspace.refresh()
    assert workspace.preview().steps == {}

    for step in (2, 3, 4):
        recorded = OBSERVED["previews"][f"step{step}"]
        shown = workspace.configure(step=step).preview()
        assert {urn: found.operation for urn, found in shown.steps.items()} == {
            item["urn"]: item["op"] for item in recorded["steps"]
        }
        operations = collections.Counter(found.operation for found in shown.steps.values())
        same = len(workspace.state()) - len(shown.steps)
        assert {**operations, "same": same} == recorded["changeSummary"]
        for item in recorded["steps"]:
            expected = {path: (diff["kind"], diff["inputDiff"]) for path, diff in item["detailedDiff"].items()}
            assert shown.steps[item["urn"]].diff == expected
            assert shown.steps[item["urn"]].replace_keys == frozenset(item.get("replaceReasons", ()))
        workspace.up()
        assert workspace.preview().steps == {}
    assert cluster.get("/apis/apps/v1/namespaces/oracle3/deployments/web")["spec"]["replicas"] == 1
    stored = "".join(path.read_text() for path in workspace.folder.joinpath("backend").rglob("*.json"))
    assert "oracle3/sec" in stored
    assert "planted" not in stored
    assert base64.b64encode(b"planted-4").decode() not in stored

    workspace.destroy()
    assert cluster.get("/api/v1/namespaces/oracle3") is None
    assert "oracle" not in cluster.get("/api/v1/nodes/vm")["metadata"].get("labels", {})
