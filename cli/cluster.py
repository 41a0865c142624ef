"""Reads what the cluster holds of one namespace, with the official client, as plain JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolchain.steps import StepFailed

Object = dict[str, Any]
"""A Kubernetes object as `kubectl get -o json` shows it."""

_PATIENCE_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class Objects:
    """Workloads of a namespace, and the pods that they have come to."""

    deployments: dict[str, Object] = field(default_factory=dict)
    """By name."""

    jobs: list[Object] = field(default_factory=list)
    pods: list[Object] = field(default_factory=list)
    last_words: dict[str, str] = field(default_factory=dict)
    """By pod: the last line that a container wrote before it ended, where one keeps ending."""


def read_objects(namespace: str, kubeconfig: Path | None) -> Objects:
    """What is in `namespace`; nothing where there is no such namespace.

    Args:
        namespace: of the model servers.
        kubeconfig: file with the way to the cluster; None for what KUBECONFIG names.

    Raises:
        StepFailed: the cluster does not answer, or does not let us read.
    """
    from kubernetes import client, config  # here: half a second that other commands need not wait
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    try:
        loaded = client.Configuration()
        where = str(kubeconfig) if kubeconfig else None
        config.load_kube_config(config_file=where, client_configuration=loaded)  # type: ignore[no-untyped-call]  # the client's helper has no types
        loaded.retries = 0
        with client.ApiClient(loaded) as api:
            apps, batch, core = client.AppsV1Api(api), client.BatchV1Api(api), client.CoreV1Api(api)
            pods = _items(core.list_namespaced_pod, namespace)
            return Objects(
                deployments={d["metadata"]["name"]: d for d in _items(apps.list_namespaced_deployment, namespace)},
                jobs=_items(batch.list_namespaced_job, namespace),
                pods=pods,
                last_words={
                    pod["metadata"]["name"]: words
                    for pod in pods
                    if (container := _keeps_ending(pod)) and (words := _last_words(core, pod, container))
                },
            )
    except ApiException as error:
        raise StepFailed(f"the cluster answered {error.status} {error.reason}: {_message(error)}") from None
    except (HTTPError, config.ConfigException, OSError) as error:
        raise StepFailed(f"the cluster cannot be reached, so nothing is known of it: {error}") from None


def _items(listing: Any, namespace: str) -> list[Object]:
    """The items of a list, not turned into the client's own classes."""
    response = listing(namespace, _preload_content=False, _request_timeout=_PATIENCE_SECONDS)
    items: list[Object] = json.loads(response.data)["items"]
    return items


def _keeps_ending(pod: Object) -> str | None:
    """The pod's first container that is waited with before it is started again."""
    for status in (pod.get("status") or {}).get("containerStatuses") or ():
        if ((status.get("state") or {}).get("waiting") or {}).get("reason") == "CrashLoopBackOff":
            return str(status["name"])
    return None


def _last_words(core: Any, pod: Object, container: str) -> str | None:
    """The last line of the container's previous life; None where it is not kept any more."""
    from kubernetes.client.exceptions import ApiException

    try:
        log = core.read_namespaced_pod_log(
            pod["metadata"]["name"],
            pod["metadata"]["namespace"],
            container=container,
            previous=True,
            tail_lines=20,
            _request_timeout=_PATIENCE_SECONDS,
        )
    except ApiException as error:
        if error.status in (400, 404):  # no previous container, or the pod is gone
            return None
        raise
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return lines[-1] if lines else None


def _message(error: Any) -> str:
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return "no reason given"
