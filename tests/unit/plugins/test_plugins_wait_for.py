"""pulumi.com/waitFor and PULUMI_K8S_AWAIT_ALL: the official provider's expressions, its errors and kstatus' rules."""

from __future__ import annotations

import re
from typing import Any

import pytest

from plugins.kubernetes.awaiting.kstatus import check_any
from plugins.kubernetes.awaiting.progress import Progress, Related
from plugins.kubernetes.awaiting.wait_for import parse

NOTHING = Related(lambda *_: [], lambda *_: None)
TIMED_OUT = "timed out waiting for the condition"


def look(expression: str, **obj: Any) -> Progress:
    return parse(expression)(obj, None, NOTHING)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("Ready", 'expected a "jsonpath=" or "condition=" prefix, got "Ready"'),
        ('["condition=Ready", "phase"]', 'expected a "jsonpath=" or "condition=" prefix, got "phase"'),
        ("[]", "at least one condition must be specified"),
        ("jsonpath='{.status.phase}'=Running", "'{.status.phase}' should omit shell quotes"),
        ("jsonpath=.status.phase", ".status.phase should be wrapped in brackets { ... }"),
        ("jsonpath={.metadata.name}=", "{.metadata.name}= requires a value"),
        ("jsonpath={.a}='b=c'", "format should be {.path}=value or {.path}, got \"{.a}='b=c'\""),
        ("jsonpath={ .webhooks[].ca }", 'parsing "{ .webhooks[].ca }": empty bracketed segment'),
    ],
)
def test_an_expression_that_is_none_is_refused_in_the_official_words(expression: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        parse(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "jsonpath={.status.phase}",
        "jsonpath={$.status.phase}=Bound",
        "jsonpath={ .status.phase }=Bound",
        "jsonpath={.status.list}",
        "jsonpath={.status.none}",
        "jsonpath={.status.none}=<nil>",
        "jsonpath={.status.replicas}=3",
        "jsonpath={.status.ok}=true",
        'jsonpath={.status.conditions[?(@.type=="Failed"||@.type=="Complete")].status}=True',
        'jsonpath={.status[?@ == "Running" || @ == "Bound" ]}',
        "condition=Complete",
        "condition=complete=true",
        "condition=Idle=False",
        '["condition=Complete", "jsonpath={.status.phase}=Bound"]',
    ],
)
def test_an_expression_that_holds_ends_the_waiting(expression: str) -> None:
    status = {
        "phase": "Bound",
        "replicas": 3,
        "ok": True,
        "none": None,
        "list": [1],
        "conditions": [{"type": "Idle", "status": "False"}, {"type": "Complete", "status": "True"}],
    }
    assert look(expression, status=status).ready


@pytest.mark.parametrize(
    ("expression", "status", "shown"),
    [
        ("jsonpath={.status.phase}", {}, "{.status.phase} selected nothing"),
        ("jsonpath={.status.phase}=Bound", {"phase": "Lost"}, 'Waiting for {.status.phase}=Bound (found "Lost")'),
        ("condition=Ready", {}, "Has no .status.conditions"),
        ("condition=Ready", {"conditions": []}, "Waiting for condition Ready=True"),
        (
            "condition=Ready",
            {"conditions": [{"type": "Ready", "status": "False"}]},
            "Resource has condition Ready=False (want True)",
        ),
        (
            '["jsonpath={.status.phase}", "condition=Ready"]',
            {"phase": "x", "conditions": []},
            "Waiting for condition Ready=True",
        ),
    ],
)
def test_an_expression_that_does_not_hold_yet_says_what_is_there(
    expression: str, status: dict[str, Any], shown: str
) -> None:
    progress = look(expression, status=status)
    assert not progress.ready
    assert (progress.infos, progress.errors, progress.timed_out) == ([shown], [shown], TIMED_OUT)


