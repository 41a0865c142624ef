"""Asks an object's check again and again, shows what it says, and ends with the object, an error or a time-out."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from dataclasses import dataclass, field, replace

from plugins._engine import INFO, WARNING, Severity, Status
from plugins.kubernetes.awaiting.kstatus import check_any
from plugins.kubernetes.awaiting.others import (
    check_claim,
    check_ingress,
    check_quota,
    check_replication_controller,
    check_secret,
    check_service,
    check_volume,
)
from plugins.kubernetes.awaiting.pods import check_pod
from plugins.kubernetes.awaiting.progress import TIMED_OUT, Check, Progress, Related
from plugins.kubernetes.awaiting.wait_for import parse
from plugins.kubernetes.awaiting.workloads import (
    check_daemon_set,
    check_deployment,
    check_job,
    check_stateful_set,
)
from plugins.kubernetes.cluster import ApiError, Unreachable
from plugins.kubernetes.discovery import UnknownKind
from plugins.kubernetes.objects import (
    SKIP_AWAIT,
    TIMEOUT_SECONDS,
    WAIT_FOR,
    Object,
    annotation,
    group_version_kind,
    name_of,
    pluck,
)
from plugins.kubernetes.operations import Operations
from plugins.kubernetes.ownership import managed_fields

DEFAULT_TIMEOUT_SECONDS = 600.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 1.5
_EVENTS_EVERY_SECONDS = 5.0
_TO_SECONDS = len("2026-01-01T00:00:00")  # only some of the server's times have fractions

CHECKS: dict[str, Check] = {
    "apps/v1/Deployment": check_deployment,
    "apps/v1/StatefulSet": check_stateful_set,
    "apps/v1/DaemonSet": check_daemon_set,
    "batch/v1/Job": check_job,
    "v1/Pod": check_pod,
    "v1/Service": check_service,
    "v1/PersistentVolumeClaim": check_claim,
    "v1/PersistentVolume": check_volume,
    "v1/ReplicationController": check_replication_controller,
    "v1/ResourceQuota": check_quota,
    "v1/Secret": check_secret,
    "networking.k8s.io/v1/Ingress": check_ingress,
}
"""Kinds that the official provider waits for. All others (CustomResourceDefinitions, APIServices, autoscalers, custom
resources) are done when the API server has taken them, unless they are annotated or PULUMI_K8S_AWAIT_ALL is set."""

_LONGEST_SECONDS = {
    "v1/PersistentVolumeClaim": 300.0,
    "v1/PersistentVolume": 300.0,
    "v1/ReplicationController": 600.0,
    "v1/ResourceQuota": 60.0,
    "v1/Secret": 5.0,
}
"""Kinds that the official provider polls for a fixed time, whatever customTimeouts says: here no longer than that."""

_CHECKED_ON_READ = frozenset(CHECKS) - frozenset(_LONGEST_SECONDS)
_DELETED_WITHOUT_WAITING = frozenset(
    {"v1/Namespace", "v1/Pod", "v1/ReplicationController", "apps/v1/DaemonSet", "apps/v1/Deployment"}
    | {"apps/v1/StatefulSet", "batch/v1/Job"}
)
"""Kinds whose skipAwait holds for their deletion too."""


@dataclass
class NotReady(Exception):
    """The object is there, but not what it should be: its last state, and why, one reason each."""

    text: str
    live: Object
    reasons: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return self.text


class Awaiter:
    """Waits for objects of one cluster."""

    def __init__(self, operations: Operations, cancelled: threading.Event, *, everything: bool = False) -> None:
        """`everything`: wait for kinds without a check of their own too, by their conditions."""
        # Who looks every second needs no other retries.
        self._operations = replace(operations, cluster=operations.cluster.once())
        self._retrying = operations
        self._patience = operations.cluster.retry_seconds
        self._cancelled = cancelled
        self._everything = everything

    def ready(self, obj: Object, last: Object | None, inputs: Object, *, timeout: float, status: Status) -> Object:
        """Wait until the object is what it should be, and give it as it is then.

        Args:
            obj: the object as the API server gave it after the change.
            last: the object before an update; None for a new one.
            inputs: the inputs, whose annotations may shorten or skip the waiting.
            timeout: seconds from the resource's customTimeouts; 0 for none.
            status: shows what is waited for.

        Raises:
            NotReady: it failed, the time is over, the API server stays away, or the user has cancelled.
        """
        kind, limit = group_version_kind(obj), timeout or _annotated(inputs) or DEFAULT_TIMEOUT_SECONDS
        check = CHECKS.get(kind) or (check_any if self._everything else None)
        if wanted := annotation(inputs, WAIT_FOR):
            check = parse(wanted)
        else:
            limit = min(limit, _LONGEST_SECONDS.get(kind, limit))
        if check is None or annotation(inputs, SKIP_AWAIT) == "true":
            return obj
        patience = _Patience(self._patience)
        return _Wait(self._operations, self._cancelled, check, obj, last, limit, status, patience).run()

    def problems(self, obj: Object, inputs: Object) -> list[str] | None:
        """Why the object is not ready now; None if it is, or if its kind is not looked at. For a refresh.

        Raises:
            ApiError, UnknownKind, Unreachable, Cancelled: what lies beside it cannot be read.
        """
        check = CHECKS.get(group_version_kind(obj))
        if check is None or group_version_kind(obj) not in _CHECKED_ON_READ or annotation(inputs, SKIP_AWAIT) == "true":
            return None
        progress = check(obj, obj, related(self._retrying, obj))
        ready = progress.ready or progress.settled_after is not None
        return None if ready else progress.errors

    def gone(self, obj: Object, inputs: Object, *, timeout: float, status: Status) -> None:
        """Wait until the object is gone, or another one is in its place.

        Raises:
            NotReady: the time is over, or the user has cancelled.
        """
        skipped = annotation(inputs, SKIP_AWAIT) == "true" and group_version_kind(obj) in _DELETED_WITHOUT_WAITING
        if skipped:
            return
        deadline = time.monotonic() + (timeout or _annotated(inputs) or DEFAULT_TIMEOUT_SECONDS)
        pause, live, patience = 0.1, obj, _Patience(self._patience)
        while True:
            finalizers = ", ".join(pluck(live, "metadata", "finalizers", default=None) or [])
            reasons = [f"finalizers might be preventing deletion ({finalizers})"] if finalizers else []
            try:
                live = self._operations.read(obj)
                patience.answered()
                if pluck(live, "metadata", "uid") != pluck(obj, "metadata", "uid"):
                    return
                status.show(f"Resource scheduled for deletion{f' (finalizers: {finalizers})' if finalizers else ''}")
            except UnknownKind:
                return
            except (ApiError, Unreachable) as error:
                if isinstance(error, ApiError) and error.not_found:
                    return
                patience.missed(error, live, status)
            over = time.monotonic() > deadline
            if over or self._cancelled.wait(pause):
                for reason in reasons:
                    status.log(WARNING, reason)
                raise NotReady(TIMED_OUT if over else _cancelled_text(live), live, reasons)
            pause = min(pause * 1.5, _LONGEST_PAUSE)


class _Patience:
    """How long an API server that does not answer is waited for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._since: float | None = None

    def answered(self) -> None:
        """It has answered."""
        self._since = None

    def missed(self, error: ApiError | Unreachable, live: Object, status: Status) -> None:
        """It has not: raises NotReady when that has gone on for too long, and the error if it is a refusal."""
        # Any code from 500 on is the server's trouble ("etcdserver: leader changed"), and a reading can be repeated.
        if isinstance(error, ApiError) and not error.transient and error.code < 500:
            raise error
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if now - self._since > self._seconds:
            text = (
                f"'{name_of(live)}' could not be waited for any longer: {error}. Gave up after {self._seconds:.0f} s."
            )
            raise NotReady(text, live, [text]) from error
        status.warn(f"{error}. Trying again for up to {self._seconds:.0f} s.")


