"""Waiting: when each kind is what it should be, what is said meanwhile, and what the time-out says."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import pytest

from plugins._engine import Engine, Status
from plugins.kubernetes.awaiting import loop
from plugins.kubernetes.awaiting.loop import CHECKS, Awaiter, NotReady
from plugins.kubernetes.awaiting.pods import pod_problems
from plugins.kubernetes.awaiting.progress import Progress, Related
from plugins.kubernetes.cluster import ApiError, Unreachable
from plugins.kubernetes.objects import group_version_kind

OWNER = [{"uid": "u1"}]
REVISION = "deployment.kubernetes.io/revision"
AVAILABLE = {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable", "message": "ok"}
UNAVAILABLE = {
    "type": "Available",
    "status": "False",
    "reason": "MinimumReplicasUnavailable",
    "message": "Deployment does not have minimum availability.",
}
ROLLED_OUT = {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable", "message": "done"}
ROLLING = {"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "going on"}


def beside(**objects: list[dict[str, Any]]) -> Related:
    """Objects beside the one in question, by their kind."""

    def reading(_api_version: str, kind: str, name: str) -> dict[str, Any] | None:
        return next((item for item in objects.get(kind, []) if item["metadata"]["name"] == name), None)

    return Related(lambda _api_version, kind: objects.get(kind, []), reading)


def check(obj: dict[str, Any], last: dict[str, Any] | None = None, **objects: list[dict[str, Any]]) -> Progress:
    """What the kind's check says."""
    return CHECKS[group_version_kind(obj)](obj, last, beside(**objects))


def deployment(
    *conditions: dict[str, Any], revision: str = "1", observed: int = 1, updated: int = 1, **spec: Any
) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": "web",
            "namespace": "ns",
            "uid": "u1",
            "generation": 1,
            "annotations": {REVISION: revision},
        },
        "spec": spec,
        "status": {"observedGeneration": observed, "updatedReplicas": updated, "conditions": list(conditions)},
    }


def replica_set(ready: int, revision: str = "1", replicas: int = 1) -> dict[str, Any]:
    metadata = {"name": "web-1", "uid": "u2", "ownerReferences": OWNER, "annotations": {REVISION: revision}}
    return {"metadata": metadata, "spec": {"replicas": replicas}, "status": {"readyReplicas": ready}}


def pod(owner: str = "u2", conditions: list[dict[str, Any]] | None = None, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web-1-x", "namespace": "ns", "uid": "u3", "ownerReferences": [{"uid": owner}]},
        "status": {"conditions": conditions or [], **status},
    }


def conditions(scheduled: bool = True, initialized: bool = True, ready: bool = True, message: str = "") -> list[Any]:
    states = {"PodScheduled": scheduled, "Initialized": initialized, "Ready": ready}
    return [
        {"type": kind, "status": str(state), "reason": "" if state else "Why", "message": "" if state else message}
        for kind, state in states.items()
    ]


