"""What has changed about a command, as the official plugin's framework tells it (observed with its version 1.2.1)."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime.proto import provider_pb2 as pb

from plugins._values import ARCHIVE, ASSET, SIGNATURE, UNKNOWN, Secret
from plugins.command.diffing import diff

Kinds = pb.PropertyDiff
FILE = {SIGNATURE: ASSET, "path": "a", "hash": "1"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"create": "a"}, {"create": "a"}, {}),
        ({"create": "a"}, {"create": "b"}, {"create": Kinds.UPDATE}),
        ({"create": "a"}, {"create": "a", "update": "b"}, {"update": Kinds.ADD}),
        ({"create": "a", "update": None}, {"create": "a"}, {}),
        ({"create": "a", "update": "b"}, {"create": "a"}, {"update": Kinds.DELETE}),
        (
            {"environment": {"A": "1", "B": "2", "x.y": "3"}},
            {"environment": {"A": "2", "C": "2", "x.y": "4"}},
            {
                "environment.A": Kinds.UPDATE,
                "environment.B": Kinds.DELETE,
                "environment.C": Kinds.ADD,
                'environment["x.y"]': Kinds.UPDATE,
            },
        ),
        ({"environment": {"A": Secret("1")}}, {"environment": {"A": Secret("2")}}, {"environment.A": Kinds.UPDATE}),
        ({"stdin": Secret("1")}, {"stdin": Secret("1")}, {}),
        ({"stdin": Secret("1")}, {"stdin": "1"}, {"stdin": Kinds.UPDATE}),
        ({"connection": Secret({"host": "a"})}, {"connection": Secret({"host": "b"})}, {"connection": Kinds.UPDATE}),
        ({"stdin": "1"}, {"stdin": UNKNOWN}, {"stdin": Kinds.UPDATE}),
        ({"triggers": [1]}, {"triggers": [True]}, {"triggers[0]": Kinds.UPDATE}),
        ({"triggers": [1]}, {"triggers": [1, 2]}, {"triggers[1]": Kinds.ADD}),
        ({"triggers": [1, 2]}, {"triggers": [1]}, {"triggers[1]": Kinds.DELETE}),
        ({"triggers": [1]}, {"triggers": [{"a": 1}]}, {"triggers[0]": Kinds.UPDATE}),
        ({"triggers": [1]}, {}, {"triggers": Kinds.DELETE_REPLACE}),
        ({}, {"triggers": [1]}, {"triggers": Kinds.ADD_REPLACE}),
        ({"source": FILE}, {"source": {**FILE, "path": "moved"}}, {}),
        ({"source": FILE}, {"source": {**FILE, "hash": "2"}}, {"source": Kinds.UPDATE}),
        ({"source": FILE}, {"source": {**FILE, SIGNATURE: ARCHIVE}}, {"source": Kinds.UPDATE}),
        ({"triggers": [FILE]}, {"triggers": ["a"]}, {"triggers[0]": Kinds.UPDATE}),
    ],
)
def test_each_change_has_its_path_and_kind(old: dict[str, Any], new: dict[str, Any], expected: dict[str, int]) -> None:
    answer = diff(old, new)
    assert {path: change.kind for path, change in answer.detailedDiff.items()} == expected
    assert answer.changes == (pb.DiffResponse.DIFF_SOME if expected else pb.DiffResponse.DIFF_NONE)
    assert set(answer.replaces) == {path for path, kind in expected.items() if path == "triggers"}
    assert not answer.deleteBeforeReplace
    assert not any(change.inputDiff for change in answer.detailedDiff.values())


def test_the_properties_that_differ_are_named_by_their_first_name() -> None:
    answer = diff({"environment": {"A": "1"}, "triggers": [1]}, {"environment": {"A": "2"}, "triggers": [2]})
    assert list(answer.diffs) == ["environment", "triggers"]