class _Wait:
    """One object's waiting."""

    def __init__(
        self,
        operations: Operations,
        cancelled: threading.Event,
        check: Check,
        obj: Object,
        last: Object | None,
        limit: float,
        status: Status,
        patience: _Patience,
    ) -> None:
        self._operations, self._cancelled, self._check = operations, cancelled, check
        self._live, self._last, self._limit, self._status, self._patience = obj, last, limit, status, patience
        self._start = time.monotonic()
        self._shown: list[tuple[Severity, str]] = []
        self._collected: list[str] = []
        self._events = _Events(operations, obj)

    def run(self) -> Object:
        pause = _FIRST_PAUSE
        progress = Progress()
        while True:
            progress = self._look(progress)
            elapsed = time.monotonic() - self._start
            if progress.ready or (progress.settled_after is not None and elapsed >= progress.settled_after):
                return self._live
            if progress.failed:
                raise NotReady(
                    f"Resource '{name_of(self._live)}' was created but failed to initialize",
                    self._live,
                    self._reasons(progress),
                )
            if elapsed > self._limit:
                text = progress.timed_out or f"'{name_of(self._live)}' timed out waiting to be Ready"
                raise NotReady(text, self._live, self._reasons(progress))
            if self._cancelled.wait(min(pause, max(0.05, self._limit - elapsed))):
                raise NotReady(_cancelled_text(self._live), self._live, self._reasons(progress))
            pause = min(pause * 1.3, _LONGEST_PAUSE)

    def _look(self, before: Progress) -> Progress:
        """One round; while the API server does not answer, things stay as they were, until the patience is over."""
        try:
            self._live = self._operations.read(self._live)
            progress = self._check(self._live, self._last, related(self._operations, self._live))
            events = self._events.new()
            progress.warnings += events
            # A Job's pods may be gone by the time it is given up.
            passing = [*progress.warnings] if self._live.get("kind") == "Job" else events
            self._collected += [line for line in passing if line not in self._collected]
            self._patience.answered()
        except (ApiError, Unreachable) as error:
            if isinstance(error, ApiError) and error.not_found:
                text = f"'{name_of(self._live)}' was deleted while it was waited for"
                raise NotReady(text, self._live, [text]) from error
            self._patience.missed(error, self._live, self._status)
            self._shown = []  # is shown again when it answers
            return before
        self._show(progress)
        return progress

    def _show(self, progress: Progress) -> None:
        lines: list[tuple[Severity, str]] = [(WARNING, line) for line in progress.warnings] + [
            (INFO, line) for line in progress.infos
        ]
        for severity, line in lines:
            if (severity, line) not in self._shown:
                self._status.show(line, severity)
        self._shown = lines

    def _reasons(self, progress: Progress) -> list[str]:
        """The check's errors, then what was seen on the way: about a pod that is gone by now."""
        with contextlib.suppress(ApiError, Unreachable):  # then it is said without them
            self._collected += [line for line in self._events.new(at_once=True) if line not in self._collected]
        return [*progress.errors, *(line for line in self._collected if line not in progress.errors)][:20]


