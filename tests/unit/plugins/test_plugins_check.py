"""Check: names, Secret data, what is refused; and the state that is kept."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plugins._provider import Failure, Refused
from plugins._values import UNKNOWN, Secret
from plugins.kubernetes import state
from plugins.kubernetes.checking import (
    check_annotations,
    dashed,
    normalized,
    refuse,
    underscored,
    unique_name,
    with_name,
)
from plugins.kubernetes.objects import is_patch_type, kind_of_token, parse_identifier, type_token


def named(inputs: dict[str, Any], olds: dict[str, Any] | None = None, **given_: Any) -> dict[str, Any]:
    settings = {"name": "web", "proposed": None, "seed": b"seed", "patch": False, **given_}
    return with_name(inputs, olds or {}, **settings)


def test_a_nameless_object_gets_its_logical_name_eight_hex_digits_and_the_annotation() -> None:
    metadata = named({"kind": "ConfigMap"})["metadata"]
    assert re.fullmatch(r"web-[0-9a-f]{8}", metadata["name"])
    assert metadata["annotations"] == {"pulumi.com/autonamed": "true"}


@given(st.binary(min_size=1))
def test_the_same_seed_gives_the_same_name(seed: bytes) -> None:
    assert unique_name("web-", seed) == unique_name("web-", seed)


def test_without_a_seed_names_differ() -> None:
    assert unique_name("web-", b"") != unique_name("web-", b"")


def test_an_autonamed_object_keeps_its_name() -> None:
    olds = {"metadata": {"name": "web-12345678", "annotations": {"pulumi.com/autonamed": "true"}}}
    assert named({}, olds)["metadata"]["name"] == "web-12345678"


def test_an_object_that_had_a_fixed_name_is_autonamed_when_it_loses_it() -> None:
    assert named({}, {"metadata": {"name": "fixed"}})["metadata"]["name"] != "fixed"


@pytest.mark.parametrize("name", ["fixed", UNKNOWN])
def test_a_name_that_is_given_or_not_known_yet_is_left_alone(name: object) -> None:
    inputs = {"metadata": {"name": name, "labels": {"a": "b"}}}
    assert named(inputs) == inputs


def test_the_engines_proposal_is_taken_and_its_ban_is_kept() -> None:
    assert named({}, proposed="as-configured")["metadata"]["name"] == "as-configured"
    with pytest.raises(Failure, match="autonaming is disabled"):
        named({}, proposed="")


def test_a_patch_must_name_its_object_and_generated_names_are_refused() -> None:
    with pytest.raises(Failure, match="patch resources require"):
        named({}, patch=True)
    with pytest.raises(Failure, match="generateName"):
        named({"metadata": {"generateName": "x-"}})


def test_string_data_becomes_base64_data_and_wins() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": "x"}, "data": {"a": "old", "b": "kept"}}
    assert normalized(secret)["data"] == {"a": base64.b64encode(b"x").decode(), "b": "kept"}
    assert "stringData" not in normalized(secret)


def test_string_data_that_is_not_known_yet_stays() -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "stringData": {"a": UNKNOWN}}
    assert normalized(secret) == secret


def test_the_servers_own_fields_are_dropped_from_the_inputs() -> None:
    inputs = {"kind": "A", "metadata": {"name": "a", "uid": "1", "resourceVersion": "2", "managedFields": []}}
    assert normalized(inputs)["metadata"] == {"name": "a"}


@pytest.mark.parametrize(
    "token",
    [
        "kubernetes:helm.sh/v3:Release",
        "kubernetes:helm.sh/v4:Chart",
        "kubernetes:yaml/v2:ConfigGroup",
        "kubernetes:yaml:ConfigFile",
        "kubernetes:kustomize/v2:Directory",
    ],
)
def test_what_is_no_kubernetes_kind_is_refused_by_name(token: str) -> None:
    with pytest.raises(Refused, match=f"^{token}: not done by this plugin"):
        refuse(token)


def test_lists_are_refused_and_kinds_are_not() -> None:
    with pytest.raises(Failure, match="list resources exist for compatibility"):
        refuse("kubernetes:core/v1:PodList")
    refuse("kubernetes:core/v1:Pod")
    refuse("kubernetes:example.test/v1:AllowList")


def test_annotations_that_are_not_done_are_refused() -> None:
    with pytest.raises(Refused, match=r"pulumi\.com/replaceUnready"):
        check_annotations({"metadata": {"annotations": {"pulumi.com/replaceUnready": "true"}}})


def test_a_wait_for_that_says_nothing_is_refused_before_anything_is_made() -> None:
    check_annotations({"metadata": {"annotations": {"pulumi.com/waitFor": "condition=Ready"}}})
    with pytest.raises(Failure, match=r'waitFor: expected a "jsonpath=" or "condition=" prefix, got "Ready"'):
        check_annotations({"metadata": {"annotations": {"pulumi.com/waitFor": "Ready"}}})


def test_the_schemas_dashed_keys_go_both_ways() -> None:
    written = {"a": [{"x_kubernetes_preserve_unknown_fields": True}], "x_other": 1}
    assert dashed(written) == {"a": [{"x-kubernetes-preserve-unknown-fields": True}], "x_other": 1}
    assert underscored(dashed(written)) == written


def test_tokens_and_ids_are_read_as_pulumi_writes_them() -> None:
    urn = "urn:pulumi:dev::p::llm:index:VllmServer$kubernetes:apps/v1:Deployment::web"
    assert type_token(urn) == "kubernetes:apps/v1:Deployment"
    assert kind_of_token("kubernetes:core/v1:Pod") == {"apiVersion": "v1", "kind": "Pod"}
    assert kind_of_token("kubernetes:apps/v1:Deployment") == {"apiVersion": "apps/v1", "kind": "Deployment"}
    assert parse_identifier("ns/name") == ("ns", "name")
    assert parse_identifier("name") == ("", "name")
    assert is_patch_type("kubernetes:core/v1:NodePatch", "Node")
    assert not is_patch_type("kubernetes:example.test/v1:MergePatch", "MergePatch")


def test_the_state_holds_the_live_object_the_inputs_and_nothing_secret_in_the_open() -> None:
    inputs = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"k": "eA=="}}
    live = {**inputs, "type": "Opaque", "metadata": {"name": "s", "uid": "1"}}
    kept = state.checkpoint(inputs=inputs, live=live, api_version="v1", field_manager="pulumi-kubernetes-1")
    assert kept["data"] == Secret({"k": "eA=="})
    assert kept["__inputs"]["data"] == Secret({"k": "eA=="})
    assert kept["metadata"]["uid"] == "1"
    assert state.old_inputs(kept) == inputs
    assert state.old_live(kept) == live
    assert state.field_manager(kept, inputs) == "pulumi-kubernetes-1"
    assert state.initial_api_version(kept, {"apiVersion": "v2"}) == "v1"


def test_a_secret_in_the_inputs_of_any_object_is_secret_in_its_outputs() -> None:
    inputs = {"kind": "ConfigMap", "data": {"a": Secret("x"), "b": "y"}}
    live = {"kind": "ConfigMap", "data": {"a": "x", "b": "y"}}
    kept = state.checkpoint(inputs=inputs, live=live, api_version="v1", field_manager="m")
    assert kept["data"] == {"a": Secret("x"), "b": "y"}


def test_an_import_takes_over_all_but_what_is_the_servers() -> None:
    live = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "uid": "1", "annotations": {"deployment.kubernetes.io/revision": "1", "mine": "x"}},
        "spec": {"replicas": 1},
        "status": {"replicas": 1},
    }
    assert state.imported(live) == {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a", "annotations": {"mine": "x"}},
        "spec": {"replicas": 1},
    }


def test_of_a_custom_resource_an_import_takes_over_only_which_one_it_is() -> None:
    live = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "a", "namespace": "n", "uid": "1"},
        "spec": {"listeners": []},
    }
    assert state.imported(live) == {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "a", "namespace": "n"},
    }
