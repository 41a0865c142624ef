"""Property values: what goes through the engine's protobuf structs comes back the same."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pulumi.runtime import rpc

from plugins._values import (
    ARCHIVE,
    ASSET,
    SIGNATURE,
    UNKNOWN,
    Secret,
    UnsupportedValue,
    conceal,
    from_struct,
    has_secret,
    has_unknown,
    reveal,
    to_struct,
)

NAMES = st.text(min_size=1, max_size=8).filter(lambda name: name != SIGNATURE)
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**53), 2**53),
    st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number.is_integer()),
    st.text().filter(lambda text: text != rpc.UNKNOWN),
    st.just(UNKNOWN),
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(NAMES, inner, max_size=4), inner.map(Secret)),
    max_leaves=12,
)
PROPERTIES = st.dictionaries(NAMES, VALUES, max_size=5)


@given(PROPERTIES)
def test_a_round_trip_changes_nothing(properties: dict[str, Any]) -> None:
    assert from_struct(to_struct(properties)) == properties


@given(PROPERTIES)
def test_whole_numbers_come_back_as_int_and_truth_values_stay_what_they_are(properties: dict[str, Any]) -> None:
    back = from_struct(to_struct({"replicas": 1, "on": True, **properties}))
    assert isinstance(back["replicas"], int) or "replicas" in properties
    assert "on" in properties or back["on"] is True


def test_a_number_too_large_to_be_exact_stays_a_float() -> None:
    assert isinstance(from_struct(to_struct({"n": 2.0**60}))["n"], float)


@given(PROPERTIES)
def test_nothing_secret_is_left_after_revealing(properties: dict[str, Any]) -> None:
    assert not has_secret(reveal(properties))
    assert has_unknown(reveal(properties)) == has_unknown(properties)


@given(PROPERTIES)
def test_what_was_secret_is_secret_again_after_concealing(properties: dict[str, Any]) -> None:
    concealed = conceal(reveal(properties), properties)
    assert reveal(concealed) == reveal(properties)
    assert has_secret(concealed) == has_secret(properties)


def test_a_list_with_one_secret_becomes_secret_as_a_whole() -> None:
    kept = conceal({"args": ["b", "a"], "plain": 1}, {"args": [Secret("a"), "b"], "plain": 1})
    assert kept == {"args": Secret(["b", "a"]), "plain": 1}


@pytest.mark.parametrize(
    ("signature", "named"),
    [
        (rpc._special_asset_sig, "an asset"),
        (rpc._special_archive_sig, "an archive"),
        (rpc._special_resource_sig, "a reference to a resource"),
    ],
)
def test_values_that_are_not_taken_are_refused_with_their_path(signature: str, named: str) -> None:
    with pytest.raises(UnsupportedValue, match=rf"^spec\.files\[0\] is {named}"):
        from_struct(to_struct({"spec": {"files": [{SIGNATURE: signature}]}}))


@pytest.mark.parametrize("signature", [ASSET, ARCHIVE])
def test_assets_are_taken_where_they_are_asked_for_and_go_back_as_they_came(signature: str) -> None:
    asset = {SIGNATURE: signature, "path": "script.sh", "hash": "1"}
    properties = {"triggers": [1, asset, {"deep": asset}], "source": Secret(asset), "port": 22, "unknown": UNKNOWN}
    struct = to_struct(properties)
    assert from_struct(struct, assets=True) == properties
    assert to_struct(from_struct(struct, assets=True)) == struct


def test_a_resource_is_refused_among_assets_too() -> None:
    reference = {"ref": {SIGNATURE: rpc._special_resource_sig, "urn": "urn:pulumi:dev::test::a:b:C::c"}}
    with pytest.raises(UnsupportedValue, match=r"^ref is a reference to a resource"):
        from_struct(to_struct(reference), assets=True)


def test_an_output_value_without_a_value_is_unknown_and_its_secrecy_is_kept() -> None:
    output = {SIGNATURE: rpc._special_output_value_sig, "secret": True}
    assert from_struct(to_struct({"a": output}))["a"] == Secret(UNKNOWN)
