"""Diffs: which properties changed, which of them replace, and what a refresh takes for a change."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._properties import Change
from plugins._values import UNKNOWN
from plugins.kubernetes import config
from plugins.kubernetes.diffing import changes, observed, same
from plugins.kubernetes.immutable import immutable_fields

OPTIONS = config.options({}, "default")
PLAIN = st.recursive(
    st.one_of(st.booleans(), st.integers(1, 9), st.text(min_size=1, max_size=4)),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3),
        st.dictionaries(st.text("abc", min_size=1, max_size=3), inner, min_size=1, max_size=3),
    ),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.sampled_from(["spec", "data", "metadata"]), PLAIN, max_size=3)


def diff(old: dict[str, Any], new: dict[str, Any], *, patch: bool = False) -> dict[str, str]:
    """Kind of change by path, with `-replace` where it replaces."""
    found: list[Change] = changes(old, new, immutable_fields(new, OPTIONS, patch=patch))
    return {change.shown_path: change.kind + ("-replace" if change.replace else "") for change in found}


@given(OBJECTS)
def test_an_object_does_not_differ_from_itself(obj: dict[str, Any]) -> None:
    assert diff(obj, copy.deepcopy(obj)) == {}


@given(OBJECTS, OBJECTS)
def test_objects_that_differ_have_changes_both_ways(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert bool(diff(one, other)) == bool(diff(other, one))
    assert set(diff(one, other)) == set(diff(other, one))


@given(OBJECTS)
def test_a_refresh_of_an_unchanged_object_shows_no_change(obj: dict[str, Any]) -> None:
    live = copy.deepcopy(obj) | {"status": {"phase": "Active"}}
    assert observed(obj, live) == obj


def test_paths_are_written_as_pulumi_writes_them() -> None:
    old = {"spec": {"containers": [{"image": "a"}]}, "metadata": {"labels": {"a.b/c": "1"}}}
    new = {"spec": {"containers": [{"image": "b"}]}, "metadata": {"labels": {"a.b/c": "2"}}}
    assert diff(old, new) == {"spec.containers[0].image": "update", 'metadata.labels["a.b/c"]': "update"}


def kinded(api_version: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": api_version, "kind": kind, "metadata": {"name": "a", "namespace": "b"}, **fields}


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        (("v1", "ConfigMap"), {"data": {"a": "1"}}, {"data": {"a": "2"}}, {"data.a": "update-replace"}),
        (("v1", "ConfigMap"), {"data": {"a": "1"}}, {}, {"data": "delete-replace"}),
        (("v1", "Secret"), {"data": {"k": "x"}}, {"data": {"k": "x", "l": "y"}}, {"data.l": "add-replace"}),
        (("v1", "Secret"), {"type": "a"}, {"type": "b"}, {"type": "update-replace"}),
        (
            ("apps/v1", "Deployment"),
            {"spec": {"selector": {"matchLabels": {"app": "w"}}, "template": {"metadata": {"labels": {"app": "w"}}}}},
            {"spec": {"selector": {"matchLabels": {"app": "v"}}, "template": {"metadata": {"labels": {"app": "v"}}}}},
            {"spec.selector.matchLabels.app": "update-replace", "spec.template.metadata.labels.app": "update"},
        ),
        (
            ("batch/v1", "Job"),
            {"spec": {"template": {"spec": {"containers": [{"command": ["sh", "-c", "1"]}]}}, "backoffLimit": 1}},
            {"spec": {"template": {"spec": {"containers": [{"command": ["sh", "-c", "2"]}]}}, "backoffLimit": 2}},
            {"spec.template.spec.containers[0].command[2]": "update-replace", "spec.backoffLimit": "update"},
        ),
        (
            ("v1", "PersistentVolumeClaim"),
            {"spec": {"storageClassName": "a", "resources": {"requests": {"storage": "1Gi"}}}},
            {"spec": {"storageClassName": "b", "resources": {"requests": {"storage": "2Gi"}}}},
            {"spec.storageClassName": "update-replace", "spec.resources.requests.storage": "update"},
        ),
        (("v1", "Service"), {"spec": {"clusterIP": "None"}}, {"spec": {}}, {"spec.clusterIP": "delete-replace"}),
        (("v1", "Service"), {"spec": {"type": "A"}}, {"spec": {"type": "B"}}, {"spec.type": "update"}),
        (("node.k8s.io/v1", "RuntimeClass"), {"handler": "a"}, {"handler": "b"}, {"handler": "update-replace"}),
        (
            ("rbac.authorization.k8s.io/v1", "RoleBinding"),
            {"roleRef": {"name": "a"}},
            {"roleRef": {"name": "b"}},
            {"roleRef.name": "update-replace"},
        ),
        (
            ("storage.k8s.io/v1", "StorageClass"),
            {"provisioner": "a", "reclaimPolicy": "Retain"},
            {"provisioner": "b", "reclaimPolicy": "Delete"},
            {"provisioner": "update-replace", "reclaimPolicy": "update"},
        ),
        (
            ("v1", "Pod"),
            {"spec": {"containers": [{"image": "a", "name": "c"}]}},
            {"spec": {"containers": [{"image": "b", "name": "c"}]}},
            {"spec.containers[0].image": "update-replace"},
        ),
        (("example.test/v1", "Gadget"), {"spec": {"size": 1}}, {"spec": {"size": 2}}, {"spec.size": "update"}),
    ],
)
def test_immutable_fields_replace_and_no_others(
    kind: tuple[str, str], old: dict[str, Any], new: dict[str, Any], expected: dict[str, str]
) -> None:
    assert diff(kinded(*kind, **old), kinded(*kind, **new)) == expected


def test_another_name_or_namespace_replaces_whatever_the_kind() -> None:
    old, new = kinded("v1", "Namespace"), kinded("v1", "Namespace")
    new["metadata"] = {"name": "c", "namespace": "d"}
    both = {"metadata.name": "update-replace", "metadata.namespace": "update-replace"}
    assert diff(old, new) == both
    assert diff(old, new, patch=True) == both


def test_a_patch_changes_in_place_what_the_object_would_be_replaced_for() -> None:
    old, new = kinded("v1", "ConfigMap", data={"a": "1"}), kinded("v1", "ConfigMap", data={"a": "2"})
    assert diff(old, new, patch=True) == {"data.a": "update"}


def test_mutable_config_maps_are_updated_unless_the_object_itself_is_immutable() -> None:
    mutable = config.options({"enableConfigMapMutable": True, "enableSecretMutable": "true"}, "")
    for kind in ("ConfigMap", "Secret"):
        new = kinded("v1", kind, data={"a": "2"})
        assert ("data",) not in immutable_fields(new, mutable, patch=False)
        assert ("data",) in immutable_fields({**new, "immutable": True}, mutable, patch=False)


def test_an_unknown_in_an_immutable_field_is_a_replacement_in_the_preview() -> None:
    old, new = kinded("v1", "ConfigMap", data={"a": "1"}), kinded("v1", "ConfigMap", data={"a": UNKNOWN})
    assert diff(old, new) == {"data.a": "update-replace"}


@pytest.mark.parametrize(
    ("path", "old", "new", "equal"),
    [
        (("resources", "requests", "storage"), "1024Mi", "1Gi", True),
        (("resources", "limits", "cpu"), "1000m", 1, True),
        (("resources", "limits", "cpu"), "1000m", "1001m", False),
        (("emptyDir", "sizeLimit"), "4096Mi", "4Gi", True),
        (("metrics", 0, "pods", "target", "averageValue"), "50", 50, True),
        (("metadata", "labels", "version"), "1.0", "1", False),
        (("env", 0, "value"), "1024Mi", "1Gi", False),
        (("spec", "on"), True, 1, False),
    ],
)
def test_quantities_are_compared_by_what_they_mean_and_nothing_else_is(
    path: tuple[str | int, ...], old: object, new: object, equal: bool
) -> None:
    assert same(path, old, new) is equal


def test_a_refresh_shows_what_others_have_changed_and_not_what_the_server_writes_differently() -> None:
    inputs = {
        "data": {"a": "1", "gone": "x"},
        "spec": {"limits": {"cpu": "1000m"}, "ingress": [], "args": ["a"], "containers": [{"image": "a"}]},
    }
    live = {
        "data": {"a": "hand", "more": "y"},
        "spec": {"limits": {"cpu": "1"}, "args": ["a", "b"], "containers": [{"image": "a"}, {"image": "sidecar"}]},
    }
    assert observed(inputs, live) == {
        "data": {"a": "hand"},
        "spec": {"limits": {"cpu": "1000m"}, "ingress": [], "args": ["a", "b"], "containers": [{"image": "a"}]},
    }
