"""Deployments, StatefulSets, DaemonSets and Jobs."""

from __future__ import annotations

from plugins.kubernetes.awaiting.pods import problems_of
from plugins.kubernetes.awaiting.progress import TIMED_OUT, Progress, Related
from plugins.kubernetes.objects import Object, annotation, conditions, name_of, pluck, shown_name

_REVISION = "deployment.kubernetes.io/revision"


def _observed(obj: Object) -> bool:
    """Whether the controller has seen the object's last change."""
    seen = pluck(obj, "status", "observedGeneration", default=0)
    return isinstance(seen, int) and seen >= pluck(obj, "metadata", "generation", default=0)


def check_deployment(deployment: Object, _last: Object | None, related: Related) -> Progress:
    """A Deployment is ready when it is available, its newest ReplicaSet has all pods ready and its claims are bound."""
    if not _observed(deployment):
        return Progress(
            infos=["Waiting for the Deployment controller"], errors=["Minimum number of live Pods was not attained"]
        )
    result = Progress()
    found = conditions(deployment)
    for kind in ("Progressing", "Available"):
        state = found.get(kind, {})
        if state and state.get("status") != "True" and state.get("reason"):
            result.warnings.append(f"[{state['reason']}] {state.get('message', '')}")
    available = found.get("Available", {}).get("status") == "True"
    progressing = found.get("Progressing", {})
    rolled_out = progressing.get("status") == "True" and progressing.get("reason") == "NewReplicaSetAvailable"

    revision = annotation(deployment, _REVISION)
    sets = related.owned("apps/v1", "ReplicaSet", deployment)
    newest = next((item for item in sets if revision and annotation(item, _REVISION) == revision), None)
    updated = autoscaled = False
    if newest is not None:
        wanted = pluck(newest, "spec", "replicas", default=1)
        ready = pluck(newest, "status", "readyReplicas", default=0)
        updated = ready >= wanted
        if not updated:
            # What an autoscaler adds may find no GPU free: that is its business, not the rollout's.
            autoscaled = (
                0 < _autoscaled_from(deployment, related) <= ready
                and _only_new(deployment)
                and progressing.get("reason") != "ProgressDeadlineExceeded"
                and _only_without_a_node(related.owned("v1", "Pod", newest))
            )
        if autoscaled:
            result.infos.append(f"An autoscaler has scaled to {wanted} Pods, of which {ready} are available")
        elif not updated:
            result.infos.append(f"Waiting for app ReplicaSet to be available ({ready}/{wanted} Pods available)")
        elif wanted == 0:
            result.warnings.append(f'Replicas scaled to 0 for Deployment "{name_of(deployment)}"')
    unbound = _unbound_claims(deployment, related, result)

    # While Recreate still ends the old pods, the revision and what is available are those of the old ReplicaSet.
    begun = bool(pluck(deployment, "spec", "paused")) or (
        pluck(deployment, "status", "updatedReplicas", default=0) >= pluck(deployment, "spec", "replicas", default=1)
    )
    rolled = available and updated and begun and (rolled_out or revision == "1")
    result.ready = not unbound and (rolled or autoscaled)
    if result.ready:
        result.infos.append("✅ Deployment initialization complete")
        return result
    result.errors = list(result.warnings)
    if unbound:
        result.errors.append(f'Failed to bind PersistentVolumeClaim(s): "{",".join(unbound)}"')
    if not available:
        result.errors.append("Minimum number of live Pods was not attained")
    elif (revision == "1" and not updated) or (revision != "1" and not rolled_out):
        result.errors.append("Minimum number of Pods to consider the application live was not attained")
    elif not (updated and begun):
        result.errors.append(
            "Attempted to roll forward to new ReplicaSet, but minimum number of Pods did not become live"
        )
    pods = problems_of(related.owned("v1", "Pod", newest)) if newest is not None else []
    result.warnings += pods
    result.errors += pods
    return result


def _only_new(deployment: Object) -> bool:
    """Whether all pods of the Deployment are of its newest revision."""
    updated = pluck(deployment, "status", "updatedReplicas", default=0)
    return bool(updated) and updated == pluck(deployment, "status", "replicas", default=0)


def _only_without_a_node(pods: list[Object]) -> bool:
    """Whether some pods are not ready, and all of them because there is no room for them on a node."""
    states = [conditions(pod) for pod in pods]
    unready = [found for found in states if found.get("Ready", {}).get("status") != "True"]
    return bool(unready) and all(found.get("PodScheduled", {}).get("status") != "True" for found in unready)


def _autoscaled_from(deployment: Object, related: Related) -> int:
    """The fewest pods with which a HorizontalPodAutoscaler runs the Deployment; 0 if none scales it."""
    for autoscaler in related.all("autoscaling/v2", "HorizontalPodAutoscaler"):
        target = pluck(autoscaler, "spec", "scaleTargetRef", default={})
        if target.get("kind") == "Deployment" and target.get("name") == name_of(deployment):
            return int(pluck(autoscaler, "spec", "minReplicas", default=1))
    return 0


