"""What a run that died had begun to create, and how it gets into the state."""

from __future__ import annotations

import json

import pytest
from interrupted import NOW, OLD, failed, found_live, pending, resource, resources_of, state
from on_mocks import Raw

from cli.recovery import begun, needed, provisional, settled, unseen


@pytest.mark.parametrize(
    ("metadata", "identifier"),
    [({"name": "chat", "namespace": "llm"}, "llm/chat"), ({"name": "chat"}, "chat")],
)
@pytest.mark.parametrize("how", ["pending", "failed"])
def test_what_was_being_created_is_looked_up_by_its_own_name(
    how: str, metadata: dict[str, str], identifier: str
) -> None:
    item = resource(metadata=metadata)
    left = state(OLD, operations=(pending(item),) if how == "pending" else ())
    found = begun(left, failed(item) if how == "failed" else [])
    prepared = provisional(left, found)
    assert [(r["urn"], r.get("id")) for r in resources_of(prepared)] == [
        ("old", None),
        (item["urn"], identifier),
    ]
    assert "pending_operations" not in prepared["deployment"]
    assert unseen(prepared) == [item["urn"]]


@pytest.mark.parametrize(
    "item",
    [resource("kubernetes:core/v1:ConfigMap", metadata={"namespace": "llm"}), resource("command:local:Command")],
    ids=["without a name of its own", "not Kubernetes'"],
)
def test_what_cannot_be_looked_up_is_begun_again(item: Raw) -> None:
    left = state(OLD, operations=(pending(item),))
    assert resources_of(provisional(left, begun(left, []))) == [OLD]


def test_what_was_being_changed_is_in_the_state_already() -> None:
    left = state(found_live(resource()), operations=(pending(resource(), "updating"),))
    assert begun(left, []) == []
    assert "pending_operations" not in provisional(left, [])["deployment"]


def test_what_has_failed_is_forgotten_once_another_run_has_written_the_state() -> None:
    events = failed(resource())
    assert [item.name for item in begun(state(OLD, written=NOW + 5), events)] == ["chat"]
    assert begun(state(OLD, written=NOW + 3600), events) == []


def test_the_events_of_a_killed_run_end_anywhere() -> None:
    events = failed(resource())
    assert [item.name for item in begun(state(OLD), [*events, '{"timest'])] == ["chat"]


def test_what_is_in_the_state_is_not_taken_in_twice() -> None:
    assert begun(state(found_live(resource())), failed(resource())) == []


def test_what_an_event_hides_is_a_secret_until_the_refresh_tells_it() -> None:
    item = resource("kubernetes:core/v1:Secret")
    item["inputs"]["data"] = {"key": "[secret]"}
    left = state(OLD)
    taken = resources_of(provisional(left, begun(left, failed(item))))[-1]
    assert taken["inputs"]["data"]["key"]["4dabf18193072939515e22adb298388d"] == "1b47061264138c4ac30d75fd1eb44270"


@pytest.mark.parametrize(
    ("live", "kept"),
    [
        (found_live(resource()), True),
        (found_live(resource(), "kubelet", "pulumi-kubernetes"), True),
        (found_live(resource(), "kubectl-create"), False),
        (found_live(resource(), "kubectl-create", "pulumi-kubernetes-deadbeef"), False),
        (found_live(resource(), made=NOW - 3600), False),
        (found_live(resource(), made=NOW + 3600), False),
    ],
    ids=["ours", "ours, with a status", "made by hand", "made by hand, patched by Pulumi", "there before", "later"],
)
def test_what_somebody_else_has_made_is_left_to_him(live: Raw, kept: bool) -> None:
    found = begun(state(OLD), failed(resource()))
    after, left = settled(state(OLD, live), found)
    assert (live in resources_of(after)) is kept
    assert OLD in resources_of(after)
    assert left == ([] if kept else ["llm/chat"])


def test_what_no_event_tells_of_is_left_to_whoever_has_made_it() -> None:
    """The state does not say when it was begun, so an object of years ago would be taken for it."""
    left = state(operations=(pending(resource()),))
    assert settled(state(found_live(resource())), begun(left, [])) == (state(), ["llm/chat"])


def test_what_was_begun_when_the_log_was_cut_off_counts_from_the_start_of_the_run() -> None:
    left = state(operations=(pending(resource()),))
    found = begun(left, failed(resource(name="other")))
    assert resources_of(settled(state(found_live(resource())), found)[0]) != []


def test_what_nobody_has_looked_at_yet_is_still_begun() -> None:
    """A mending that fails halfway must not make somebody else's object ours."""
    left = state(OLD, operations=(pending(resource()),))
    events = failed(resource())[:1]
    prepared = provisional(left, begun(left, events))
    again = begun(prepared, events)
    assert [(item.name, item.id) for item in again] == [("chat", "llm/chat")]
    assert provisional(prepared, again) == prepared
    assert resources_of(settled(state(OLD, found_live(resource(), "kubectl-create")), again)[0]) == [OLD]
    assert settled(prepared, again) == (prepared, [])


