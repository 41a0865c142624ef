"""Rules about how a server ends: endpoints first, then the requests in flight, then the process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from math import ceil

from llm_policies.objects import POD_BEARING, Object
from llm_policies.pods import Container, Pod
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import each

_DEFAULT_GRACE_SECONDS = 30
"""Kubernetes' own terminationGracePeriodSeconds."""

_MARGIN_SECONDS = 5
"""For the process itself, when the last request is done."""

_SLEEP = re.compile(r"\bsleep[ (]+([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|m)?\b")

_DRAINS_SINCE = (0, 18)
"""vLLM's first release with --shutdown-timeout, whose default drops what is in flight."""

_VERSION = re.compile(r"vllm[-_]v?(\d{1,9})\.(\d{1,9})|^v?(\d{1,9})\.(\d{1,9})")
"""Of a tag: `v0.33.0`, or `rocm7.0.0_vllm_0.11.2`."""

_FIRST_YEAR = 20
"""Tags such as `25.09` are dates, of images whose own vLLM nobody can see."""


def _pre_stop_seconds(container: Container) -> Fraction | None:
    """Seconds that the preStop hook sleeps; 0 for one that cannot be read, None where nothing waits."""
    hook = container.value.get("lifecycle", "preStop")
    if (seconds := hook.get("sleep", "seconds").integer()) is not None:
        return Fraction(seconds) if seconds > 0 else None
    words = [word.text() or "" for word in hook.get("exec", "command").items()]
    text = " ".join(words)
    if slept := _SLEEP.findall(text):
        return sum((Fraction(number) * (60 if unit == "m" else 1) for number, unit in slept), Fraction(0))
    # What a program or a script of its own does, or whoever is asked, is not to be seen; a shell's text is.
    is_readable = bool(words) and words[0].endswith("sh") and "-c" in words and "sleep" not in text
    return Fraction(0) if (words and not is_readable) or hook.get("httpGet").exists else None


def _drain_seconds(container: Container) -> Fraction:
    """What the engine itself gives requests in flight."""
    return (container.number("--shutdown-timeout") if container.engine == "vllm" else None) or Fraction(0)


def _covered_seconds(container: Container) -> Fraction:
    """What the grace period has to be longer than."""
    return (_pre_stop_seconds(container) or Fraction(0)) + _drain_seconds(container)


def _enough(container: Container) -> int:
    return ceil(_covered_seconds(container)) + _MARGIN_SECONDS


def _lacks_drain(container: Container) -> bool:
    """Whether vLLM could drain, and does not."""
    return container.engine == "vllm" and _drain_seconds(container) <= 0 and _knows_drain(container.image)


def _knows_drain(image: str) -> bool:
    """Whether the image's vLLM has --shutdown-timeout; one that does not say its version is taken for a new one."""
    tag = image.rpartition("/")[2].partition(":")[2]  # with a digest, which has no dots
    if (version := _VERSION.search(tag)) is None:
        return True
    major, minor = (int(number) for number in version.groups() if number is not None)
    return (major, minor) >= _DRAINS_SINCE and major < _FIRST_YEAR


def _grace_seconds(pod: Pod) -> int:
    written = pod.spec.get("terminationGracePeriodSeconds").integer()
    return _DEFAULT_GRACE_SECONDS if written is None else written


def _grace(item: Object, _: Context) -> Iterator[Said]:
    def judge(container: Container) -> Iterator[Said]:
        if not container.serves:
            return
        for check in (_no_wait, _no_drain, _cut):
            yield from each([container], check)

    yield from each((c for pod in item.serving_pods for c in pod.main_containers), judge)


def _no_wait(container: Container) -> Iterator[Said]:
    if _pre_stop_seconds(container) is None:
        yield (
            f"{container.name}: no preStop sleep, so requests still come when the server has begun to end, and fail. "
            "Add lifecycle.preStop.sleep of 5 s."
        )


def _no_drain(container: Container) -> Iterator[Said]:
    if _lacks_drain(container):
        yield (
            f"{container.name}: no --shutdown-timeout, so vLLM drops the requests in flight when it ends. Add "
            "--shutdown-timeout=60."
        )


def _cut(container: Container) -> Iterator[Said]:
    grace = _grace_seconds(container.pod)
    if grace <= _covered_seconds(container):
        yield (
            f"{container.name}: grace {grace}s does not cover preStop {int(_pre_stop_seconds(container) or 0)}s + "
            f"drain {int(_drain_seconds(container))}s; streams are cut. Set terminationGracePeriodSeconds to "
            f"{_enough(container)} or more."
        )


def _extend(item: Object, _: Context) -> Iterator[Edit]:
    for path, pod in zip(item.pod_paths, item.serving_pods, strict=False):  # a group's leader is the first
        serving = [container for container in pod.main_containers if container.serves]
        if any(_grace_seconds(pod) <= _covered_seconds(container) for container in serving):
            enough = max(_enough(container) for container in serving)
            yield Edit((*path, "spec", "terminationGracePeriodSeconds"), enough)


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
        "that stops before its endpoint is gone refuses what is sent to it still. vLLM drops what is in flight unless "
        "--shutdown-timeout (since 0.18) says how long it may finish. A preStop hook of another kind than a sleep, be "
        "it a script or a request, is taken for one that waits."
    ),
    remediation=(
        "Sleep in preStop until the endpoint is gone (5 s), drain by --shutdown-timeout, and set "
        "terminationGracePeriodSeconds above both."
    ),
    severity="error",
    references=("kserve#5485", "kserve#5496", "vLLM --shutdown-timeout"),
    of_object=_grace,
    kinds=POD_BEARING - {"Job", "CronJob"},  # nobody sends them requests
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
