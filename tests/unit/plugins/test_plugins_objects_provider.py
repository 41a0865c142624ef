"""Create, Update, Read and Delete against a server that loses answers, fails in the middle or has another's object."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
import urllib3
from google.protobuf import any_pb2  # type: ignore[import-untyped]  # its stubs lie in a namespace package
from kubernetes.client.configuration import Configuration
from pulumi.runtime.proto import provider_pb2 as pb
from pulumi.runtime.proto import status_pb2

from plugins._values import Secret, from_struct, to_struct
from plugins.kubernetes import cluster as cluster_module
from plugins.kubernetes import config
from plugins.kubernetes.awaiting.loop import Awaiter
from plugins.kubernetes.cluster import ApiError, Cluster, Unreachable
from plugins.kubernetes.connection import Connection
from plugins.kubernetes.discovery import Discovery
from plugins.kubernetes.objects_provider import ObjectProvider
from plugins.kubernetes.operations import Operations

Json = dict[str, Any]
Script = Callable[[str, str], Any]

MAP: Json = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "llm"}, "data": {"a": "1"}}
MAP_URN = "urn:pulumi:t::p::kubernetes:core/v1:ConfigMap::m"
CREATE_MAP = pb.CreateRequest(urn=MAP_URN, properties=to_struct(MAP))
PATCH_URN = "urn:pulumi:t::p::kubernetes:core/v1:ConfigMapPatch::m"
DEPLOYMENT: Json = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "m", "namespace": "llm"},
    "spec": {"replicas": 1},
}
DEPLOYMENT_URN = "urn:pulumi:t::p::kubernetes:apps/v1:Deployment::m"
SERVED = {
    "/api/v1": {
        "resources": [
            {"name": "configmaps", "kind": "ConfigMap", "namespaced": True},
            {"name": "events", "kind": "Event", "namespaced": True},
            {"name": "pods", "kind": "Pod", "namespaced": True},
            {"name": "secrets", "kind": "Secret", "namespaced": True},
        ]
    },
    "/apis/apps/v1": {
        "resources": [
            {"name": "deployments", "kind": "Deployment", "namespaced": True},
            {"name": "replicasets", "kind": "ReplicaSet", "namespaced": True},
        ]
    },
}
GONE = ApiError(404, "NotFound", "not found")
LEADER_CHANGED = ApiError(500, "InternalError", "etcdserver: leader changed")
MANAGER = "pulumi-kubernetes-1"


def lost() -> Unreachable:
    error = Unreachable("the connection was reset")
    error.__cause__ = urllib3.exceptions.ProtocolError("reset")
    return error


class Aborted(Exception):
    """What a call has ended with: its text, and the resource that is kept all the same."""

    def __init__(self, code: grpc.StatusCode, text: str, kept: pb.ErrorResourceInitFailed | None) -> None:
        super().__init__(text)
        self.code = code
        self.kept = kept


class Context:
    """A call's end, as gRPC would have it."""

    kept: pb.ErrorResourceInitFailed | None = None

    def set_trailing_metadata(self, metadata: tuple[tuple[str, bytes]]) -> None:
        status = status_pb2.Status.FromString(metadata[0][1])
        found: any_pb2.Any = status.details[0]
        self.kept = pb.ErrorResourceInitFailed()
        found.Unpack(self.kept)

    def abort(self, code: grpc.StatusCode, text: str) -> None:
        raise Aborted(code, text, self.kept)

    def is_active(self) -> bool:
        return True


def scripted(monkeypatch: pytest.MonkeyPatch, script: Script, retry: float) -> Cluster:
    """A cluster whose answers, or errors, `script` gives for (method, path); kinds are served without it."""
    monkeypatch.setattr(cluster_module, "_FIRST_PAUSE", 0.02)
    monkeypatch.setenv("KUBERNETES_RETRY_SECONDS", str(retry))
    configuration = Configuration()
    configuration.host = "http://unused.test"
    result = Cluster(configuration, threading.Event())

    def once(method: str, target: str, _data: bytes | None, _headers: dict[str, str]) -> urllib3.HTTPResponse:
        path = target.partition("?")[0]
        answer = SERVED.get(path) or script(method, path)
        if isinstance(answer, Exception):
            raise answer
        return urllib3.HTTPResponse(json.dumps(answer).encode(), preload_content=True)

    monkeypatch.setattr(result, "_once", once)
    return result


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ObjectProvider]:
    """Makes a provider of a cluster with such a script."""

    def make(script: Script, retry: float = 0.1, **options: Any) -> ObjectProvider:
        cluster = scripted(monkeypatch, script, retry)
        operations = Operations(cluster, Discovery(cluster), patch_force=False)
        provider = ObjectProvider("4.0.0", "")
        awaiter = Awaiter(operations, cluster.cancelled)
        provider._connection = Connection(config.options(options, ""), "", operations, awaiter)
        return provider

    return make


