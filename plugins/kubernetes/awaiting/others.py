"""Services, Ingresses, volumes and the kinds that need their controller for a moment only."""

from __future__ import annotations

import json

from plugins.kubernetes.awaiting.pods import problems_of
from plugins.kubernetes.awaiting.progress import Progress, Related
from plugins.kubernetes.objects import Object, name_of, pluck

SETTLED_SECONDS = 10.0
"""How long a Service without endpoints is waited for: its pods may not be started yet, or there may be none."""


def check_service(service: Object, _last: Object | None, related: Related) -> Progress:
    """A Service is ready when the pods that it selects are, if there are any, and its load balancer has an address."""
    kind = pluck(service, "spec", "type", default="ClusterIP")
    addressed = kind != "LoadBalancer" or bool(pluck(service, "status", "loadBalancer", "ingress"))
    no_address = "Service was not allocated an IP address; does your cloud provider support this?"
    selects = pluck(service, "spec", "selector") and kind != "ExternalName"
    if not selects or pluck(service, "spec", "clusterIP") == "None":
        if addressed:
            return Progress(ready=True)
        return Progress(infos=["[2/3] Attempting to allocate IP address to Service"], errors=[no_address])
    ready, pending = _endpoints(service, related)
    done = "✅ Service initialization complete"
    if addressed and ready and not pending:
        return Progress(ready=True, infos=[done])
    result = Progress(infos=["[1/3] Finding Pods to direct traffic to"])
    if ready and not pending:
        result.infos = ["[2/3] Attempting to allocate IP address to Service"]
    if not ready:
        result.errors.append(
            "Service does not target any Pods. Selected Pods may not be ready, or field '.spec.selector' may not "
            "match labels on any Pods"
        )
    if not addressed:
        result.errors.append(no_address)
    elif not pending:
        result.settled_after = SETTLED_SECONDS
    return result


def _endpoints(service: Object, related: Related) -> tuple[bool, bool]:
    """Whether the Service has endpoints that are ready, and whether it has some that are not."""
    ready = pending = False
    for slice_ in related.all("discovery.k8s.io/v1", "EndpointSlice"):
        if pluck(slice_, "metadata", "labels", "kubernetes.io/service-name") != name_of(service):
            continue
        for endpoint in slice_.get("endpoints") or []:
            if pluck(endpoint, "conditions", "terminating"):
                continue
            if pluck(endpoint, "conditions", "ready", default=True):
                ready = True
            else:
                pending = True
    return ready, pending


def check_ingress(ingress: Object, _last: Object | None, related: Related) -> Progress:
    """An Ingress is ready when its controller has written an address; a Service that is missing is said."""
    result = Progress()
    services = {name_of(service) for service in related.all("v1", "Service")}
    for rule in pluck(ingress, "spec", "rules", default=None) or []:
        for path in pluck(rule, "http", "paths", default=None) or []:
            backend = pluck(path, "backend", "service", "name")
            if backend and backend not in services:
                where = (
                    json.dumps(rule.get("host", "") + path.get("path", ""))
                    if rule.get("host") or path.get("path")
                    else '"" (default path)'
                )
                result.warnings.append(f'No matching service found for ingress rule: {where} -> "{backend}"')
    result.errors = list(result.warnings)
    if pluck(ingress, "status", "loadBalancer", "ingress"):
        result.ready = True
        result.infos.append("✅ Ingress initialization complete")
    else:
        result.infos.append("[2/3] Waiting for update of .status.loadBalancer with hostname/IP")
        result.errors.append("Ingress .status.loadBalancer field was not updated with a hostname/IP address.")
    return result


def check_claim(claim: Object, last: Object | None, related: Related) -> Progress:
    """A PersistentVolumeClaim is ready when it is bound, or waits for its first pod as its class wants it."""
    phase = pluck(claim, "status", "phase")
    if phase == "Bound":
        return Progress(ready=True)
    class_name = pluck(claim, "spec", "storageClassName", default="")
    class_ = related.one("storage.k8s.io/v1", "StorageClass", class_name) if class_name else None
    if class_ is not None and class_.get("volumeBindingMode") == "WaitForFirstConsumer" and phase == "Pending":
        return Progress(ready=True)
    result = Progress(
        infos=[f"Waiting for PersistentVolumeClaim to be bound (phase {phase})"], timed_out=_polled(claim)
    )
    if phase == "Lost" and last is None:
        result.failed = True
    problem = f"PersistentVolumeClaim is not bound: phase {phase}"
    if class_name and class_ is None:
        problem += f'; there is no StorageClass "{class_name}"'
        result.warnings.append(problem)
    result.errors.append(problem)
    return result


def check_volume(volume: Object, _last: Object | None, _related: Related) -> Progress:
    """A PersistentVolume is ready when it is available or bound."""
    phase = pluck(volume, "status", "phase")
    marks = {"Available": "✅ PV marked available", "Bound": "✅ PV has been bound"}
    if phase in marks:
        return Progress(ready=True, infos=[marks[phase]])
    waiting = f"Waiting for PersistentVolume to be available (phase {phase})"
    problem = f"PersistentVolume is not available: phase {phase}"
    return Progress(infos=[waiting], errors=[problem], timed_out=_polled(volume))


def check_replication_controller(controller: Object, _last: Object | None, related: Related) -> Progress:
    """A ReplicationController is ready when as many pods as it wants are available."""
    wanted = pluck(controller, "spec", "replicas", default=1)
    available = pluck(controller, "status", "availableReplicas", default=0)
    if available == wanted:
        return Progress(ready=True)
    pods = problems_of(related.owned("v1", "Pod", controller))
    waiting = f"Waiting for ReplicationController to be available ({available}/{wanted} Pods available)"
    return Progress(infos=[waiting], warnings=pods, errors=pods, timed_out=_polled(controller))


def check_quota(quota: Object, _last: Object | None, _related: Related) -> Progress:
    """A ResourceQuota is ready when its controller has taken its limits over."""
    if pluck(quota, "spec", "hard") == pluck(quota, "status", "hard"):
        return Progress(ready=True)
    return Progress(infos=["Waiting for the quota's limits to be observed"], timed_out=_polled(quota))


def check_secret(secret: Object, _last: Object | None, _related: Related) -> Progress:
    """A Secret for a ServiceAccount's token is ready when the token is in it; any other is at once."""
    if secret.get("type") != "kubernetes.io/service-account-token" or secret.get("data"):
        return Progress(ready=True)
    return Progress(infos=["Waiting for the ServiceAccount's token"], timed_out=_polled(secret))


def _polled(obj: Object) -> str:
    """The time-out's words of kinds that the official provider polls."""
    return f"Timeout occurred polling for '{name_of(obj)}'"