PULLING = pod(
    conditions=conditions(ready=False, message="containers with unready status: [c]"),
    containerStatuses=[
        {
            "name": "c",
            "ready": False,
            "state": {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling"}},
        }
    ],
)
PULLING_TEXT = "[Pod ns/web-1-x]: containers with unready status: [c][ImagePullBackOff] Back-off pulling"


def test_a_deployment_is_ready_when_available_with_its_newest_replica_set() -> None:
    assert check(deployment(AVAILABLE, ROLLING), ReplicaSet=[replica_set(1)]).ready
    later = deployment(AVAILABLE, ROLLED_OUT, revision="2")
    assert check(later, ReplicaSet=[replica_set(1, "1"), replica_set(1, "2")]).ready


@pytest.mark.parametrize(
    ("obj", "sets"),
    [
        (deployment(AVAILABLE, ROLLED_OUT, observed=0), [replica_set(1)]),  # the controller has not seen the change
        (deployment(UNAVAILABLE, ROLLED_OUT), [replica_set(1)]),
        (deployment(AVAILABLE, ROLLED_OUT), []),
        (deployment(AVAILABLE, ROLLED_OUT), [replica_set(0)]),
        (deployment(AVAILABLE, ROLLING, revision="2"), [replica_set(1, "2")]),  # the old pods still serve
        (deployment(AVAILABLE, ROLLED_OUT, revision="2"), [replica_set(1, "1")]),
        # Recreate has told the old pod to go, and the new ReplicaSet is not made before it has gone.
        (deployment(AVAILABLE, ROLLED_OUT, updated=0), [replica_set(1, replicas=0)]),
    ],
)
def test_a_deployment_is_not_ready_before(obj: dict[str, Any], sets: list[dict[str, Any]]) -> None:
    progress = check(obj, ReplicaSet=sets)
    assert not progress.ready
    assert progress.errors


def test_a_deployment_says_how_many_pods_and_why_not() -> None:
    progress = check(deployment(UNAVAILABLE, ROLLING), ReplicaSet=[replica_set(0)], Pod=[PULLING, pod("other")])
    assert progress.infos == ["Waiting for app ReplicaSet to be available (0/1 Pods available)"]
    assert progress.errors == [
        "[MinimumReplicasUnavailable] Deployment does not have minimum availability.",
        "Minimum number of live Pods was not attained",
        PULLING_TEXT,
    ]


def test_a_deployment_waits_for_the_claims_of_its_pods() -> None:
    template = {"spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "mine"}}]}}
    obj = deployment(AVAILABLE, ROLLED_OUT, template=template)
    claims = [{"metadata": {"name": name}, "status": {"phase": "Pending"}} for name in ("mine", "other")]
    progress = check(obj, ReplicaSet=[replica_set(1)], PersistentVolumeClaim=claims)
    assert not progress.ready
    assert progress.errors[-1] == 'Failed to bind PersistentVolumeClaim(s): "mine"'


def test_a_deployment_without_replicas_is_ready_and_says_so() -> None:
    progress = check(deployment(AVAILABLE, ROLLED_OUT), ReplicaSet=[replica_set(0, replicas=0)])
    assert progress.ready
    assert progress.warnings == ['Replicas scaled to 0 for Deployment "web"']


def autoscaler(name: str = "web", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "a"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": name}, **spec}}


def test_pods_that_an_autoscaler_adds_in_the_middle_of_a_rollout_are_not_waited_for() -> None:
    newest = [replica_set(1, "2", replicas=4)]  # three more pods, and no GPU for them
    up, homeless = pod(conditions=conditions()), pod(conditions=conditions(scheduled=False, ready=False)[:1])
    crashing = pod(conditions=conditions(ready=False))

    def scaled(
        pods: int, updated: int, *scalers: dict[str, Any], state: Any = ROLLING, there: Any = (up, *[homeless] * 3)
    ) -> Progress:
        obj = deployment(UNAVAILABLE, state, revision="2", updated=updated, replicas=4)
        obj["status"]["replicas"] = pods
        return check(obj, ReplicaSet=newest, HorizontalPodAutoscaler=list(scalers), Pod=list(there))

    progress = scaled(4, 4, autoscaler())
    assert progress.ready
    assert progress.infos[0] == "An autoscaler has scaled to 4 Pods, of which 1 are available"
    assert not scaled(4, 4).ready
    assert not scaled(4, 4, autoscaler(minReplicas=2)).ready
    assert not scaled(4, 4, autoscaler(name="other")).ready
    # While old pods still serve, or none of the new ones is made, the rollout is not over, whoever scales.
    assert not scaled(5, 4, autoscaler()).ready
    assert not scaled(0, 0, autoscaler()).ready
    # Nor is it where pods have their node and do not get ready, or are not there, or the controller has given up.
    assert not scaled(4, 4, autoscaler(), there=[up, homeless, homeless, crashing]).ready
    assert not scaled(4, 4, autoscaler(), there=[up]).ready
    given_up = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "late"}
    assert not scaled(4, 4, autoscaler(), state=given_up).ready


def test_a_paused_deployment_whose_change_is_not_rolled_out_is_not_ready_and_says_why() -> None:
    paused = {"type": "Progressing", "status": "Unknown", "reason": "DeploymentPaused", "message": "is paused"}
    progress = check(deployment(AVAILABLE, paused, revision="2", paused=True), ReplicaSet=[replica_set(1, "2")])
    assert not progress.ready
    assert progress.errors[0] == "[DeploymentPaused] is paused"


def stateful_set(generation: int = 1, strategy: str = "RollingUpdate", **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db", "uid": "u1", "generation": generation},
        "spec": {"replicas": 2, "updateStrategy": {"type": strategy}},
        "status": {"observedGeneration": generation, "currentRevision": "a", "updateRevision": "a", **status},
    }


ALL: dict[str, Any] = {"replicas": 2, "readyReplicas": 2, "currentReplicas": 2, "updatedReplicas": 2}


def test_a_stateful_set_is_ready_when_all_replicas_are_at_the_newest_revision() -> None:
    assert check(stateful_set(**ALL)).ready
    assert check(stateful_set(2, "OnDelete", **{**ALL, "updateRevision": "b", "currentReplicas": 0})).ready
    assert check(stateful_set(**{**ALL, "readyReplicas": 1})).errors == [
        "1 out of 2 replicas succeeded readiness checks"
    ]
    assert check(stateful_set(2, **{**ALL, "updateRevision": "b"})).errors == [
        'StatefulSet controller failed to advance from revision "a" to revision "b"'
    ]
    assert not check(stateful_set(3, **{**ALL, "observedGeneration": 2})).ready
    parted = stateful_set(2, **{**ALL, "updateRevision": "b", "currentReplicas": 1})
    parted["spec"]["updateStrategy"]["rollingUpdate"] = {"partition": 1}
    assert "partition keeps pods at the old revision" in check(parted).errors[-1]


def test_a_daemon_set_is_ready_when_every_node_has_the_newest_pod() -> None:
    names = ("currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady")
    full = {"observedGeneration": 1, "desiredNumberScheduled": 2, **dict.fromkeys(names, 2)}
    obj = {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"uid": "u1", "generation": 1}, "status": full}
    assert check(obj).ready
    for name, shown in zip(names, ("Current", "Updated", "Available", "Ready"), strict=True):
        assert check({**obj, "status": {**full, name: 1}}).infos == [f"{shown}: 1/2"]
    assert not check({**obj, "status": {**full, "observedGeneration": 0}}).ready
    assert check({**obj, "status": {"observedGeneration": 1, "desiredNumberScheduled": 0}}).ready
    # OnDelete: until somebody has deleted the old pods, the change has reached no node.
    by_hand = {**obj, "spec": {"updateStrategy": {"type": "OnDelete"}}, "status": {**full, "updatedNumberScheduled": 1}}
    assert not check(by_hand).ready
    assert check(by_hand).timed_out == "timed out waiting for the condition"


def job(*conditions: dict[str, Any], suspend: bool = False, **status: Any) -> dict[str, Any]:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "load", "namespace": "ns", "uid": "u2"},
        "spec": {"suspend": suspend},
        "status": {"conditions": list(conditions), **status},
    }