def _unbound_claims(deployment: Object, related: Related, result: Progress) -> list[str]:
    volumes = pluck(deployment, "spec", "template", "spec", "volumes", default=None) or []
    names = {pluck(volume, "persistentVolumeClaim", "claimName") for volume in volumes} - {None}
    if not names:
        return []
    unbound = []
    for claim in related.all("v1", "PersistentVolumeClaim"):
        phase = pluck(claim, "status", "phase")
        if name_of(claim) in names and phase != "Bound":
            unbound.append(name_of(claim))
            result.warnings.append(
                f"PersistentVolumeClaim: [{name_of(claim)}] is not ready. status.phase currently at: {phase}"
            )
    return unbound


def check_stateful_set(stateful_set: Object, _last: Object | None, related: Related) -> Progress:
    """A StatefulSet is ready when all replicas are, at the newest revision."""
    wanted = pluck(stateful_set, "spec", "replicas", default=1)
    status = stateful_set.get("status") or {}
    ready, updated = status.get("readyReplicas", 0), status.get("updatedReplicas", 0)
    current, target = status.get("currentRevision", ""), status.get("updateRevision", "")
    first = pluck(stateful_set, "metadata", "generation", default=1) <= 1
    by_hand = not first and pluck(stateful_set, "spec", "updateStrategy", "type") == "OnDelete"
    revision_ready = _observed(stateful_set) and (by_hand or (current != "" and current == target))
    replicas_ready = (
        _observed(stateful_set)
        and status.get("replicas", 0) == wanted == ready
        and (by_hand or status.get("currentReplicas", 0) == wanted)
    )
    result = Progress(ready=revision_ready and replicas_ready)
    if result.ready:
        result.infos.append("✅ StatefulSet initialization complete")
        return result
    shown = ready if revision_ready else min(ready, updated)
    if first:
        result.infos.append(f"[1/2] Waiting for StatefulSet to create Pods ({shown}/{wanted} Pods ready)")
    elif not replicas_ready:
        result.infos.append(f"[1/3] Waiting for StatefulSet update to roll out ({shown}/{wanted} Pods ready)")
    else:
        result.infos.append("[2/3] Waiting for StatefulSet to update .status.currentRevision")
    if not replicas_ready:
        result.errors.append(f"{shown} out of {wanted} replicas succeeded readiness checks")
    if not revision_ready:
        result.errors.append(
            f'StatefulSet controller failed to advance from revision "{current}" to revision "{target}"'
        )
        if pluck(stateful_set, "spec", "updateStrategy", "rollingUpdate", "partition"):
            result.errors.append(
                "spec.updateStrategy.rollingUpdate.partition keeps pods at the old revision: set pulumi.com/skipAwait "
                "or pulumi.com/waitFor"
            )
    result.warnings = problems_of(related.owned("v1", "Pod", stateful_set))
    result.errors += result.warnings
    return result


def check_daemon_set(daemon_set: Object, _last: Object | None, related: Related) -> Progress:
    """A DaemonSet is ready when every node that should have its pod has the newest one, ready."""
    status = daemon_set.get("status") or {}
    wanted = status.get("desiredNumberScheduled")
    message = ""
    if not _observed(daemon_set) or wanted is None:
        message = "Waiting for the DaemonSet controller"
    else:
        for what, field in (
            ("Current", "currentNumberScheduled"),
            ("Updated", "updatedNumberScheduled"),
            ("Available", "numberAvailable"),
            ("Ready", "numberReady"),
        ):
            if status.get(field, 0) < wanted:
                message = f"{what}: {status.get(field, 0)}/{wanted}"
                break
    if not message:
        return Progress(ready=True, infos=[f"✅ All replicas scheduled as expected. Replicas: {wanted}"])
    pods = problems_of(related.owned("v1", "Pod", daemon_set))
    return Progress(infos=[message], warnings=pods, errors=[message, *pods], timed_out=TIMED_OUT)


def check_job(job: Object, _last: Object | None, related: Related) -> Progress:
    """A Job is ready when it has completed; it fails when it is given up."""
    status, found = job.get("status") or {}, conditions(job)
    name = shown_name(job)
    if found.get("Complete", {}).get("status") == "True":
        return Progress(ready=True)
    pods = problems_of(related.owned("v1", "Pod", job))
    given_up = found.get("Failed", {})
    if given_up.get("status") == "True":
        message = f"[{given_up.get('reason', 'Failed')}] {given_up.get('message', '')}"
        return Progress(failed=True, warnings=[*pods, message], errors=[*pods, message])
    if pluck(job, "spec", "suspend"):
        pods = [*pods, f'Job "{name}" is suspended: it waits until somebody resumes it']
    if not status.get("startTime"):
        return Progress(infos=[f'Waiting for Job "{name}" to start'], warnings=pods, errors=pods)
    counts = " | ".join(f"{what.capitalize()}: {status.get(what, 0)}" for what in ("active", "succeeded", "failed"))
    return Progress(infos=[f'Waiting for Job "{name}" to succeed ({counts})'], warnings=pods, errors=pods)