def test_a_status_of_an_older_generation_does_not_count() -> None:
    met = {"type": "Ready", "status": "True"}
    metadata = {"generation": 2}
    for status in ({"observedGeneration": 1, "conditions": [met]}, {"conditions": [{**met, "observedGeneration": 1}]}):
        assert look("condition=Ready", metadata=metadata, status=status).infos == [
            "Generation 1 is less than expected 2"
        ]
    old = {"observedGeneration": 1, "phase": "Bound"}
    assert not look("jsonpath={.status.phase}=Bound", metadata=metadata, status=old).ready
    assert look("jsonpath={.status.phase}=Bound", metadata=metadata, status={**old, "observedGeneration": 2}).ready


def test_a_value_cannot_be_compared_with_an_object_and_the_timeout_says_so() -> None:
    progress = look("jsonpath={.status}=x", status={"a": 1})
    assert not progress.ready
    assert progress.timed_out == '"{.status}" has a non-primitive value ({"a": 1})'


def current(kind: str = "example.test/v1/Widget", generation: int = 1, **more: Any) -> Progress:
    api_version, _, name = kind.rpartition("/")
    obj = {"apiVersion": api_version, "kind": name, "metadata": {"name": "w", "generation": generation}, **more}
    return check_any(obj, None, NOTHING)


def test_an_object_without_conditions_is_current() -> None:
    assert current().ready
    assert current("v1/ConfigMap").ready
    assert current(status={"conditions": [{"type": "Ready", "status": "True"}]}).ready


@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        ({"type": "Ready", "status": "False", "message": "no device"}, "no device"),
        ({"type": "Ready", "status": "Unknown"}, "Waiting for readiness"),
        ({"type": "Reconciling", "status": "True", "message": "at it"}, "at it"),
        ({"type": "Stalled", "status": "True", "message": "stuck"}, "stuck"),
    ],
)
def test_a_condition_against_it_keeps_an_object_from_being_current(condition: dict[str, str], shown: str) -> None:
    progress = current(status={"conditions": [condition]})
    assert (progress.ready, progress.infos, progress.timed_out) == (False, [shown], TIMED_OUT)


def test_a_generation_that_is_not_observed_is_waited_for() -> None:
    assert current(generation=3, status={"observedGeneration": 2}).infos == [
        "Widget generation is 3, but latest observed generation is 2"
    ]


def test_a_definition_is_current_when_its_kind_is_served() -> None:
    kind = "apiextensions.k8s.io/v1/CustomResourceDefinition"
    assert current(kind).infos == ["Install in progress"]
    assert current(kind, status={"conditions": [{"type": "Established", "status": "True"}]}).ready
    refused = {"type": "NamesAccepted", "status": "False", "message": "taken"}
    assert current(kind, status={"conditions": [refused]}).infos == ["taken"]


def test_a_replica_set_is_current_when_its_pods_are_ready() -> None:
    full = {"fullyLabeledReplicas": 2, "availableReplicas": 2, "readyReplicas": 2, "replicas": 2}
    spec = {"replicas": 2}
    assert current("apps/v1/ReplicaSet", spec=spec, status=full).ready
    for field, shown in (
        ("fullyLabeledReplicas", "Labelled: 1/2"),
        ("availableReplicas", "Available: 1/2"),
        ("readyReplicas", "Ready: 1/2"),
    ):
        assert current("apps/v1/ReplicaSet", spec=spec, status={**full, field: 1}).infos == [shown]
    assert current("apps/v1/ReplicaSet", spec=spec, status={**full, "replicas": 3}).infos == ["Pending termination: 1"]


@pytest.mark.parametrize("conditions", [{"Ready": "True"}, ["Ready"], [{"type": None}], "Ready", 1])
def test_conditions_in_another_form_than_kubernetes_say_nothing(conditions: object) -> None:
    status = {"conditions": conditions}
    assert not look("condition=Ready", status=status).ready
    assert check_any({"apiVersion": "v1", "kind": "X", "status": status}, None, NOTHING).ready


def test_an_observed_generation_that_is_no_number_says_nothing() -> None:
    status = {"observedGeneration": "1", "conditions": [{"type": "Ready", "status": "True"}]}
    assert look("condition=Ready", metadata={"generation": 2}, status=status).ready
    assert look("jsonpath={.status.observedGeneration}=1", metadata={"generation": 2}, status=status).ready