def test_a_job_is_ready_when_complete_and_says_its_counts_before() -> None:
    assert check(job({"type": "Complete", "status": "True"})).ready
    assert check(job()).infos == ['Waiting for Job "ns/load" to start']
    running = check(job(startTime="now", active=1))
    assert running.infos == ['Waiting for Job "ns/load" to succeed (Active: 1 | Succeeded: 0 | Failed: 0)']
    suspended = check(job(suspend=True))
    assert not suspended.ready
    assert suspended.errors == ['Job "ns/load" is suspended: it waits until somebody resumes it']


def test_a_job_that_is_given_up_fails_at_once_with_its_pods_exit_code() -> None:
    status = {"name": "j", "ready": False, "state": {"terminated": {"reason": "Error", "exitCode": 3}}}
    failed_pod = pod(conditions=conditions(ready=False, message="containers with unready status: [j]"))
    failed_pod["status"]["containerStatuses"] = [status]
    reason = {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "limit"}
    progress = check(job(reason), Pod=[failed_pod])
    assert progress.failed
    assert progress.errors == [
        '[Pod ns/web-1-x]: containers with unready status: [j]container "j" completed with exit code 3',
        "[BackoffLimitExceeded] limit",
    ]


def test_a_pod_is_ready_when_scheduled_initialized_and_ready_or_when_it_has_succeeded() -> None:
    assert check(pod(conditions=conditions())).ready
    assert check(pod(conditions=conditions(ready=False), phase="Succeeded")).ready
    assert check(pod()).infos == ['Waiting for Pod "ns/web-1-x" to be scheduled']
    assert check(PULLING).infos == ['Waiting for Pod "ns/web-1-x" to be ready']


