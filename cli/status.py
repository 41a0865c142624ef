"""`llmctl status`: how each model fares, from the plan and from what the cluster holds."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cli.cluster import Object, Objects, read_objects
from cli.deployment import Deployment
from cli.edge import endpoints
from planning.plan import Plan, ServerPlan
from report.memory import gpus_in_words
from toolchain.steps import StepFailed, duration

Phase = Literal["Ready", "Updating", "Loading", "Pulling", "Pending", "CrashLoop", "Stopped", "Absent"]

_INSTANCE = "app.kubernetes.io/instance"

_SCHEDULER_WORDS = {
    r"Insufficient nvidia\.com/gpu": "no GPU is free on a node of its kind",
    r"Insufficient memory": "no node has enough free memory",
    r"Insufficient cpu": "no node has enough free CPU",
    r"didn't match Pod's node affinity": "no node has the GPU and slices that the stack file names",
    r"untolerated taint": "the nodes keep it away by a taint",
    r"unbound immediate PersistentVolumeClaims": "its volume is not there yet",
}
"""What the scheduler says of nodes, in words."""


@dataclass(frozen=True, kw_only=True)
class ModelStatus:
    """How one server fares."""

    name: str
    phase: Phase
    reason: str
    """In words; empty where there is nothing to say."""

    ready: int
    wanted: int
    nodes: tuple[str, ...]
    """Where its pods are; before there are any, nothing."""

    gpus: str
    """Of one pod, in words."""

    url: str | None
    """For clients; None where no route leads to it."""


def status(deployment: Deployment) -> list[ModelStatus]:
    """The status of every model server of the stack file.

    Raises:
        SettingsError, PlanError: the stack file cannot be followed.
        StepFailed: there is no cluster yet, or it does not answer.
    """
    plan = deployment.plan()
    if deployment.lab and not deployment.lab.kubeconfig.is_file():
        raise StepFailed("Nothing is there yet: no lab runs, and KUBECONFIG names no cluster. Run `llmctl up`.")
    kubeconfig = deployment.lab.kubeconfig if deployment.lab else None
    if kubeconfig is None and not os.environ.get("KUBECONFIG"):
        raise StepFailed("KUBECONFIG names no cluster.")
    return statuses(plan, read_objects(plan.namespace, kubeconfig))


def statuses(plan: Plan, objects: Objects) -> list[ModelStatus]:
    """The status of each server of the plan, from `objects` of its namespace."""
    urls = {endpoint.server: endpoint.url for endpoint in reversed(endpoints(plan))}
    return [_status(name, server, objects, urls.get(name)) for name, server in plan.servers.items()]


def as_json(found: Sequence[ModelStatus]) -> str:
    """For programs."""
    return json.dumps([dataclasses.asdict(status) for status in found], indent=2)


def show(found: Sequence[ModelStatus]) -> None:
    """Print a table for people."""
    from rich.console import Console  # here: 0.1 s that other commands need not wait
    from rich.table import Table

    table = Table("Model", "Phase", "Pods", "Node", "GPUs", box=None, pad_edge=False)
    table.add_column("URL", overflow="fold")  # to be copied: no part of it may be left out
    for status in found:
        colour = {"Ready": "green", "CrashLoop": "red"}.get(status.phase, "yellow")
        table.add_row(
            status.name,
            f"[{colour}]{status.phase}[/]",
            f"{status.ready}/{status.wanted}",
            ", ".join(status.nodes) or "-",
            status.gpus,
            status.url or "(inside the cluster only)",
        )
    console = Console()
    console.print(table)
    for status in found:
        if status.reason:
            console.print(f"{status.name}: {status.reason}", markup=False, highlight=False)


def _status(name: str, server: ServerPlan, objects: Objects, url: str | None) -> ModelStatus:
    workload = objects.deployments.get(name)
    pods = [pod for pod in objects.pods if _serves(pod, workload)] if workload else []
    phase, reason, ready, wanted = _phase(name, server, workload, pods, objects)
    return ModelStatus(
        name=name,
        phase=phase,
        reason=reason,
        ready=ready,
        wanted=wanted,
        nodes=tuple(dict.fromkeys(node for pod in pods if (node := pod["spec"].get("nodeName")))),
        gpus=gpus_in_words(server),
        url=url,
    )


def _phase(
    name: str, server: ServerPlan, workload: Object | None, pods: Sequence[Object], objects: Objects
) -> tuple[Phase, str, int, int]:
    """Phase, its reason, pods ready, pods wanted."""
    pulling = [job for job in objects.jobs if _instance(job) == name and (job.get("status") or {}).get("active")]
    if workload is None:
        if pulling:
            return "Pulling", _pulling(pulling[0], objects), 0, server.replicas
        return "Absent", "not deployed; run `llmctl up`.", 0, server.replicas
    told = workload.get("status") or {}
    wanted = int((workload.get("spec") or {}).get("replicas", 1))
    ready, updated = int(told.get("readyReplicas", 0)), int(told.get("updatedReplicas", 0))
    if wanted == 0:
        return "Stopped", "scaled to 0 pods.", ready, wanted
    seen = told.get("observedGeneration") == workload["metadata"].get("generation")
    if ready >= wanted and updated >= wanted and seen:
        return "Ready", f"{_pulling(pulling[0], objects)}" if pulling else "", ready, wanted
    troubles = [trouble for pod in pods if (trouble := _trouble(pod, server, objects))]
    if troubles:
        order: tuple[Phase, ...] = ("CrashLoop", "Pending", "Pulling", "Loading")
        phase, reason = min(troubles, key=lambda trouble: order.index(trouble[0]))
        return phase, reason, ready, wanted
    if pulling:
        return "Pulling", _pulling(pulling[0], objects), ready, wanted
    if ready >= wanted:
        return "Updating", "new pods take over from the old ones.", ready, wanted
    return "Pending", _no_pod(told), ready, wanted


def _trouble(pod: Object, server: ServerPlan, objects: Objects) -> tuple[Phase, str] | None:
    """Why `pod` does not answer yet; None where it does, or goes."""
    status = pod.get("status") or {}
    name = pod["metadata"]["name"]
    conditions = {c["type"]: c for c in status.get("conditions") or ()}
    if pod["metadata"].get("deletionTimestamp") or conditions.get("Ready", {}).get("status") == "True":
        return None
    scheduled = conditions.get("PodScheduled", {})
    if scheduled.get("status") == "False":
        return "Pending", f"{name}: {_in_words(str(scheduled.get('message', '')))}"
    for container in [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        if reason == "CrashLoopBackOff":
            return "CrashLoop", f"{name}: {_ended(container, objects.last_words.get(name))}"
        if reason in ("ImagePullBackOff", "ErrImagePull", "InvalidImageName"):
            return "Pending", f"{name}: its image cannot be pulled: {message or reason}"
        if reason and reason not in ("ContainerCreating", "PodInitializing"):
            return "Pending", f"{name}: {reason}: {message}"
    if any((c.get("state") or {}).get("running") for c in status.get("containerStatuses") or ()):
        return "Loading", f"{name}: the model is being loaded, which takes about {_expected(server)}."
    return "Pending", f"{name}: its image and volumes are being made ready."


def _ended(container: Object, last_words: str | None) -> str:
    ended = (container.get("lastState") or {}).get("terminated") or {}
    why = {"OOMKilled": "killed, as it took more host memory than its limit"}.get(
        str(ended.get("reason")), f"ended with exit code {ended.get('exitCode', 'unknown')}"
    )
    said = f"; it last said: {last_words}" if last_words else ""
    return f"{why}, {container.get('restartCount', 0)} restarts{said}"


def _in_words(message: str) -> str:
    """The scheduler's message, with what it means for a model first."""
    meanings = [words for pattern, words in _SCHEDULER_WORDS.items() if re.search(pattern, message)]
    return f"{'; '.join(meanings)} ({message})" if meanings else message or "not placed on a node yet"


