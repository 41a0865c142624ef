"""Stands in for nodes: says of pods what a kubelet would say, and of Ingresses and claims what their controllers would.

A pod's image decides: `never` is not pulled, `fail` ends with code 3, of `one-gpu` only one pod fits, `lingers` takes
a moment to end. A Job's pod ends well, any other is ready.
"""

from __future__ import annotations

import contextlib
import http.client
import threading
import time
from collections.abc import Iterator
from typing import Any

from api_server import ApiServer

MERGE = "application/strategic-merge-patch+json"
LINGER_SECONDS = 1.5
HEARTBEAT_SECONDS = 10.0
"""A node that is silent for 50 s is tainted, and DaemonSets leave it."""
_NO_GPU = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


@contextlib.contextmanager
def kubelet(server: ApiServer) -> Iterator[None]:
    """A node `vm`, the class `local-path`, and a status for every pod, while the block runs."""
    server.post("/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "vm"}})
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local-path"},
        "provisioner": "example.test/none",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    server.post("/apis/storage.k8s.io/v1/storageclasses", storage_class)
    stop = threading.Event()
    thread = threading.Thread(target=_run, args=(server, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _run(server: ApiServer, stop: threading.Event) -> None:
    ending: dict[str, float] = {}
    beat = 0.0
    while not stop.wait(0.2):
        # What is gone by now needs no status, and an API server that is away is asked again.
        with contextlib.suppress(OSError, http.client.HTTPException):
            if time.monotonic() - beat > HEARTBEAT_SECONDS:
                beat = time.monotonic()
                server.request("PATCH", "/api/v1/nodes/vm/status", {"status": {"conditions": [_ready()]}}, MERGE)
            _look(server, ending)


def _look(server: ApiServer, ending: dict[str, float]) -> None:
    pods = server.get("/api/v1/pods")["items"]
    for pod in pods:
        _pod(server, pod, pods, ending)
    for ingress in server.get("/apis/networking.k8s.io/v1/ingresses")["items"]:
        if not ingress["status"]["loadBalancer"]:
            status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}}
            path = _path(ingress, "/apis/networking.k8s.io/v1", "ingresses")
            server.request("PATCH", f"{path}/status", status, MERGE)
    for claim in server.get("/api/v1/persistentvolumeclaims")["items"]:
        if claim["status"]["phase"] == "Pending" and not server.get(f"/api/v1/persistentvolumes/{_volume(claim)}"):
            server.post("/api/v1/persistentvolumes", _bound_volume(claim))


def _pod(server: ApiServer, pod: dict[str, Any], pods: list[dict[str, Any]], ending: dict[str, float]) -> None:
    path = _path(pod, "/api/v1", "pods")
    image = _image(pod)
    if pod["metadata"].get("deletionTimestamp"):
        since = ending.setdefault(pod["metadata"]["uid"], time.monotonic())
        if "lingers" not in image or time.monotonic() - since > LINGER_SECONDS:
            server.request("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
    elif not pod["status"].get("conditions"):
        others = [item for item in pods if item["status"].get("podIP") and _image(item) == image]
        fits = image != "one-gpu" or not others
        status = _status(pod) if fits else _pending()
        pod["status"] = status  # for the next one that is looked at
        server.request("PATCH", f"{path}/status", {"status": status}, MERGE)
        if not fits:
            server.post(f"/api/v1/namespaces/{pod['metadata']['namespace']}/events", _event(pod))


def _ready() -> dict[str, str]:
    return {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": _now()}


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _image(pod: dict[str, Any]) -> str:
    image: str = pod["spec"]["containers"][0]["image"]
    return image


def _pending() -> dict[str, Any]:
    unschedulable = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": _NO_GPU}
    return {"phase": "Pending", "conditions": [unschedulable]}


def _event(pod: dict[str, Any]) -> dict[str, Any]:
    metadata = pod["metadata"]
    about = {"kind": "Pod", "namespace": metadata["namespace"], "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.1", "namespace": metadata["namespace"]},
        "involvedObject": about,
        "type": "Warning",
        "reason": "FailedScheduling",
        "message": _NO_GPU,
        "firstTimestamp": _now(),
        "lastTimestamp": _now(),
    }


def _status(pod: dict[str, Any]) -> dict[str, Any]:
    image, name = _image(pod), pod["spec"]["containers"][0]["name"]
    is_job = any(owner["kind"] == "Job" for owner in pod["metadata"].get("ownerReferences", []))
    phase = "Failed" if image == "fail" else "Succeeded" if is_job else "Running"
    ready = phase == "Running" and image != "never"
    state: dict[str, Any] = {"running": {}}
    if image == "never":
        phase = "Pending"
        state = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "never"'}}
    elif not ready:
        failed = phase == "Failed"
        state = {"terminated": {"reason": "Error" if failed else "Completed", "exitCode": 3 if failed else 0}}
    conditions = [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized")]
    not_ready = (
        {} if ready else {"reason": "ContainersNotReady", "message": f"containers with unready status: [{name}]"}
    )
    conditions += [{"type": kind, "status": str(ready), **not_ready} for kind in ("ContainersReady", "Ready")]
    status = {"name": name, "ready": ready, "restartCount": 0, "image": image, "imageID": "", "state": state}
    return {"phase": phase, "podIP": "10.42.0.9", "conditions": conditions, "containerStatuses": [status]}


def _volume(claim: dict[str, Any]) -> str:
    return f"pv-{claim['metadata']['uid']}"


def _bound_volume(claim: dict[str, Any]) -> dict[str, Any]:
    metadata = claim["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": _volume(claim)},
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": claim["spec"]["resources"]["requests"],
            "storageClassName": claim["spec"]["storageClassName"],
            "hostPath": {"path": "/nowhere"},
            "claimRef": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"]},
        },
    }


def _path(obj: dict[str, Any], base: str, plural: str) -> str:
    return f"{base}/namespaces/{obj['metadata']['namespace']}/{plural}/{obj['metadata']['name']}"