def test_a_pod_that_fits_no_node_says_what_is_missing() -> None:
    obj = pod(conditions=conditions(scheduled=False, message="0/1 nodes are available: 1 Insufficient nvidia.com/gpu."))
    text = "[Pod ns/web-1-x]: 0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    assert pod_problems(obj) == [text]


def test_a_crashing_container_says_how_it_ended() -> None:
    last = {"reason": "OOMKilled", "exitCode": 137, "finishedAt": "2026-01-01T00:00:00Z"}
    waiting = {"reason": "CrashLoopBackOff", "message": "back-off 10s"}
    status = {"name": "c", "ready": False, "state": {"waiting": waiting}, "lastState": {"terminated": last}}
    obj = pod(conditions=conditions(ready=False, message="containers with unready status: [c]"))
    obj["status"]["containerStatuses"] = [status]
    assert pod_problems(obj) == [
        "[Pod ns/web-1-x]: containers with unready status: [c][CrashLoopBackOff] back-off 10s\n"
        'container "c" terminated at 2026-01-01T00:00:00Z (OOMKilled: exit code 137)'
    ]


def test_a_pod_that_only_starts_has_no_problem() -> None:
    starting = {"name": "c", "ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
    obj = pod(conditions=conditions(ready=False))
    obj["status"]["containerStatuses"] = [starting]
    assert pod_problems(obj) == []


def service(kind: str = "ClusterIP", selector: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    spec = {"type": kind, "selector": {"app": "w"} if selector is None else selector, **more}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "svc", "uid": "u1"}, "spec": spec}


def slices(*ready: bool, of: str = "svc") -> list[dict[str, Any]]:
    endpoints = [{"conditions": {"ready": state}} for state in ready]
    return [{"metadata": {"name": "s", "labels": {"kubernetes.io/service-name": of}}, "endpoints": endpoints}]


def test_a_service_is_ready_when_the_pods_behind_it_are() -> None:
    assert check(service(), EndpointSlice=slices(True)).ready
    pending = check(service(), EndpointSlice=slices(True, False))
    assert not pending.ready
    assert pending.settled_after is None


def test_a_service_without_pods_settles_and_one_without_a_selector_does_not_wait() -> None:
    assert check(service(), EndpointSlice=slices(True, of="another")).settled_after == 10
    for obj in (service(selector={}), service("ExternalName"), service(clusterIP="None")):
        assert check(obj).ready


def test_a_load_balancer_waits_for_its_address() -> None:
    obj = service("LoadBalancer")
    waiting = check(obj, EndpointSlice=slices(True))
    assert waiting.errors == ["Service was not allocated an IP address; does your cloud provider support this?"]
    assert waiting.settled_after is None
    obj["status"] = {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}
    assert check(obj, EndpointSlice=slices(True)).ready


