"""What a change does to those who use the service: what restarts, for how long, and what is lost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from planning.ollama import OllamaPlan
from planning.plan import Plan, ServerPlan
from report.changes import leaves
from report.preview import Preview, Step
from report.words import kind_in_words
from toolchain.steps import duration

Effect = Literal["outage", "reduced", "none", "starts", "ends"]

_WORKLOADS = frozenset({"Deployment", "StatefulSet"})
_DEFAULT_GRACE_SECONDS = 30
"""Kubernetes' own, where a pod names none."""

_DEFAULT_PARTS: dict[str, int | str] = {"maxSurge": "25%", "maxUnavailable": "25%"}
"""Kubernetes' own, where a rolling update names none."""


@dataclass(frozen=True, kw_only=True)
class Impact:
    """What happens to one workload."""

    workload: str
    effect: Effect
    text: str
    """For people, as whole sentences without Markdown."""


@dataclass(frozen=True, kw_only=True)
class Loss:
    """What is gone for good after the deployment."""

    what: str
    """Kind and name, e.g. `volume chat-cache`."""

    text: str


@dataclass(frozen=True, kw_only=True)
class _Times:
    """Seconds of one pod's change."""

    grace: int
    expected: int | None
    """Of a start; None where nobody knows."""

    @property
    def one_pod(self) -> str:
        if self.expected is None:
            return f"up to {duration(self.grace)} until the old pod has ended, and the start of the new one"
        return f"about {duration(self.expected)}, and up to {duration(self.grace)} more while old requests finish"


def impacts(preview: Preview, plan: Plan | None) -> list[Impact]:
    """What happens to each workload that is touched, the worst first."""
    order: tuple[Effect, ...] = ("outage", "ends", "reduced", "starts", "none")
    found = [_impact(step, plan) for step in preview.steps if step.kind in _WORKLOADS]
    return sorted((i for i in found if i is not None), key=lambda i: (order.index(i.effect), i.workload))


def losses(preview: Preview) -> list[Loss]:
    """Volumes and namespaces that go, with what is in them."""
    told = {
        "PersistentVolumeClaim": "the volume goes with all models and caches on it; they must be downloaded again",
        "Namespace": "everything in the namespace goes with it, also what this stack did not make",
    }
    return [
        Loss(
            what=f"{kind_in_words(step.kind)} {_name(step.old) or step.name}",
            text=told[step.kind] + (" (it is replaced by an empty one)" if step.operation == "replace" else ""),
        )
        for step in preview.steps
        if step.kind in told and step.operation in ("delete", "replace")
    ]


def _impact(step: Step, plan: Plan | None) -> Impact | None:
    server = plan.servers.get(step.name) if plan else None
    times = _times(step, server)

    def told(effect: Effect, text: str) -> Impact:
        return Impact(workload=step.name, effect=effect, text=text)

    if step.operation == "create":
        return told("starts", f"New: answers after its start{_first_start(server)}.")
    if step.operation == "delete":
        return told("ends", "Taken away: requests to it fail from then on.")
    if step.operation == "replace":
        return told("outage", f"Deleted, then made anew: no answer for {times.one_pod}{_download(step, server)}.")
    if leaves(step.old, "spec", "template") != leaves(step.new, "spec", "template"):
        return _restart(step, times, server)
    before, after = _replicas(step.old), _replicas(step.new)
    if before != after:
        return told("none", f"Scaled from {before} to {after}: no pod that stays is restarted.")
    return None


def _restart(step: Step, times: _Times, server: ServerPlan | None) -> Impact:
    """A new pod template, rolled out as the workload's own strategy says."""
    replicas = _replicas(step.new)
    extra = _download(step, server)
    if replicas == 0:
        return Impact(workload=step.name, effect="none", text="No pod runs, so none restarts.")
    surge, unavailable = _rolling(step)
    if surge is None:
        text = f"Recreate: every pod ends before a new one starts, so no answer for {times.one_pod}{extra}."
        return Impact(workload=step.name, effect="outage", text=text)
    if surge > 0:
        text = "Rolling update: an old pod ends when a new one answers, so no outage."
        if unavailable == 0:
            return Impact(workload=step.name, effect="none", text=text)
    if replicas <= unavailable:
        text = f"Rolling update, and the only pod goes first: no answer for {times.one_pod}{extra}."
        return Impact(workload=step.name, effect="outage", text=text)
    rounds = -(-replicas // max(unavailable, 1))
    text = (
        f"Rolling update: {replicas - unavailable} of {replicas} pods answer meanwhile; {rounds} rounds of "
        f"{times.one_pod}{extra}."
    )
    return Impact(workload=step.name, effect="reduced", text=text)


def _rolling(step: Step) -> tuple[int | None, int]:
    """Pods that may be too many, and too few; None for Recreate."""
    spec = _mapping(step.new.get("spec"))
    replicas = _replicas(step.new)
    if step.kind == "StatefulSet":
        return 0, 1
    strategy = _mapping(spec.get("strategy"))
    if strategy.get("type") == "Recreate":
        return None, 0
    limits = {**_DEFAULT_PARTS, **_mapping(strategy.get("rollingUpdate"))}
    return (
        _pods(limits["maxSurge"], replicas, round_up=True),
        _pods(limits["maxUnavailable"], replicas, round_up=False),
    )


def _pods(limit: object, replicas: int, *, round_up: bool) -> int:
    text = str(limit)
    if not text.endswith("%"):
        return int(float(text))
    hundredths = replicas * int(text.removesuffix("%"))
    return -(-hundredths // 100) if round_up else hundredths // 100


def _replicas(inputs: Mapping[str, Any]) -> int:
    """Pods wanted; where an autoscaler sets their number nothing is written, and one is the least."""
    written = _mapping(inputs.get("spec")).get("replicas")
    return 1 if written is None else int(written)


def _times(step: Step, server: ServerPlan | None) -> _Times:
    if server:
        return _Times(grace=server.shutdown.grace_period_seconds, expected=server.startup.expected_seconds)
    pod = _mapping(_mapping(_mapping((step.old or step.new).get("spec")).get("template")).get("spec"))
    written = pod.get("terminationGracePeriodSeconds")
    return _Times(grace=_DEFAULT_GRACE_SECONDS if written is None else int(written), expected=None)


def _first_start(server: ServerPlan | None) -> str:
    if server is None:
        return ""
    if not isinstance(server, OllamaPlan):
        return f", which downloads the model: up to {duration(server.startup.budget_seconds)}"
    return f", about {duration(server.startup.expected_seconds)}, when its models are on disk"


def _download(step: Step, server: ServerPlan | None) -> str:
    """What a start takes longer when it has to fetch a model that was not served before."""
    if server is None or isinstance(server, OllamaPlan):
        return ""
    old, new = (_model(inputs) for inputs in (step.old, step.new))
    if old == new and step.operation != "replace":
        return ""
    return f"; if the model is not on the volume yet, up to {duration(server.startup.budget_seconds)} in all"


def _model(inputs: Mapping[str, Any]) -> list[str] | None:
    """What an engine is told to serve: its first argument, or that one's value."""
    pod = _mapping(_mapping(_mapping(inputs.get("spec")).get("template")).get("spec"))
    for container in pod.get("containers") or ():
        if arguments := _mapping(container).get("args"):
            return [str(argument) for argument in arguments[:2]]
    return None


def _name(inputs: Mapping[str, Any]) -> str | None:
    named = _mapping(inputs.get("metadata")).get("name")
    return named if isinstance(named, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
