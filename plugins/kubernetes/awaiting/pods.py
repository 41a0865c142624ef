"""Pods: when one is ready, and why it is not, in the words of the official provider."""

from __future__ import annotations

from plugins.kubernetes.awaiting.progress import Progress, Related
from plugins.kubernetes.objects import Object, conditions, pluck, shown_name

_PULL_PREFIX = "rpc error: code = Unknown desc = Error response from daemon: "


def check_pod(pod: Object, _last: Object | None, _related: Related) -> Progress:
    """A pod is ready when it is scheduled, initialized and ready, or has succeeded."""
    found = conditions(pod)
    name = shown_name(pod)
    result = Progress(warnings=pod_problems(pod))
    for condition, what in (("PodScheduled", "scheduled"), ("Initialized", "initialized"), ("Ready", "ready")):
        met = found.get(condition, {}).get("status") == "True"
        if not met and not (condition == "Ready" and pluck(pod, "status", "phase") == "Succeeded"):
            result.infos.append(f'Waiting for Pod "{name}" to be {what}')
            result.errors = list(result.warnings)
            return result
    result.ready = True
    result.warnings = []
    return result


def pod_problems(pod: Object) -> list[str]:
    """What keeps a pod from being ready, one message each; empty while nothing looks wrong."""
    found = conditions(pod)
    prefix = f"[Pod {shown_name(pod)}]: "
    scheduled = found.get("PodScheduled")
    if scheduled is not None and scheduled.get("status") != "True":
        return [prefix + scheduled["message"]] if scheduled.get("message") else []
    if pluck(pod, "status", "phase") == "Succeeded":
        return []
    containers = [
        *(pluck(pod, "status", "initContainerStatuses") or []),
        *(pluck(pod, "status", "containerStatuses") or []),
    ]
    reasons = "\n".join(reason for status in containers for reason in _container_problems(status))
    for condition in ("Initialized", "Ready"):
        state = found.get(condition)
        if state is None:
            return []
        if state.get("status") != "True":
            message = state.get("message", "")
            return [f"{prefix}{message}{reasons}"] if message or reasons else []
    return []


def _container_problems(status: Object) -> list[str]:
    terminated = pluck(status, "state", "terminated")
    if status.get("ready") or (
        terminated and terminated.get("exitCode") == 0
    ):  # an init container that has done its work
        return []
    result = []
    waiting = pluck(status, "state", "waiting")
    if waiting and waiting.get("reason") not in ("ContainerCreating", "PodInitializing", None):
        result.append(f"[{waiting['reason']}] {_trimmed(waiting.get('message', ''))}")
    if terminated and terminated.get("reason"):
        if terminated.get("message"):
            result.append(f"[{terminated['reason']}] {_trimmed(terminated['message'])}")
        else:
            result.append(f'container "{status["name"]}" completed with exit code {terminated["exitCode"]}')
    before = pluck(status, "lastState", "terminated")
    if before:
        how = f"{before.get('reason', '')}: exit code {before.get('exitCode')}"
        result.append(f'container "{status["name"]}" terminated at {before.get("finishedAt")} ({how})')
        if before.get("message"):
            result.append(before["message"])
    return result


def _trimmed(message: str) -> str:
    return message.removeprefix(_PULL_PREFIX).removesuffix(": manifest unknown")


def problems_of(pods: list[Object]) -> list[str]:
    """The problems of several pods."""
    return [problem for pod in pods for problem in pod_problems(pod)]
