"""Rules about how a server ends: endpoints first, then the requests in flight, then the process."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from math import ceil

from llm_policies.containers import Container
from llm_policies.image_names import is_of, tag
from llm_policies.objects import POD_BEARING, Object
from llm_policies.pods import Pod
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import Undecided, each

_DEFAULT_GRACE_SECONDS = 30
"""Kubernetes' own terminationGracePeriodSeconds."""

_MARGIN_SECONDS = 5
"""For the process itself, when the last request is done."""

_SLEEP = re.compile(r"\bsleep[ (]+([0-9]{1,9}(?:\.[0-9]{1,9})?)(s|m)?\b")

_DRAINS_SINCE = (0, 18)
"""vLLM's first release with --shutdown-timeout, whose default drops what is in flight."""

_NAMED_RELEASE = re.compile(r"vllm[-_]?v?(\d{1,9})\.(\d{1,9})")
"""In a tag of any image: `rocm7.0.0_vllm_0.11.2`, `instinct_vllm0.8.3`."""

_RELEASE = re.compile(r"v?(\d{1,9})\.(\d{1,9})")
"""A tag of vLLM's own images: `v0.33.0`. Those of others are dates (`25.09`), or releases of their own (`3.2.1`)."""

_VLLMS_OWN = (
    *("vllm-openai", "vllm-openai-rocm", "vllm-openai-cpu", "vllm-openai-xpu", "vllm-tpu"),
    *("vllm-release-repo", "vllm-cpu-release-repo", "vllm-arm64-cpu-release-repo"),
)
"""Names of its images; a mirror may have them anywhere."""

_NAMED_ALIKE = ("lmcache/vllm-openai",)
"""Images of others by the same name: `v0.3.9` is a release of LMCache, and tells none of vLLM."""

_SHELL_SCRIPT = re.compile(r"-[A-Za-z]*c")
"""The option behind which a shell's text comes: `-c`, also `-lc`."""

_ENDS_OF_COMMANDS = re.compile(r"[;&|()\n]")
_RUNNERS = frozenset({"exec", "source", ".", "sh", "bash"})
"""Words of a shell's text before the file that they run."""


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
    script = _shell_text(words)
    is_readable = script is not None and "sleep" not in script and not _runs_a_file(script)
    return Fraction(0) if (words and not is_readable) or hook.get("httpGet").exists else None


def _shell_text(words: list[str]) -> str | None:
    """What a shell is given to do; None for a program or a script."""
    if not words or not words[0].endswith("sh"):
        return None
    return next((text for word, text in pairwise([*words, ""]) if _SHELL_SCRIPT.fullmatch(word)), None)


def _runs_a_file(script: str) -> bool:
    """Whether a command of a shell's text is a file by its path, as `exec /drain.sh`."""
    commands = (command.split() for command in _ENDS_OF_COMMANDS.split(script))
    return any("/" in next((word for word in command if word not in _RUNNERS), "") for command in commands)


def _drain_seconds(container: Container) -> Fraction:
    """What the engine itself gives requests in flight.

    Raises:
        Undecided: by what is put in when the pod starts, as from a ConfigMap.
    """
    if container.engine != "vllm":
        return Fraction(0)
    if container.is_substituted("--shutdown-timeout"):
        raise Undecided(f"--shutdown-timeout of {container.name}")
    return container.number("--shutdown-timeout") or Fraction(0)


def _covered_seconds(container: Container) -> Fraction:
    """What the grace period has to be longer than."""
    return (_pre_stop_seconds(container) or Fraction(0)) + _drain_seconds(container)


def _enough(container: Container) -> int:
    return ceil(_covered_seconds(container)) + _MARGIN_SECONDS


def _release(image: str) -> tuple[int, int] | None:
    """The release of vLLM that an image says it has; None where nobody can see it."""
    named = _NAMED_RELEASE.search(tag(image))
    is_own = is_of(image, *_VLLMS_OWN) and not is_of(image, *_NAMED_ALIKE)
    found = named or (_RELEASE.match(tag(image)) if is_own else None)
    return (int(found[1]), int(found[2])) if found is not None else None


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
    if container.engine != "vllm" or _drain_seconds(container) > 0:
        return
    release = _release(container.image)
    if release is None or release >= _DRAINS_SINCE:
        known = "" if release is not None else " if its vLLM is 0.18 or newer, which the image does not say"
        yield (
            f"{container.name}: no --shutdown-timeout, so vLLM drops the requests in flight when it ends. Add "
            f"--shutdown-timeout=60{known}."
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
