"""Stands in for nodes: says of pods what a kubelet would say, and of Ingresses and claims what their controllers would.

A pod's image decides: `never` is not pulled, `fail` ends with code 3, a Job's pod ends well, any other is ready.
"""

from __future__ import annotations

import contextlib
import threading
import urllib.error
from collections.abc import Iterator
from typing import Any

from api_server import ApiServer

MERGE = "application/strategic-merge-patch+json"


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
    while not stop.wait(0.2):
        with contextlib.suppress(urllib.error.HTTPError):  # what is gone by now needs no status
            _look(server)


def _look(server: ApiServer) -> None:
    for pod in server.get("/api/v1/pods")["items"]:
        _pod(server, pod)
    for ingress in server.get("/apis/networking.k8s.io/v1/ingresses")["items"]:
        if not ingress["status"]["loadBalancer"]:
            status = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.2"}]}}}
            path = _path(ingress, "/apis/networking.k8s.io/v1", "ingresses")
            server.request("PATCH", f"{path}/status", status, MERGE)
    for claim in server.get("/api/v1/persistentvolumeclaims")["items"]:
        if claim["status"]["phase"] == "Pending" and not server.get(f"/api/v1/persistentvolumes/{_volume(claim)}"):
            server.post("/api/v1/persistentvolumes", _bound_volume(claim))


def _pod(server: ApiServer, pod: dict[str, Any]) -> None:
    path = _path(pod, "/api/v1", "pods")
    if pod["metadata"].get("deletionTimestamp"):
        server.request("DELETE", path, {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0})
    elif not pod["status"].get("conditions"):
        server.request("PATCH", f"{path}/status", {"status": _status(pod)}, MERGE)


def _status(pod: dict[str, Any]) -> dict[str, Any]:
    image, name = pod["spec"]["containers"][0]["image"], pod["spec"]["containers"][0]["name"]
    is_job = pod["metadata"]["ownerReferences"][0]["kind"] == "Job"
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