def test_an_ingress_waits_for_its_address_and_names_the_service_that_is_missing() -> None:
    path = {"path": "/v1", "backend": {"service": {"name": "chat"}}}
    spec = {"rules": [{"host": "h", "http": {"paths": [path]}}]}
    obj = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}, "spec": spec}
    assert check(obj).warnings == ['No matching service found for ingress rule: "h/v1" -> "chat"']
    assert check(obj, Service=[{"metadata": {"name": "chat"}}]).warnings == []
    assert not check(obj).ready
    assert check({**obj, "status": {"loadBalancer": {"ingress": [{"hostname": "localhost"}]}}}).ready


def claim(phase: str) -> dict[str, Any]:
    spec = {"storageClassName": "local-path"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec, "status": {"phase": phase}}


def test_a_claim_is_ready_when_bound_or_when_its_class_waits_for_a_pod() -> None:
    late = {"metadata": {"name": "local-path"}, "volumeBindingMode": "WaitForFirstConsumer"}
    assert check(claim("Bound")).ready
    assert check(claim("Pending"), StorageClass=[late]).ready
    assert not check(claim("Pending"), StorageClass=[{**late, "volumeBindingMode": "Immediate"}]).ready
    assert check(claim("Pending")).errors == [
        'PersistentVolumeClaim is not bound: phase Pending; there is no StorageClass "local-path"'
    ]


