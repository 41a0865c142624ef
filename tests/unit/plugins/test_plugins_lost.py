"""Answers that are lost on the way: an object is made once, and no run forgets one that may be there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from kubernetes.client.configuration import Configuration

from plugins._provider import Failure
from plugins.kubernetes import cluster as cluster_module
from plugins.kubernetes import lost
from plugins.kubernetes.cluster import ApiError, Cancelled, Cluster, Unreachable

NOW = "Sat, 21 Nov 2026 13:00:10 GMT"
THING = {"kind": "ConfigMap", "metadata": {"name": "a"}}
EXISTS = (409, {"reason": "AlreadyExists", "message": 'configmaps "a" already exists'})
LOSE = None
Answer = tuple[int, dict[str, Any]] | None


def there(created: str, manager: str = "pulumi-kubernetes") -> tuple[int, dict[str, Any]]:
    metadata = {"name": "a", "uid": "u", "creationTimestamp": created, "managedFields": [{"manager": manager}]}
    return 200, {"kind": "ConfigMap", "metadata": metadata}


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., tuple[Cluster, list[str]]]]:
    """Makes a client of a server that gives prepared answers in turn, or cuts the connection; and what it is asked."""
    monkeypatch.setenv("KUBERNETES_RETRY_SECONDS", "0.6")
    monkeypatch.setattr(cluster_module, "_FIRST_PAUSE", 0.05)
    ended: list[Callable[[], None]] = []

    def start(*answers: Answer, **headers: str) -> tuple[Cluster, list[str]]:
        waiting, asked = list(answers), list[str]()

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked.append(f"{self.command} {self.path}")
                given = waiting.pop(0) if len(waiting) > 1 else waiting[0]
                if given is None:
                    return
                data = json.dumps(given[1]).encode()
                self.send_response_only(given[0])
                for name, value in {"Date": NOW, "Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = answer

            def log_message(self, *_: object) -> None:
                """Tests are quiet."""

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever, args=(0.05,))
        thread.start()
        ended.extend([http.shutdown, thread.join, http.server_close])
        configuration = Configuration()
        configuration.host = f"http://127.0.0.1:{http.server_port}"
        return Cluster(configuration, threading.Event()), asked

    yield start
    for end in ended:
        end()


def create(cluster: Cluster) -> dict[str, Any]:
    return cluster.request("POST", "/maps", body=THING, query={"fieldManager": "pulumi-kubernetes"})


Serve = Callable[..., tuple[Cluster, list[str]]]


@pytest.mark.parametrize("first", [LOSE, (504, {})])
def test_an_object_that_was_made_though_its_answer_was_lost_is_taken_for_ours(serve: Serve, first: Answer) -> None:
    cluster, asked = serve(first, EXISTS, there("2026-11-21T13:00:09Z"))
    assert create(cluster)["metadata"]["uid"] == "u"
    assert asked[0].startswith("POST")
    assert asked[-1] == "GET /maps/a"


@pytest.mark.parametrize(
    "found",
    [
        there("2026-11-21T12:00:00Z"),  # made long ago
        there("2026-11-21T13:00:09Z", "kubectl"),  # made by someone else
        (404, {"reason": "NotFound"}),
    ],
)
def test_an_object_that_someone_else_has_made_is_refused_as_ever(serve: Serve, found: Answer) -> None:
    cluster, _ = serve(LOSE, EXISTS, found)
    with pytest.raises(ApiError, match="already exists") as caught:
        create(cluster)
    assert not caught.value.maybe_done


def test_an_object_that_was_there_before_is_refused_without_a_look(serve: Serve) -> None:
    cluster, asked = serve(EXISTS)
    with pytest.raises(ApiError, match="already exists"):
        create(cluster)
    assert len(asked) == 1


def test_a_creation_that_stays_unanswered_may_be_done_and_a_reading_never_is(serve: Serve) -> None:
    cluster, asked = serve(LOSE)
    with pytest.raises(Unreachable, match=r"Gave up after 1 s\.") as caught:
        create(cluster)
    assert caught.value.maybe_done
    assert len(asked) > 2
    with pytest.raises(Unreachable) as caught:
        cluster.get("/x")
    assert not caught.value.maybe_done
    with pytest.raises(Unreachable) as caught:
        cluster.request("POST", "/maps", body=THING, query={"dryRun": "All"})
    assert not caught.value.maybe_done


def test_an_outage_is_said_once_and_its_end_too(serve: Serve) -> None:
    cluster, _ = serve(LOSE, LOSE, (503, {}), (200, {}))
    said: list[str] = []
    cluster.on_outage(said.append)
    cluster.get("/x")
    assert len(said) == 2
    assert said[0].endswith("Trying again for up to 1 s.")
    assert said[1].endswith("answers again")


def test_a_server_that_says_when_to_ask_again_is_asked_again(serve: Serve) -> None:
    cluster, asked = serve((500, {"message": "etcd has no leader"}), (200, {}), **{"Retry-After": "0"})
    cluster.get("/x")
    assert len(asked) == 2
    refusing, asked = serve((500, {"message": "defect"}), (200, {}))
    with pytest.raises(ApiError, match="defect"):
        refusing.get("/x")
    assert len(asked) == 1


def test_who_looks_again_anyway_is_told_at_once(serve: Serve) -> None:
    cluster, asked = serve(LOSE)
    with pytest.raises(Unreachable, match="cannot be reached"):
        cluster.once().get("/x")
    assert len(asked) == 1


class Objects:
    """Operations on one object, or none."""

    retry_seconds = 60.0

    def __init__(self, found: dict[str, Any] | None) -> None:
        self._found = found
        self.cluster = self

    def read(self, _obj: object, _name: str = "") -> dict[str, Any]:
        if self._found is None:
            raise ApiError(404, "NotFound", "gone")
        return self._found


def find(
    found: dict[str, Any] | None, was: dict[str, Any], *, anyones: bool = False, manager: str = "pulumi-kubernetes-1"
) -> dict[str, Any] | None:
    operations: Any = Objects(found)  # a stand-in of them
    return lost.found(operations, THING, was, manager, anyones=anyones)


def test_an_update_makes_the_object_that_was_never_seen_and_no_other() -> None:
    never_seen, seen = dict(THING), {**THING, "metadata": {"name": "a", "uid": "u"}}
    ours, theirs = there("x")[1], there("x", "kubectl")[1]
    assert find(None, never_seen) is None
    assert find(ours, {}) is ours  # of a run that was killed
    with pytest.raises(Failure, match="already exists"):
        find(theirs, never_seen)
    assert find(theirs, never_seen, anyones=True) is theirs
    with pytest.raises(ApiError, match="gone"):
        find(None, seen)  # somebody has deleted it: a refresh is due
    assert find(theirs, seen) is theirs


@pytest.mark.parametrize(
    ("made", "ours"),
    [
        ("2026-11-21T13:00:00Z", True),
        ("2026-11-21T12:58:00Z", True),  # at the first of the tries, which went on for a minute
        ("2026-11-21T13:00:50Z", True),  # the clocks differ
        ("2026-11-21T12:50:00Z", False),
        ("2026-11-21T13:02:00Z", False),
        ("at noon", False),
    ],
)
def test_what_every_stack_may_have_made_is_taken_only_at_the_time_of_the_attempt(made: str, *, ours: bool) -> None:
    given_up = {**THING, "metadata": {"name": "a", "creationTimestamp": "2026-11-21T13:00:00Z"}}
    assert lost.is_ours(there(made)[1], given_up, "pulumi-kubernetes-1", 60) is ours
    assert not lost.is_ours(there(made)[1], THING, "pulumi-kubernetes-1", 60)  # no time to compare with
    assert lost.is_ours(there(made)[1], {}, "", 60)  # of a run that was killed: whoever put it in knows the time
    assert lost.is_ours(there(made, "pulumi-kubernetes-1")[1], given_up, "pulumi-kubernetes-1", 60)
    assert lost.is_ours(there(made)[1], given_up, "pulumi-kubernetes", 60) is ours  # by an annotation's choice
    assert not lost.is_ours(there(made, "kubectl")[1], given_up, "pulumi-kubernetes-1", 60)


@pytest.mark.parametrize("look", [LOSE, (503, {}), (403, {})])
def test_a_lost_creation_whose_object_cannot_be_looked_at_stays_uncertain_and_ends(serve: Serve, look: Answer) -> None:
    cluster, asked = serve(LOSE, *[EXISTS, look] * 500)
    with pytest.raises((ApiError, Unreachable)) as caught:
        create(cluster)
    assert caught.value.maybe_done  # type: ignore[attr-defined]  # both have it
    assert "already exists" not in str(caught.value)
    assert len(asked) < 50  # with pauses


def test_a_lost_creation_whose_object_can_be_looked_at_in_a_moment_is_taken_for_ours(serve: Serve) -> None:
    cluster, _ = serve(LOSE, EXISTS, (503, {}), EXISTS, LOSE, EXISTS, there("2026-11-21T13:00:09Z"))
    assert create(cluster)["metadata"]["uid"] == "u"


def test_a_cancelled_creation_ends_while_its_object_cannot_be_looked_at(serve: Serve) -> None:
    cluster, _ = serve(LOSE, *[EXISTS, LOSE] * 500)
    cluster.retry_seconds = 60.0
    threading.Timer(0.2, cluster.cancelled.set).start()
    with pytest.raises(Cancelled) as caught:
        create(cluster)
    assert caught.value.maybe_done
