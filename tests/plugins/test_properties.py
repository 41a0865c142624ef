"""Properties that hold for any graph of objects and any edits of it, through the real CLI and a real API server.

After `up` the cluster holds what the program means; a second `up` and a refresh change nothing; the preview names
exactly the operations that `up` then makes; `destroy` leaves nothing; no secret is in the state or the output.

A few examples a run. `PROPERTIES_EXAMPLES=200 pytest tests/plugins/test_properties.py` looks for longer; what it finds
is kept in hypothesis' database (.hypothesis) and tried first the next time. A failure prints its graph and a line that
reproduces it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import tempfile
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from described import KINDS, LABEL, LABEL_PATH, PATHS, PLANTED, Add, Described, Edit, Program
from described_objects import description, differences
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from pulumi import automation
from workspace import Workspace

EXAMPLES = int(os.environ.get("PROPERTIES_EXAMPLES", "2"))
PROGRAM = (Path(__file__).parent / "programs" / "described.py").read_text()
GONE_SECONDS = 60.0
"""How long a namespace that is deleted by hand may take to go with what is in it."""


@dataclass(frozen=True)
class Round:
    """What happens before an `up`: edits of the program, and edits by hand that a refresh then finds."""

    edits: list[Add | Edit]
    by_hand: list[Edit]


_VERBS = ("change", "label", "freeze", "remove", "rename", "rename-alias", "move", "ignore", "before", "name", "refer")
_NUMBERS = st.integers(0, 5)
ADDS = st.builds(
    Add,
    kind=st.sampled_from(KINDS),
    fixed=st.booleans(),
    place=_NUMBERS,
    parent=_NUMBERS,
    after=_NUMBERS,
    refer=_NUMBERS,
    secret=st.booleans(),
    number=_NUMBERS,
)
EDITS = st.builds(Edit, verb=st.sampled_from(_VERBS), target=st.integers(0, 7), number=_NUMBERS)
BY_HAND = st.builds(
    Edit, verb=st.sampled_from(("hand-change", "hand-delete")), target=st.integers(0, 7), number=_NUMBERS
)
FIRST = st.builds(Round, edits=st.lists(ADDS, min_size=3, max_size=10), by_hand=st.just([]))
LATER = st.builds(
    Round, edits=st.lists(EDITS | ADDS, min_size=1, max_size=6), by_hand=st.just([]) | st.lists(BY_HAND, max_size=2)
)
HISTORIES = st.tuples(FIRST, st.lists(LATER, min_size=1, max_size=2)).map(lambda found: [found[0], *found[1]])

# One of each kind, and each kind of edit that most programs meet; the numbers are places in the list of objects.
USUAL = [
    Round(
        [
            Add("Namespace", False, 0, 1, 1, 1, False, 0),
            Add("ConfigMap", True, 2, 1, 1, 0, False, 1),
            Add("Secret", False, 0, 1, 1, 0, True, 1),
            Add("Service", True, 0, 1, 1, 2, False, 1),
            Add("Widget", False, 1, 1, 1, 1, True, 1),
            Add("Deployment", True, 0, 1, 0, 2, False, 1),
            Add("ServiceAccount", False, 0, 0, 1, 1, False, 1),
        ],
        [],
    ),
    Round(
        [
            Edit("change", 1, 2),
            Edit("freeze", 2, 1),
            Edit("freeze", 3, 1),
            Edit("change", 5, 2),  # takes a label away
            Edit("freeze", 6, 1),
            Edit("ignore", 7, 0),
            Edit("label", 7, 3),
            Edit("rename-alias", 3, 0),
            Edit("move", 2, 1),
        ],
        [Edit("hand-change", 1, 0), Edit("hand-delete", 7, 0)],
    ),
]


class Stack:
    """A stack of the described program, run by the CLI itself: the Automation API asks for outputs and history too."""

    def __init__(self, cli: automation.PulumiCommand, cluster: ApiServer, folder: Path, *, forced: bool) -> None:
        self._cli, self._cluster, self._folder = cli, cluster, folder
        self._environment = {
            "KUBECONFIG": str(cluster.kubeconfig),
            "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_DEBUG_COMMANDS": "true",  # for --event-log
            # What was changed by hand belongs to someone else, who is overruled here.
            **({"PULUMI_K8S_ENABLE_PATCH_FORCE": "true"} if forced else {}),
        }
        Workspace(folder, cli, self._environment).program(PROGRAM)
        self.said = ""

    def run(self, command: str, *options: str) -> list[tuple[str, str]]:
        """Run a command; gives the operations as (operation, resource), without what stays the same.

        Raises:
            automation.CommandError: it failed.
        """
        log = self._folder / "events.json"
        log.unlink(missing_ok=True)
        arguments = [command, "--stack", "dev", "--non-interactive", "--event-log", str(log), *options]
        self.said += self._cli.run(arguments, str(self._folder), self._environment).stdout
        events = [json.loads(line) for line in log.read_text().splitlines()]
        steps = [event["resourcePreEvent"]["metadata"] for event in events if "resourcePreEvent" in event]
        return sorted((step["op"], step["urn"].split("::", 2)[2]) for step in steps if step["op"] != "same")

    def up(self) -> list[tuple[str, str]]:
        return self.run("up", "--yes", "--skip-preview", "--diff")

    def write(self, program: Program) -> None:
        (self._folder / "resources.json").write_text(json.dumps(description(program), indent=1))

    def stored(self) -> str:
        """All that the backend holds, history and backups too."""
        return "".join(path.read_text() for path in (self._folder / "backend").rglob("*.json"))

    def objects(self) -> dict[str, Any]:
        """The objects in the cluster, by the names of their resources; what no resource names, by its path."""
        state = json.loads((self._folder / "backend" / ".pulumi" / "stacks" / "test" / "dev.json").read_text())
        resources = (state["checkpoint"]["latest"] or {}).get("resources") or []
        names = {
            (item["urn"].split("::")[2].rpartition("$")[2].rpartition(":")[2], item.get("id", "")): item["urn"]
            for item in resources
        }
        found = {}
        for kind, path in PATHS.items():
            for item in (self._cluster.get(f"{path}?labelSelector={LABEL}") or {"items": []})["items"]:
                metadata = item["metadata"]
                identifier = "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)
                urn = names.get((kind, identifier), f"{kind} {identifier}")
                found[urn.rpartition("::")[2]] = item
        return found

    def by_hand(self, program: Program, edit: Edit) -> None:
        """Change or delete an object as someone else would, and note what of it the state will have after a refresh."""
        chosen = program.chosen(edit)
        path = self._path(chosen)
        if path is None:
            return
        if edit.verb == "hand-change":
            self._cluster.merge(path, {"metadata": {"labels": {"v": "hand"}}})
            chosen.held[LABEL_PATH] = "hand"
            return
        gone = [chosen]
        if chosen.kind in ("Namespace", "CustomResourceDefinition"):
            gone += [
                item
                for item in program.objects
                if item.place == chosen.key or (chosen.kind != "Namespace" and item.kind == "Widget")
            ]
        self._cluster.request("DELETE", path)
        deadline = time.monotonic() + GONE_SECONDS
        while self._cluster.get(path) is not None:
            assert time.monotonic() < deadline, f"{path} was not gone after {GONE_SECONDS:.0f} s"
            time.sleep(0.2)
        for item in gone:
            item.new = True

    def _path(self, chosen: Described) -> str | None:
        item = self.objects().get(chosen.name)
        if item is None:
            return None
        metadata = item["metadata"]
        base, _, plural = PATHS[chosen.kind].rpartition("/")
        namespace = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
        return f"{base}{namespace}/{plural}/{metadata['name']}"


@pytest.fixture(scope="module")
def prepared(cluster: ApiServer) -> Iterator[ApiServer]:
    """The cluster with the namespace `props`."""
    cluster.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "props"}})
    yield cluster
    cluster.request("DELETE", "/api/v1/namespaces/props")


@contextlib.contextmanager
def emptied(cluster: ApiServer, folder: Path) -> Iterator[None]:
    """Take away what the block leaves, also when it fails: the next example, or the shrinking, begins anew."""
    try:
        yield
    finally:
        deadline = time.monotonic() + GONE_SECONDS
        while found := [
            (path.rpartition("/"), item["metadata"])
            for path in PATHS.values()
            for item in (cluster.get(f"{path}?labelSelector={LABEL}") or {"items": []})["items"]
        ]:
            assert time.monotonic() < deadline, f"not gone after {GONE_SECONDS:.0f} s: {found}"
            for (base, _, plural), metadata in found:
                where = f"/namespaces/{metadata['namespace']}" if "namespace" in metadata else ""
                with contextlib.suppress(urllib.error.HTTPError):  # it has gone with its namespace, or goes
                    cluster.request("DELETE", f"{base}{where}/{plural}/{metadata['name']}")
            time.sleep(0.2)
        shutil.rmtree(folder)


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
    # To shrink costs minutes: only where a long run was asked for.
    phases=[Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if EXAMPLES > 2 else [])],
)
@example(history=USUAL)
@given(history=HISTORIES)
def test_any_graph_comes_up_as_previewed_stays_and_goes(
    cli: automation.PulumiCommand, prepared: ApiServer, history: list[Round]
) -> None:
    folder = Path(tempfile.mkdtemp())
    with emptied(prepared, folder):
        stack = Stack(cli, prepared, folder, forced=any(round_.by_hand for round_ in history))
        program = Program()
        for round_ in history:
            for edit in round_.by_hand:
                if program.objects:
                    stack.by_hand(program, edit)
            if round_.by_hand:
                stack.run("refresh", "--yes", "--skip-preview", "--diff")
            for change in round_.edits:
                program.apply(change)
            stack.write(program)
            previewed = stack.run("preview", "--diff")
            assert stack.up() == previewed
            assert differences(program, stack.objects()) == []
            program.settled()
            assert stack.up() == []
        refreshed = stack.run("refresh", "--yes", "--skip-preview")
        assert {operation for operation, _ in refreshed} <= {"refresh"}
        assert stack.run("preview") == []
        stored = stack.said + stack.stored()
        assert PLANTED not in stored
        for number in range(6):
            assert base64.b64encode(f"{PLANTED}-{number}".encode()).decode() not in stored
        stack.run("destroy", "--yes", "--skip-preview")
        assert stack.objects() == {}