def test_kinds_that_need_their_controller_for_a_moment_are_ready_when_it_has_done_its_part() -> None:
    controller = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "rc"}}
    assert check({**controller, "spec": {"replicas": 2}, "status": {"availableReplicas": 2}}).ready
    waiting = check({**controller, "spec": {"replicas": 2}, "status": {"availableReplicas": 1}})
    assert waiting.infos == ["Waiting for ReplicationController to be available (1/2 Pods available)"]
    assert waiting.timed_out == "Timeout occurred polling for 'rc'"
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": {"pods": "1"}}}
    assert not check({**quota, "status": {}}).ready
    assert check({**quota, "status": {"hard": {"pods": "1"}}}).ready
    token = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token"}
    assert not check({**token, "metadata": {"name": "t"}}).ready
    assert check({**token, "data": {"token": "x"}}).ready
    assert check({"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}).ready


@dataclass(frozen=True)
class Recorded:
    """Operations on objects that were recorded: each reading gives the next state; an error is raised."""

    states: list[Any]
    cluster: Any = None
    retry_seconds: float = 60.0

    def once(self) -> Recorded:
        return self

    def read(self, _obj: dict[str, Any], _name: str = "") -> dict[str, Any]:
        state = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(state, Exception):
            raise state
        assert isinstance(state, dict)
        return state

    @property
    def discovery(self) -> Recorded:
        return self

    def resource(self, *_kind: str) -> Recorded:
        return self

    def path(self, _obj: object) -> str:
        return ""

    item_path = path

    def get(self, _path: object, *_name: object) -> dict[str, Any]:
        return {"items": []}


GONE = ApiError(404, "NotFound", "gone")


def awaiter(*states: Any, patience: float = 60.0, everything: bool = False) -> Awaiter:
    cluster = Recorded([], retry_seconds=patience)
    operations = Recorded(list(states), cluster)
    return Awaiter(operations, threading.Event(), everything=everything)  # type: ignore[arg-type]  # a stand-in of it


def wait(
    obj: dict[str, Any],
    *states: Any,
    timeout: float = 0.3,
    patience: float = 60.0,
    everything: bool = False,
    **annotations: str,
) -> dict[str, Any]:
    inputs = {"metadata": {"annotations": {f"pulumi.com/{name}": value for name, value in annotations.items()}}}
    waiting = awaiter(*states, patience=patience, everything=everything)
    return waiting.ready(obj, None, inputs, timeout=timeout, status=Status(Engine(""), ""))


def test_waiting_ends_with_the_object_as_it_is_when_it_is_ready() -> None:
    complete = job({"type": "Complete", "status": "True"})
    assert wait(job(), job(), complete, timeout=5) is complete


def test_a_timeout_names_the_object_and_keeps_its_last_state_and_reasons() -> None:
    with pytest.raises(NotReady, match=r"^'web' timed out waiting to be Ready$") as caught:
        wait(deployment(), deployment(UNAVAILABLE, ROLLING))
    assert caught.value.live["status"]["conditions"][0] is UNAVAILABLE
    assert caught.value.reasons[0] == "[MinimumReplicasUnavailable] Deployment does not have minimum availability."


def test_a_job_that_fails_does_not_wait_for_the_timeout() -> None:
    reason = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "late"}
    with pytest.raises(NotReady, match="'load' was created but failed to initialize"):
        wait(job(), job(reason), timeout=60)


def test_skip_await_and_kinds_without_a_check_do_not_wait() -> None:
    assert wait(job(), RuntimeError("not read"), skipAwait="true") == job()
    hpa = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler"}
    assert wait(hpa, RuntimeError("not read")) is hpa


def test_other_kinds_wait_where_an_annotation_or_the_environment_says_so() -> None:
    widget = {"apiVersion": "example.test/v1", "kind": "Widget", "metadata": {"name": "w"}}
    ready = {**widget, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    unready = {**widget, "status": {"conditions": [{"type": "Ready", "status": "False", "message": "not yet"}]}}
    assert wait(widget, unready, ready, timeout=5, everything=True) is ready
    assert wait(widget, widget, ready, timeout=5, waitFor="condition=Ready") is ready
    with pytest.raises(NotReady, match=r"^timed out waiting for the condition$") as caught:
        wait(widget, unready, everything=True)
    assert caught.value.reasons == ["not yet"]
    # An annotation takes the place of the kind's own check, and skipAwait that of both.
    started = job(startTime="now", active=1)
    assert wait(job(), job(), started, timeout=5, waitFor="jsonpath={.status.active}=1") is started
    assert wait(job(), RuntimeError("not read"), waitFor="condition=Ready", skipAwait="true") == job()


def test_kinds_that_are_polled_are_not_waited_for_longer_than_the_official_provider_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(loop._LONGEST_SECONDS, "v1/Secret", 0.2)
    token = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token"}
    token["metadata"] = {"name": "t"}  # type: ignore[assignment]  # a plain object
    with pytest.raises(NotReady, match=r"^Timeout occurred polling for 't'$"):
        wait(token, token, timeout=60)


AWAY = Unreachable("the Kubernetes API server at https://a cannot be reached: refused")


def test_a_server_that_is_away_for_a_while_is_waited_for() -> None:
    complete = job({"type": "Complete", "status": "True"})
    assert wait(job(), job(), AWAY, ApiError(503, "", "starting"), complete, timeout=10) is complete


def test_a_server_that_stays_away_ends_the_waiting_with_the_last_that_was_seen() -> None:
    seen = job(startTime="now")
    with pytest.raises(NotReady, match=r"'load' could not be waited for any longer: .* Gave up after 0 s\.") as caught:
        wait(job(), seen, AWAY, timeout=60, patience=0.4)
    assert caught.value.live is seen
    with pytest.raises(NotReady, match="cannot be reached"):
        awaiter(AWAY, patience=0.2).gone(job(), {}, timeout=60, status=Status(Engine(""), ""))
    with pytest.raises(ApiError, match="no"):
        wait(job(), ApiError(403, "Forbidden", "no"), timeout=60)


def test_an_object_that_is_deleted_while_waited_for_is_said() -> None:
    with pytest.raises(NotReady, match="'load' was deleted while it was waited for"):
        wait(job(), GONE)


def test_a_cancelled_wait_says_so() -> None:
    waiting = awaiter(job())
    waiting._cancelled.set()
    with pytest.raises(NotReady, match='Resource operation was cancelled for "load"'):
        waiting.ready(job(), None, {}, timeout=60, status=Status(Engine(""), ""))


def test_a_deletion_waits_until_the_object_is_gone_or_another() -> None:
    status = Status(Engine(""), "")
    awaiter(job(), GONE).gone(job(), {}, timeout=5, status=status)
    another = job()
    another["metadata"] = {**another["metadata"], "uid": "new"}
    awaiter(job(), another).gone(job(), {}, timeout=5, status=status)


def test_a_deletion_that_hangs_names_the_finalizers() -> None:
    held = job()
    held["metadata"] = {**held["metadata"], "finalizers": ["example.test/hold"]}
    with pytest.raises(NotReady) as caught:
        awaiter(held).gone(held, {}, timeout=0.2, status=Status(Engine(""), ""))
    assert caught.value.reasons == ["finalizers might be preventing deletion (example.test/hold)"]


def test_a_refresh_finds_what_is_not_ready_and_leaves_other_kinds_alone() -> None:
    looking = awaiter({})
    assert looking.problems(deployment(UNAVAILABLE), {})
    assert looking.problems(job({"type": "Complete", "status": "True"}), {}) is None
    assert looking.problems(claim("Pending"), {}) is None


def event(about: str, when: str, kind: str = "Pod", **more: Any) -> dict[str, Any]:
    involved = {"kind": kind, "name": about, **more}
    return {"type": "Warning", "reason": "Bad", "message": about, "lastTimestamp": when, "involvedObject": involved}


@dataclass(frozen=True)
class Events(Recorded):
    """A cluster with these events."""

    def get(self, _path: object, *_name: object) -> dict[str, Any]:
        return {"items": self.states}


def seen(kind: str, *events: dict[str, Any]) -> list[str]:
    written = [
        {"manager": "a", "time": "2026-01-01T00:00:00Z"},
        {"manager": "b", "time": "2026-01-02T00:00:00Z"},
        {"manager": "c", "time": "2026-01-03T00:00:00Z", "subresource": "status"},
    ]
    metadata = {"name": "web", "uid": "u1", "creationTimestamp": "2026-01-01T00:00:00Z", "managedFields": written}
    operations: Any = Recorded([], Events(list(events)))
    obj = {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata}
    return [line.removeprefix("Bad: ") for line in loop._Events(operations, obj).new(at_once=True)]


@pytest.mark.parametrize(
    ("kind", "mine"),
    [
        ("Deployment", ["web-5d4f8c7b9-x2x2x"]),
        ("DaemonSet", ["web-x2x2x"]),
        ("Job", ["web-x2x2x", "web-0-x2x2x"]),
        ("StatefulSet", ["web-0", "web-12"]),
    ],
)
def test_events_of_another_workloads_pods_with_a_longer_name_are_not_this_ones(kind: str, mine: list[str]) -> None:
    names = ["web-5d4f8c7b9-x2x2x", "web-x2x2x", "web-0-x2x2x", "web-0", "web-12"]
    others = ["web-admin-5d4f8c7b9-x2x2x", "web-admin-x2x2x", "web-admin-0", "web-db-x2x2x", "webx2x2x"]
    assert seen(kind, *(event(name, "2026-01-02T00:00:00Z") for name in names + others)) == mine


def test_events_from_before_the_last_change_are_not_this_waitings() -> None:
    times = ["2026-01-01T12:00:00Z", "2026-01-01T23:59:59.9Z", "2026-01-02T00:00:00.5Z", "2026-01-02T00:00:00Z"]
    events = [event(f"web-{number}", when) for number, when in enumerate(times)]
    assert seen("StatefulSet", *events) == ["web-2", "web-3"]
