"""Whose fields an object holds that a run left behind when it was cut off."""

from __future__ import annotations

from typing import Any

import pytest

from plugins.kubernetes.ownership import applied_by

LABELS: dict[str, Any] = {"f:metadata": {"f:labels": {"f:gpu": {}}}}
ANNOTATIONS: dict[str, Any] = {"f:metadata": {"f:annotations": {"f:planned": {}}}}


def node(*managers: tuple[str, str, dict[str, Any]]) -> dict[str, Any]:
    entries = [{"manager": name, "operation": how, "fieldsV1": fields} for name, how, fields in managers]
    return {"metadata": {"name": "gpu-a", "managedFields": entries}}


def patch(**metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "gpu-a", **metadata}}


BOTH = node(
    ("kubelet", "Update", {"f:metadata": {"f:labels": {"f:gpu": {}}}}),
    ("pulumi-kubernetes-1", "Apply", LABELS),
    ("pulumi-kubernetes-2", "Apply", ANNOTATIONS),
)


@pytest.mark.parametrize(
    ("wanted", "manager"),
    [
        (patch(labels={"gpu": "l4"}), "pulumi-kubernetes-1"),
        (patch(annotations={"planned": "2"}), "pulumi-kubernetes-2"),
        (patch(labels={"gpu": "l4", "mig": "no"}), ""),
        (patch(labels={"gpu": "l4"}, annotations={"planned": "2"}), ""),
    ],
)
def test_a_patch_finds_the_manager_that_holds_its_fields_and_no_other(wanted: dict[str, Any], manager: str) -> None:
    assert applied_by(BOTH, wanted) == manager


def test_an_object_of_ours_finds_who_applied_it_last() -> None:
    assert applied_by(BOTH) == "pulumi-kubernetes-2"
    assert applied_by(node(("pulumi-kubernetes", "Update", LABELS))) == ""
