"""Rules about how a server ends: endpoints first, then the requests in flight, then the process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from llm_policies.objects import Object
from llm_policies.pods import Container
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import each

_DEFAULT_GRACE_SECONDS = 30
"""Kubernetes' own terminationGracePeriodSeconds."""

_MARGIN_SECONDS = 5
"""For the process itself, when the last request is done."""

_SLEEP = re.compile(r"\bsleep\s+([0-9]+(?:\.[0-9]+)?)(s|m)?\b")
_DRAINS_SINCE = (0, 18)
"""vLLM's first release with --shutdown-timeout, whose default drops what is in flight."""

_VERSION = re.compile(r":v?(\d+)\.(\d+)")


def _pre_stop_seconds(container: Container) -> Fraction | None:
    """Seconds that the preStop hook sleeps; None where there is none that can be read."""
    hook = container.value.get("lifecycle", "preStop")
    if (seconds := hook.get("sleep", "seconds").integer()) is not None:
        return Fraction(seconds)
    words = " ".join(word.text() or "" for word in hook.get("exec", "command").items())
    if (slept := _SLEEP.search(words)) is None:
        return None
    return Fraction(slept[1]) * (60 if slept[2] == "m" else 1)


def _drain_seconds(container: Container) -> Fraction:
    """What the engine itself gives requests in flight."""
    return (container.number("--shutdown-timeout") if container.engine == "vllm" else None) or Fraction(0)


def _needed_seconds(container: Container) -> int:
    pre_stop = _pre_stop_seconds(container) or Fraction(0)
    return int(pre_stop + _drain_seconds(container)) + _MARGIN_SECONDS


def _lacks_drain(container: Container) -> bool:
    if container.engine != "vllm" or container.option("--shutdown-timeout") is not None:
        return False
    version = _VERSION.search(container.image)
    return version is None or (int(version[1]), int(version[2])) >= _DRAINS_SINCE


def _grace(item: Object, _: Context) -> Iterator[Said]:
    for pod in item.pods:
        written = pod.spec.get("terminationGracePeriodSeconds").integer()
        grace = _DEFAULT_GRACE_SECONDS if written is None else written

        def judge(container: Container, grace: int = grace) -> Iterator[Said]:
            pre_stop = _pre_stop_seconds(container)
            if pre_stop is None:
                yield (
                    f"{container.name}: no preStop sleep, so requests still come when the server has begun to end, and "
                    "fail. Add lifecycle.preStop.sleep of 5 s."
                )
            if _lacks_drain(container):
                yield (
                    f"{container.name}: no --shutdown-timeout, so vLLM drops the requests in flight when it ends. Add "
                    "--shutdown-timeout=60."
                )
            elif grace < _needed_seconds(container):
                yield (
                    f"{container.name}: grace {grace}s does not cover preStop {int(pre_stop or 0)}s + drain "
                    f"{int(_drain_seconds(container))}s; streams are cut. Set terminationGracePeriodSeconds to "
                    f"{_needed_seconds(container)} or more."
                )

        yield from each(pod.engines, judge)


def _extend(item: Object, _: Context) -> Iterator[Edit]:
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
        written = pod.spec.get("terminationGracePeriodSeconds").integer()
        needed = max((_needed_seconds(c) for c in pod.engines), default=0)
        if needed > (_DEFAULT_GRACE_SECONDS if written is None else written):
            yield Edit((*path, "spec", "terminationGracePeriodSeconds"), needed)


_POD = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  template:
    spec:
"""

GRACE_PERIOD = Rule(
    name="grace-period",
    title="A server that ends finishes what it has begun.",
    description=(
        "Kubernetes ends a pod 30 s after it was told to stop, whatever it does. An answer takes longer; and a server "
        "that stops before its endpoint is gone refuses what is sent to it still."
    ),
    remediation=(
        "Sleep in preStop until the endpoint is gone (5 s), drain by --shutdown-timeout, and set "
        "terminationGracePeriodSeconds above both."
    ),
    severity="error",
    references=("kserve#5485", "kserve#5496", "vLLM --shutdown-timeout"),
    of_object=_grace,
    kinds=frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "LeaderWorkerSet", "Pod"}),
    remediate=_extend,
    bad=_POD
    + """\
      containers:
      - {name: vllm, image: "vllm/vllm-openai:v0.33.0", args: [org/model]}
""",
    good=_POD
    + """\
      terminationGracePeriodSeconds: 80
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.33.0
        args: [org/model, --shutdown-timeout=60]
        lifecycle: {preStop: {sleep: {seconds: 5}}}
""",
)

RULES = (GRACE_PERIOD,)
