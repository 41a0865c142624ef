"""What is sent to the API server for an update and a deletion."""

from __future__ import annotations

from typing import Any, cast

import pytest

from plugins._engine import Engine, Status
from plugins.kubernetes.cluster import APPLY, Cluster
from plugins.kubernetes.discovery import Discovery, Resource
from plugins.kubernetes.operations import Operations

MANAGER = "pulumi-kubernetes-1"


class Recording:
    """Takes the place of a cluster: keeps what it is asked, and gives the body back."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, dict[str, str], str]] = []

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        content_type: str = "application/json",
        query: dict[str, str] | None = None,
        on_warning: object = None,  # noqa: ARG002 # part of what is called
    ) -> Any:
        self.asked.append((method, path, body, query or {}, content_type))
        return body


class Known:
    """Takes the place of discovery: every kind has no namespace and is called `things`."""

    def of(self, obj: dict[str, Any]) -> Resource:
        return Resource(obj["apiVersion"], "things", namespaced=False)


@pytest.fixture
def cluster() -> Recording:
    return Recording()


@pytest.fixture
def operations(cluster: Recording) -> Operations:
    return Operations(cast(Cluster, cluster), cast(Discovery, Known()), patch_force=False)


def thing(kind: str, api_version: str = "apiextensions.k8s.io/v1", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", **metadata}}


def updated(operations: Operations, inputs: dict[str, Any], *, preview: bool, patch: bool = False) -> None:
    live = {**inputs, "metadata": {**inputs["metadata"], "resourceVersion": "7", "managedFields": [{"manager": "x"}]}}
    status = Status(Engine(""), "")
    operations.update(inputs, live, manager=MANAGER, ignored=[], preview=preview, patch=patch, status=status)


@pytest.mark.parametrize("preview", [False, True])
def test_a_definition_is_put_as_a_whole_in_the_version_that_was_read(
    cluster: Recording, operations: Operations, preview: bool
) -> None:
    updated(operations, thing("CustomResourceDefinition"), preview=preview)
    [(method, path, body, query, _)] = cluster.asked
    assert (method, path) == ("PUT", "/apis/apiextensions.k8s.io/v1/things/a")
    assert body["metadata"] == {"name": "a", "resourceVersion": "7"}
    assert query["fieldManager"] == MANAGER
    assert query.get("dryRun") == ("All" if preview else None)


@pytest.mark.parametrize(
    ("obj", "patch"),
    [(thing("CustomResourceDefinition"), True), (thing("CustomResourceDefinition", "example.test/v1"), False)],
)
def test_anything_else_is_applied(cluster: Recording, operations: Operations, obj: dict[str, Any], patch: bool) -> None:
    updated(operations, obj, preview=False, patch=patch)
    [(method, _, body, query, content_type)] = cluster.asked
    assert (method, content_type) == ("PATCH", APPLY)
    assert body == obj
    assert query["force"] == "false"


@pytest.mark.parametrize(
    ("annotated", "policy"),
    [
        ({}, "Foreground"),
        *(
            ({"pulumi.com/deletionPropagationPolicy": text}, text.capitalize())
            for text in ("orphan", "background", "foreground")
        ),
    ],
)
def test_a_deletion_takes_dependents_along_as_the_annotation_says(
    cluster: Recording, operations: Operations, annotated: dict[str, str], policy: str
) -> None:
    obj = thing("Deployment", "apps/v1", annotations=annotated)
    operations.delete(obj, obj)
    [(method, _, body, _, _)] = cluster.asked
    assert (method, body["propagationPolicy"]) == ("DELETE", policy)