Serve = Callable[..., ObjectProvider]


def call(provider: ObjectProvider, request: Any) -> Any:
    """The call that the request belongs to."""
    method = type(request).__name__.removesuffix("Request")
    return getattr(provider, method)(request, Context())


def fails(provider: ObjectProvider, request: Any, match: str) -> Aborted:
    with pytest.raises(Aborted, match=match) as caught:
        call(provider, request)
    return caught.value


def kept(error: Aborted) -> Json:
    """The outputs that go into the state, though the call has failed."""
    assert error.kept is not None
    found: Json = from_struct(error.kept.properties)
    return found


def stamp(seconds_ago: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def there(manager: str, seconds_ago: float = 0.0) -> Json:
    """The object as it is in the cluster, made by `manager`."""
    managed = [{"manager": manager, "operation": "Update"}]
    more = {"uid": "u", "creationTimestamp": stamp(seconds_ago), "managedFields": managed}
    return {**MAP, "metadata": {**MAP["metadata"], **more}}


def uncertain(given_up: float) -> Any:
    """The state of an object whose creation was given up so many seconds ago."""
    metadata = {**MAP["metadata"], "creationTimestamp": stamp(given_up)}
    state = {"__inputs": MAP, "__initialApiVersion": "v1", "__fieldManager": MANAGER}
    return to_struct({**MAP, "metadata": metadata, **state})


@pytest.mark.parametrize(
    ("found", "ours"),
    [
        (there("kubectl-create"), False),
        (there("pulumi-kubernetes"), True),
        (there("pulumi-kubernetes", 86400), False),  # another stack's, made before
        (there(MANAGER, 86400), True),
    ],
)
def test_a_refresh_takes_an_object_that_was_never_seen_only_if_this_stack_made_it(
    serve: Serve, found: Json, ours: bool
) -> None:
    request = pb.ReadRequest(id="llm/m", urn=MAP_URN, properties=uncertain(0), inputs=to_struct(MAP))
    assert bool(call(serve(lambda *_: found), request).id) is ours


@pytest.mark.parametrize(("made", "ours"), [(1000.0, True), (0.0, False), (5000.0, False)])
def test_a_deletion_takes_only_the_object_of_its_own_attempt_among_those_that_stacks_make(
    serve: Serve, made: float, ours: bool
) -> None:
    asked: list[str] = []

    def script(method: str, _path: str) -> Any:
        asked.append(method)
        return GONE if "DELETE" in asked[:-1] else there("pulumi-kubernetes", made)

    call(serve(script), pb.DeleteRequest(id="llm/m", urn=MAP_URN, properties=uncertain(1000)))
    assert ("DELETE" in asked) is ours


@pytest.mark.parametrize("properties", [uncertain(0), to_struct({})])
def test_a_deletion_of_what_was_never_seen_is_done_where_its_kind_is_gone(serve: Serve, properties: Any) -> None:
    urn = "urn:pulumi:t::p::kubernetes:example.test/v1:Gadget::m"
    gadget = from_struct(properties) | ({"apiVersion": "example.test/v1", "kind": "Gadget"} if len(properties) else {})
    call(serve(lambda *_: GONE), pb.DeleteRequest(id="llm/m", urn=urn, properties=to_struct(gadget)))


@pytest.mark.parametrize("last", [403, 500, 503, 504])
def test_a_creation_that_was_lost_stays_in_the_state_whatever_is_answered_later(serve: Serve, last: int) -> None:
    answers: list[Any] = [lost()]

    def script(method: str, _path: str) -> Any:
        assert method == "POST"
        return answers.pop() if answers else ApiError(last, "x", "refused")

    error = fails(serve(script), CREATE_MAP, "may have been created")
    outputs = kept(error)
    assert "uid" not in outputs["metadata"]
    assert outputs["metadata"]["creationTimestamp"] >= stamp(60)


@pytest.mark.parametrize("code", [500, 503, 504])
def test_a_creation_whose_end_the_server_does_not_know_stays_in_the_state(serve: Serve, code: int) -> None:
    provider = serve(lambda *_: ApiError(code, "x", "etcdserver: request timed out"))
    kept(fails(provider, CREATE_MAP, "may have been created"))
    dry = fails(provider, pb.CreateRequest(urn=MAP_URN, properties=to_struct(MAP), preview=True), "timed out")
    assert dry.kept is None


@pytest.mark.parametrize("code", [403, 422, 429])
def test_a_creation_that_was_refused_leaves_nothing_in_the_state(serve: Serve, code: int) -> None:
    provider = serve(lambda *_: ApiError(code, "x", "no"))
    assert fails(provider, CREATE_MAP, "was not successfully").kept is None


@pytest.mark.parametrize(("urn", "upsert"), [(PATCH_URN, False), (MAP_URN, True)])
def test_an_apply_that_was_lost_stays_in_the_state_and_the_next_update_makes_it_sure(
    serve: Serve, urn: str, upsert: bool
) -> None:
    foreign = there("kubectl-create", 86400)
    options = {"upsertExistingObjects": upsert}
    provider = serve(lambda method, _: lost() if method == "PATCH" else foreign, **options)
    inputs = to_struct(MAP)
    state = kept(fails(provider, pb.CreateRequest(urn=urn, properties=inputs), "may have been created"))
    again = serve(lambda *_: foreign, **options)
    done = call(again, pb.UpdateRequest(id="llm/m", urn=urn, olds=to_struct(state), news=inputs))
    assert from_struct(done.properties)["metadata"]["uid"] == "u"


def test_an_update_that_makes_what_was_never_seen_and_is_lost_again_remembers_the_new_attempt(serve: Serve) -> None:
    provider = serve(lambda method, _: lost() if method == "POST" else GONE)
    request = pb.UpdateRequest(id="llm/m", urn=MAP_URN, olds=uncertain(86400), news=to_struct(MAP))
    assert kept(fails(provider, request, "reset"))["metadata"]["creationTimestamp"] >= stamp(60)


def rolled_out(*, ready: int = 1) -> Json:
    metadata = {"uid": "d", "generation": 1, "annotations": {"deployment.kubernetes.io/revision": "1"}}
    conditions = [{"type": "Available", "status": "True"}]
    status = {"observedGeneration": 1, "updatedReplicas": ready, "conditions": conditions}
    return {**DEPLOYMENT, "metadata": {**DEPLOYMENT["metadata"], **metadata}, "status": status}


def replica_set(ready: int) -> Json:
    metadata = {
        "name": "m-1",
        "annotations": {"deployment.kubernetes.io/revision": "1"},
        "ownerReferences": [{"uid": "d"}],
    }
    return {"metadata": metadata, "spec": {"replicas": 1}, "status": {"readyReplicas": ready}}


def test_a_server_error_in_the_middle_of_the_waiting_is_waited_for(serve: Serve) -> None:
    errors = [LEADER_CHANGED]

    def script(method: str, path: str) -> Any:
        if method == "GET" and errors:
            return errors.pop()
        return {"items": [replica_set(1)]} if path.endswith("/replicasets") else rolled_out()

    done = call(serve(script, 30), pb.CreateRequest(urn=DEPLOYMENT_URN, properties=to_struct(DEPLOYMENT)))
    assert done.id == "llm/m"
    assert not errors


def test_a_cluster_that_does_not_serve_the_autoscalers_version_is_waited_on_all_the_same(serve: Serve) -> None:
    rounds = [0, 1]  # ready at the second look; at the first one, autoscalers are asked for

    def script(method: str, path: str) -> Any:
        if path.endswith("/replicasets"):
            return {"items": [replica_set(rounds.pop(0) if len(rounds) > 1 else rounds[0])]}
        if path.startswith("/apis/autoscaling/"):
            return GONE
        return {"items": []} if method == "GET" and not path.endswith("/m") else rolled_out()

    assert call(serve(script), pb.CreateRequest(urn=DEPLOYMENT_URN, properties=to_struct(DEPLOYMENT))).id == "llm/m"


def test_an_object_that_was_made_and_cannot_be_waited_for_is_kept_and_its_change_too(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise AttributeError("no such attribute")

    provider = serve(lambda *_: rolled_out())
    monkeypatch.setattr(Awaiter, "ready", broken)
    create = pb.CreateRequest(urn=DEPLOYMENT_URN, properties=to_struct(DEPLOYMENT))
    error = fails(provider, create, "was created, but could not be waited for: no such attribute")
    assert kept(error)["metadata"]["uid"] == "d"
    assert "AttributeError" in capsys.readouterr().err  # a defect: with its traceback
    olds = to_struct(kept(error))
    update = pb.UpdateRequest(id="llm/m", urn=DEPLOYMENT_URN, olds=olds, news=to_struct(DEPLOYMENT))
    assert kept(fails(provider, update, "no such attribute"))["metadata"]["uid"] == "d"
    assert "AttributeError" in capsys.readouterr().err


def test_a_refresh_tries_again_and_says_clearly_what_it_cannot_read(serve: Serve) -> None:
    errors: list[Exception] = [lost()]

    def script(_method: str, path: str) -> Any:
        if path.endswith("/replicasets"):
            return errors.pop() if errors else {"items": [replica_set(1)]}
        return rolled_out()

    state = to_struct({**rolled_out(), "__inputs": DEPLOYMENT, "__fieldManager": MANAGER})
    request = pb.ReadRequest(id="llm/m", urn=DEPLOYMENT_URN, properties=state, inputs=to_struct(DEPLOYMENT))
    assert call(serve(script, 30), request).id == "llm/m"
    refused = serve(lambda _, path: LEADER_CHANGED if path.endswith("/replicasets") else rolled_out())
    assert fails(refused, request, "llm/m could not be read: etcdserver").code is grpc.StatusCode.UNKNOWN


def test_a_deletion_names_the_object_itself_and_leaves_its_successor(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []
    successor = there("kubectl")
    successor["metadata"]["uid"] = "another"

    def script(method: str, _path: str) -> Any:
        if method == "DELETE":
            return ApiError(409, "Conflict", "the UID in the precondition does not match")
        return successor

    provider = serve(script)
    operations, _ = provider._connection.connected()
    once = operations.cluster._once

    def recording(method: str, target: str, data: bytes | None, headers: dict[str, str]) -> urllib3.BaseHTTPResponse:
        sent.append(json.loads(data) if data else None)
        return once(method, target, data, headers)

    monkeypatch.setattr(operations.cluster, "_once", recording)
    state = to_struct({**there(MANAGER), "__inputs": MAP, "__fieldManager": MANAGER})
    call(provider, pb.DeleteRequest(id="llm/m", urn=MAP_URN, properties=state))
    assert [body["preconditions"] for body in sent if body] == [{"uid": "u"}]


def test_the_copy_of_a_secret_that_kubectl_has_left_is_a_secret_in_the_state(serve: Serve) -> None:
    secret: Json = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "m", "namespace": "llm"}}
    secret["data"] = {"password": "aHVudGVyMg=="}
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(secret), "plain": "1"}
    live = {**secret, "metadata": {**secret["metadata"], "uid": "u", "annotations": annotations}}
    urn = "urn:pulumi:t::p::kubernetes:core/v1:Secret::m"
    outputs = from_struct(call(serve(lambda *_: live), pb.ReadRequest(id="llm/m", urn=urn)).properties)
    assert outputs["metadata"]["annotations"]["plain"] == "1"
    assert "aHVudGVyMg" not in str(_open(outputs))


def _open(value: Any) -> Any:
    """`value` without its secrets: what stands in a state in plain text."""
    if isinstance(value, Secret):
        return None
    if isinstance(value, dict):
        return {name: _open(item) for name, item in value.items()}
    return value