_CODE = "[bcdfghjklmnpqrstvwxz2456789]"  # of which Kubernetes makes names: no vowels, so that no words come out
_POD_NAMES = {
    "Deployment": f"-{_CODE}{{5,10}}-{_CODE}{{5}}",
    "StatefulSet": r"-\d+",
    "DaemonSet": f"-{_CODE}{{5}}",
    "Job": rf"(-\d+)?-{_CODE}{{5}}",
    "ReplicationController": f"-{_CODE}{{5}}",
}
"""What follows the name of an object in those of its pods, which may be gone by the time their events are read."""


class _Events:
    """Warning events about an object and its pods since the object was last written: since the waiting began."""

    def __init__(self, operations: Operations, obj: Object) -> None:
        """`obj` is the object as the API server gave it after the change: it has that time by the server's clock."""
        self._operations, self._obj = operations, obj
        self._pods = re.compile(re.escape(name_of(obj)) + _POD_NAMES.get(str(obj.get("kind")), "-.*"))
        writes = [entry.get("time", "") for entry in managed_fields(obj) if not entry.get("subresource")]
        self._since = max(writes, default="") or pluck(obj, "metadata", "creationTimestamp", default="")
        self._next = time.monotonic() + _EVENTS_EVERY_SECONDS
        self._seen: dict[str, str] = {}

    def new(self, *, at_once: bool = False) -> list[str]:
        """`Reason: message` of each event that is new; asked for every few seconds only, or at once."""
        if time.monotonic() < self._next and not at_once:
            return []
        self._next = time.monotonic() + _EVENTS_EVERY_SECONDS
        found = []
        uid = pluck(self._obj, "metadata", "uid")
        for event in related(self._operations, self._obj).all("v1", "Event"):
            about = event.get("involvedObject") or {}
            mine = about.get("uid") == uid or (
                about.get("kind") == "Pod" and self._pods.fullmatch(about.get("name", ""))
            )
            when = event.get("lastTimestamp") or event.get("eventTime") or ""
            if event.get("type") != "Warning" or not mine or when[:_TO_SECONDS] < self._since[:_TO_SECONDS]:
                continue
            text = f"{event.get('reason')}: {event.get('message')}"
            if self._seen.get(about.get("name", "")) != text:
                self._seen[about.get("name", "")] = text
                found.append(text)
        return found


def related(operations: Operations, obj: Object) -> Related:
    """What lies beside `obj`, read from the cluster."""

    def path(api_version: str, kind: str) -> str:
        return operations.discovery.resource(api_version, kind).path(obj)

    def listing(api_version: str, kind: str) -> list[Object]:
        try:
            found: list[Object] = operations.cluster.get(path(api_version, kind)).get("items") or []
        except UnknownKind:  # an old cluster: what it does not serve does not lie beside
            return []
        except ApiError as error:
            if error.code == 403:  # who may not see what lies beside still may deploy
                return []
            raise
        return found

    def reading(api_version: str, kind: str, name: str) -> Object | None:
        try:
            return operations.cluster.get(operations.discovery.resource(api_version, kind).item_path(obj, name))
        except UnknownKind:
            return None
        except ApiError as error:
            if error.not_found:
                return None
            raise

    return Related(listing, reading)


def _annotated(inputs: Object) -> float:
    given = annotation(inputs, TIMEOUT_SECONDS)
    return float(given) if given.isdigit() else 0.0


def _cancelled_text(obj: Object) -> str:
    return f'Resource operation was cancelled for "{name_of(obj)}"'
