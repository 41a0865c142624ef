"""Waiting for workloads with real controllers: moments at which they only look ready, and partial failures."""

from __future__ import annotations

import json
from typing import Any

from api_server import ApiServer
from workspace import Workspace

IMPORTS = "import pulumi\nimport pulumi_kubernetes as k8s\n"
APPS = "/apis/apps/v1/namespaces/default"


def workload(kind: str, name: str, image: str, *, replicas: int | None = 1, timeout: int = 15, **spec: Any) -> str:
    """A program's line for a Deployment, StatefulSet or DaemonSet of pods with this image."""
    whole = {
        "selector": {"matchLabels": {"app": name}},
        "template": {
            "metadata": {"labels": {"app": name}},
            "spec": {"containers": [{"name": "c", "image": image}], "terminationGracePeriodSeconds": 5},
        },
        **({} if replicas is None else {"replicas": replicas}),
        **spec,
    }
    metadata = {"name": name, "annotations": {"pulumi.com/timeoutSeconds": str(timeout)}}
    return f'k8s.apps.v1.{kind}("{name}", metadata={metadata!r}, spec={whole!r})\n'


def images(cluster: ApiServer, app: str) -> list[str]:
    """The images of the app's pods, those that are ending among them."""
    pods = cluster.get(f"/api/v1/namespaces/default/pods?labelSelector=app%3D{app}")["items"]
    return sorted(pod["spec"]["containers"][0]["image"] for pod in pods)


def reasons(workspace: Workspace, urn: str) -> list[str]:
    """Why the resource is not ready, as the state keeps it; empty if it is."""
    kept: list[str] = workspace.state()[urn].get("initErrors", [])
    return kept


def test_a_rollout_by_recreate_is_over_when_the_new_pod_serves_and_not_while_the_old_one_ends(
    workspace: Workspace, cluster: ApiServer
) -> None:
    for image in ("lingers-1", "lingers-2"):
        workspace.program(IMPORTS + workload("Deployment", "web", image, strategy={"type": "Recreate"})).up()
        assert images(cluster, "web") == [image]
        status = cluster.get(f"{APPS}/deployments/web")["status"]
        assert (status["updatedReplicas"], status["readyReplicas"]) == (1, 1)
    # Nor are objects gone that their pods outlive.
    workspace.program(IMPORTS).up()
    assert images(cluster, "web") == []


def test_a_rollout_that_does_not_fit_says_what_the_scheduler_said_and_one_that_an_autoscaler_enlarged_is_over(
    workspace: Workspace, cluster: ApiServer
) -> None:
    two = workload("Deployment", "gpu", "one-gpu", replicas=2, timeout=4)
    workspace.program(IMPORTS + two).up_fails()
    kept = reasons(workspace, "kubernetes:apps/v1:Deployment::gpu")
    assert "'gpu' timed out waiting to be Ready" in kept[0]
    said = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
    assert any(line.startswith("[Pod gpu-") and said in line for line in kept)
    assert f"FailedScheduling: {said}" in kept

    spec = {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "gpu"}, "maxReplicas": 3}
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "gpu"}}
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    cluster.post(path, {**scaler, "spec": spec})
    by_itself = workload("Deployment", "gpu", "one-gpu", replicas=None, timeout=12, strategy={"type": "Recreate"})
    try:
        cluster.merge(f"{APPS}/deployments/gpu", {"spec": {"replicas": 3}})
        workspace.program(IMPORTS + by_itself.replace("'name': 'c'", "'name': 'd'")).up()
        assert reasons(workspace, "kubernetes:apps/v1:Deployment::gpu") == []
        assert cluster.get(f"{APPS}/deployments/gpu")["status"]["readyReplicas"] == 1
    finally:
        cluster.request("DELETE", f"{path}/gpu")


def test_a_stateful_set_and_a_daemon_set_wait_for_the_newest_pods_and_go_on_after_a_failure(
    workspace: Workspace, cluster: ApiServer
) -> None:
    def program(image: str, timeout: int) -> str:
        return (
            IMPORTS
            + workload("StatefulSet", "db", image, replicas=2, timeout=timeout, serviceName="db")
            + workload("DaemonSet", "agent", image, replicas=None, timeout=timeout)
        )

    workspace.program(program("lingers-1", 20)).up()
    assert images(cluster, "db") == ["lingers-1"] * 2
    assert images(cluster, "agent") == ["lingers-1"]
    workspace.program(program("lingers-2", 20)).up()
    assert images(cluster, "db") == ["lingers-2"] * 2
    assert images(cluster, "agent") == ["lingers-2"]

    workspace.program(program("never", 8)).up_fails()
    pulling = "containers with unready status: [c][ImagePullBackOff]"
    db = reasons(workspace, "kubernetes:apps/v1:StatefulSet::db")
    assert "'db' timed out waiting to be Ready" in db[0]
    assert any("out of 2 replicas succeeded readiness checks" in line for line in db)
    assert any(line.startswith("[Pod db-") and pulling in line for line in db)
    agent = reasons(workspace, "kubernetes:apps/v1:DaemonSet::agent")
    assert "timed out waiting for the condition" in agent[0]
    assert any(line.startswith("[Pod agent-") and pulling in line for line in agent)


def test_kinds_that_need_their_controller_for_a_moment_are_waited_for_and_replicas_0_are_ready_at_once(
    workspace: Workspace, cluster: ApiServer
) -> None:
    pods = {"metadata": {"labels": {"app": "rc"}}, "spec": {"containers": [{"name": "c", "image": "good"}]}}
    controller = {"replicas": 1, "selector": {"app": "rc"}, "template": pods}
    program = (
        workload("Deployment", "none", "never", replicas=0)
        + 'k8s.core.v1.ResourceQuota("quota", metadata={"name": "quota"}, spec={"hard": {"configmaps": "99"}})\n'
        'account = k8s.core.v1.ServiceAccount("account", metadata={"name": "reader"})\n'
        'token = k8s.core.v1.Secret("token", type="kubernetes.io/service-account-token", metadata={"name": "token",'
        ' "annotations": {"kubernetes.io/service-account.name": account.metadata["name"]}})\n'
        f'k8s.core.v1.ReplicationController("rc", metadata={{"name": "rc"}}, spec={controller!r})\n'
    )
    workspace.program(IMPORTS + program).up()
    state = workspace.state()
    assert state["kubernetes:core/v1:ResourceQuota::quota"]["outputs"]["status"]["hard"] == {"configmaps": "99"}
    assert state["kubernetes:core/v1:ReplicationController::rc"]["outputs"]["status"]["availableReplicas"] == 1
    assert json.loads(state["kubernetes:core/v1:Secret::token"]["outputs"]["data"]["plaintext"])["token"]
    assert images(cluster, "none") == []