def test_a_resource_of_another_stack_s_provider_is_not_taken_in() -> None:
    item = {**resource(), "provider": "urn:pulumi:test::llm-serving::pulumi:providers:kubernetes::cluster::other"}
    assert begun(state(OLD), failed(item)) == []


def test_a_component_is_nothing_to_look_at() -> None:
    component = {"urn": "chart", "type": "kubernetes:helm.sh/v3:Chart", "custom": False}
    assert unseen(state(component)) == []
    assert begun(state(component), []) == []


@pytest.mark.parametrize("cut", ["", '{"timest', "7", '{"timestamp": 1'])
def test_a_line_that_cannot_be_read_hides_no_other(cut: str) -> None:
    events = failed(resource())
    assert [item.name for item in begun(state(OLD), [events[0], cut, events[1]])] == ["chat"]


def test_what_is_kept_of_an_event_log_tells_the_same_and_no_more() -> None:
    item = {**resource(), "outputs": {"status": "seen"}}
    outputs = {"resOutputsEvent": {"metadata": {"op": "create", "urn": "stack", "new": {"outputs": {"key": "sk-1"}}}}}
    other = failed({**resource("command:local:Command"), "inputs": {"environment": {"key": "sk-5"}}})
    events = [
        json.dumps({"timestamp": NOW - 9, "preludeEvent": {"config": {"key": "sk-2"}}}),
        *failed(item),
        *[line.replace("create", "update") for line in failed(resource(name="sk-3"))],
        json.dumps({**outputs, "timestamp": NOW + 5}),
        *other,
        json.dumps({"timestamp": NOW + 9, "stdoutEvent": {"message": "sk-4"}}),
    ]
    kept = needed(events)
    left = state(OLD, operations=(pending(resource(name="begun")),))
    assert begun(left, kept) == begun(left, events)
    assert needed(kept) == kept
    text = "".join(kept)
    assert "sk-" not in text
    assert "seen" not in text
    assert needed([]) == []


def test_a_patch_is_taken_in_whoever_has_made_the_object() -> None:
    item = resource("kubernetes:core/v1:NodePatch", name="gpu-a")
    live = {**found_live(item, "kubelet", made=NOW - 3600), "id": "llm/gpu-a"}
    found = begun(state(OLD), failed(item))
    assert live in resources_of(settled(state(OLD, live), found)[0])


@pytest.mark.parametrize("halfway", [False, True], ids=["at once", "after a mending that failed"])
@pytest.mark.parametrize("is_there", [True, False])
def test_what_is_replaced_goes_only_if_its_successor_is_there(is_there: bool, halfway: bool) -> None:
    before = {**found_live(resource()), "id": "llm/chat-1"}
    events = failed(resource(), op="create-replacement")
    left = state(before, operations=(pending(resource()),))
    found = begun(left, events)
    prepared = provisional(left, found)
    assert [r.get("delete") for r in resources_of(prepared)] == [True, None]
    if halfway:
        found = begun(prepared, events)
    gone, new = resources_of(prepared)
    refreshed = state(gone, found_live(new)) if is_there else state(gone)
    after = resources_of(settled(refreshed, found)[0])
    assert [(r["id"], r.get("delete")) for r in after] == (
        [("llm/chat-1", True), ("llm/chat", None)] if is_there else [("llm/chat-1", None)]
    )


DEPENDENT = {"urn": "dependent", "type": "a:b:c", "dependencies": [resource()["urn"]]}


@pytest.mark.parametrize("how", ["pending", "failed"])
def test_what_was_deleted_to_be_replaced_gives_its_place_to_its_successor(how: str) -> None:
    """Both have one id: marked to be deleted, the old one would take the new object along."""
    before = {**found_live(resource()), "pendingReplacement": True, "inputs": "before"}
    left = state(OLD, before, DEPENDENT, operations=(pending(resource()),) if how == "pending" else ())
    found = begun(left, failed(resource(), op="create-replacement") if how == "failed" else [])
    prepared = resources_of(provisional(left, found))
    assert [item["urn"] for item in prepared] == ["old", resource()["urn"], "dependent"]
    assert prepared[1] == {**resource(), "id": "llm/chat", "outputs": {}}


def test_what_others_depend_on_stays_and_is_never_deleted_if_its_name_is_somebody_else_s() -> None:
    events = failed(resource(), op="create-replacement")
    left = state({**found_live(resource()), "pendingReplacement": True}, DEPENDENT)
    found = begun(left, events)
    after, names = settled(state(found_live(resource(), "kubectl-create"), DEPENDENT), found)
    assert names == ["llm/chat"]
    kept, dependent = resources_of(after)
    assert dependent == DEPENDENT
    assert (kept["pendingReplacement"], kept["outputs"]) == (True, {})
    assert unseen(after) == []