def _pulling(job: Object, objects: Objects) -> str:
    """That models are fetched, and why not if they cannot be."""
    name = job["metadata"]["name"]
    for pod in objects.pods:
        if (pod["metadata"].get("labels") or {}).get("batch.kubernetes.io/job-name") != name:
            continue
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            if ((container.get("state") or {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff":
                last = objects.last_words.get(pod["metadata"]["name"])
                return f"models cannot be fetched by job {name}: {_ended(container, last)}"
    return f"models are being fetched by job {name}."


def _no_pod(told: Object) -> str:
    failed: Iterable[dict[str, Any]] = told.get("conditions") or ()
    said = [str(c.get("message")) for c in failed if c.get("type") == "ReplicaFailure" and c.get("status") == "True"]
    return said[0] if said else "its pods are not made yet."


def _expected(server: ServerPlan) -> str:
    return f"{duration(server.startup.expected_seconds)} (at most {duration(server.startup.budget_seconds)})"


def _serves(pod: Object, workload: Object) -> bool:
    """Whether `pod` is one of the workload's."""
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(k) == v for k, v in workload["spec"]["selector"]["matchLabels"].items())


def _instance(of: Object) -> str | None:
    label: str | None = (of["metadata"].get("labels") or {}).get(_INSTANCE)
    return label
