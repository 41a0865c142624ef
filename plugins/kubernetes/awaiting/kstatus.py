"""When an object of any kind is current, by the rules of kstatus: what PULUMI_K8S_AWAIT_ALL waits for.

Kinds with a check of their own do not come here, so that of the kinds that kstatus knows only the others are listed.
"""

from __future__ import annotations

from plugins.kubernetes.awaiting.progress import TIMED_OUT, Progress, Related
from plugins.kubernetes.objects import Object, conditions, group_version_kind, pluck


def check_any(obj: Object, _last: Object | None, _related: Related) -> Progress:
    """Ready when it is not being deleted, its last generation is observed and no condition speaks against it."""
    message = _missing(obj)
    if message is None:
        return Progress(ready=True)
    return Progress(
        infos=[message or "Waiting for readiness"], errors=[message] if message else [], timed_out=TIMED_OUT
    )


def _missing(obj: Object) -> str | None:
    """What keeps the object from being current; None if it is."""
    if pluck(obj, "metadata", "deletionTimestamp"):
        return "Resource scheduled for deletion"
    wanted, seen = pluck(obj, "metadata", "generation"), pluck(obj, "status", "observedGeneration")
    if wanted is not None and seen is not None and seen != wanted:
        return f"{obj['kind']} generation is {wanted}, but latest observed generation is {seen}"
    found = conditions(obj)
    for kind in ("Reconciling", "Stalled"):
        if found.get(kind, {}).get("status") == "True":
            return str(found[kind].get("message", ""))
    kind = group_version_kind(obj)
    if kind == "apps/v1/ReplicaSet":
        return _replica_set(obj, found)
    if kind == "apiextensions.k8s.io/v1/CustomResourceDefinition":
        return _definition(found)
    if kind in ("v1/ConfigMap", "batch/v1/CronJob", "policy/v1/PodDisruptionBudget"):
        return None
    ready = found.get("Ready", {})
    return str(ready.get("message", "")) if ready.get("status") in ("False", "Unknown") else None


def _replica_set(obj: Object, found: dict[str, Object]) -> str | None:
    if found.get("ReplicaFailure", {}).get("status") == "True":
        return "Replica Failure condition. Check Pods"
    wanted, status = pluck(obj, "spec", "replicas", default=1), obj.get("status") or {}
    for what, field in (
        ("Labelled", "fullyLabeledReplicas"),
        ("Available", "availableReplicas"),
        ("Ready", "readyReplicas"),
    ):
        if status.get(field, 0) < wanted:
            return f"{what}: {status.get(field, 0)}/{wanted}"
    more = status.get("replicas", 0) - wanted
    return f"Pending termination: {more}" if more > 0 else None


def _definition(found: dict[str, Object]) -> str | None:
    names, established = found.get("NamesAccepted", {}), found.get("Established", {})
    if names.get("status") == "False":
        return str(names.get("message", ""))
    if established.get("status") == "True":
        return None
    if established.get("status") == "False" and established.get("reason") != "Installing":
        return str(established.get("message", ""))
    return "Install in progress"
