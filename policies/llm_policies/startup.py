"""Rules about how long a server may take to start: before its probe kills it, and before its rollout has failed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from math import ceil

from llm_policies.containers import Container
from llm_policies.models import is_on_disk
from llm_policies.objects import POD_BEARING, Object
from llm_policies.rule import Context, Edit, Rule, Said, Setting
from llm_policies.values import Doubt, Value, each
from llm_policies.waits import Wait, progress_seconds, waits

_SAFETY = Fraction(3, 2)
"""Of the time that a start is expected to take: a node that does something else reads slowly."""

_PROCESS_SECONDS = 20
"""Interpreter, imports and the GPU's context. An estimate, as is the next."""

_COMPILE_SECONDS = 120
"""torch.compile and CUDA graphs of vLLM's first start, unless --enforce-eager."""

_DEFAULT_READY_SECONDS = 600
"""vLLM's own VLLM_ENGINE_READY_TIMEOUT_S."""

_DEFAULT_PERIOD, _DEFAULT_FAILURES = 10, 3
"""Kubernetes' own periodSeconds and failureThreshold."""

_YES = re.compile("1|true|yes|on", re.IGNORECASE)
"""What Hugging Face's library takes for yes."""

_SIZE, _DISK, _DOWNLOAD = "modelBytesByWorkload", "diskMegabytesPerSecond", "downloadMegabytesPerSecond"


def probe_numbers(container: Container) -> tuple[int, int, int]:
    """initialDelaySeconds, periodSeconds and failureThreshold of the startup probe, as Kubernetes takes them."""
    probe = container.value.get("startupProbe")
    delay, period, failures = (
        probe.get(key).integer(least=0) for key in ("initialDelaySeconds", "periodSeconds", "failureThreshold")
    )
    # Kubernetes takes a 0 for what is not set, here alone.
    return delay or 0, period or _DEFAULT_PERIOD, failures or _DEFAULT_FAILURES


def budget_seconds(container: Container) -> int | None:
    """How long the startup probe lets it start; None where there is none, so that nothing ends it."""
    if not container.value.get("startupProbe").exists:
        return None
    delay, period, failures = probe_numbers(container)
    return delay + period * failures


def _speed(context: Context, rule: str, key: str) -> Fraction:
    """A setting in MB/s, as bytes a second."""
    said = Value(context.settings[key], f"rules.{rule}.{key}")
    speed = said.quantity()
    if speed is None or speed <= 0:
        raise said.malformed("a speed above 0")
    return speed * 10**6


def _fetches(container: Container) -> bool:
    """Whether it downloads its model at its first start, as far as can be seen: not from a path, nor offline."""
    offline = container.variable("HF_HUB_OFFLINE")
    if offline is not None and _YES.fullmatch(offline.text() or ""):
        return False
    return not is_on_disk(container)


def _compiles(container: Container) -> bool:
    return container.engine == "vllm" and not container.has_flag("--enforce-eager")


def _needed(item: Object, container: Container, context: Context) -> tuple[int, str]:
    """Seconds that a start may take, with the margin, and what for."""
    sizes = Value(context.settings[_SIZE], f"rules.{STARTUP_BUDGET.name}.{_SIZE}")
    size = sizes.get(f"{item.namespace}/{item.name}").quantity()
    seconds, parts = Fraction(_PROCESS_SECONDS), []
    # Ollama loads a model when it is first asked for it, and a Job fetches it: the server itself is up at once.
    if size is not None and container.engine != "ollama":
        disk, net = (_speed(context, STARTUP_BUDGET.name, key) for key in (_DISK, _DOWNLOAD))
        gib = f"{float(size) / 2**30:.1f} GiB"
        if _fetches(container):
            seconds += size / net
            parts.append(f"download {gib} at {float(net) / 10**6:g} MB/s")
        seconds += size / disk
        parts.append(f"load {gib} at {float(disk) / 10**6:g} MB/s")
    if _compiles(container):
        seconds += _COMPILE_SECONDS
        parts.append("compile")
    # Rounded down: a budget that is exactly enough must not fail by a fraction of a second.
    return int(_SAFETY * seconds), " and ".join(parts) if parts else "start"


def _too_short(item: Object, context: Context) -> Iterator[Said]:
    def judge(container: Container) -> Iterator[Said]:
        if not container.serves:
            return
        budget = budget_seconds(container)
        needed, what = _needed(item, container, context)
        if budget is not None and budget < needed:
            yield (
                f"{container.name}: startup budget {budget}s < {needed}s needed to {what}, half as much again to "
                "spare; the server is killed while it starts, for ever. Set the startupProbe's failureThreshold to "
                f"{_failures(container, needed)}."
            )
        patience = _patience_seconds(container)
        if patience is not None and patience < needed:
            yield (
                f"{container.name}: vLLM itself gives up after {patience}s (VLLM_ENGINE_READY_TIMEOUT_S) < {needed}s "
                f"needed to {what}, whatever the probes allow. Set it to {needed}."
            )

    yield from each((c for pod in item.serving_pods for c in pod.main_containers), judge)


def _patience_seconds(container: Container) -> int | None:
    """How long vLLM waits for its own engine; None for other engines, and where it is set from elsewhere."""
    if container.engine != "vllm":
        return None
    written = container.variable("VLLM_ENGINE_READY_TIMEOUT_S")
    if written is None:
        return _DEFAULT_READY_SECONDS
    text = written.text() or ""
    return int(text) if re.fullmatch("[0-9]{1,9}", text) else None  # else vLLM refuses it itself


def _failures(container: Container, needed: int) -> int:
    delay, period, _ = probe_numbers(container)
    return ceil(Fraction(needed - delay, period))


def _raise_failures(item: Object, context: Context) -> Iterator[Edit]:
    serving = {c.value.path for pod in item.serving_pods for c in pod.main_containers if c.serves}
    for path, container in item.containers_with_paths():
        if container.value.path in serving and (budget := budget_seconds(container)) is not None:
            needed, _ = _needed(item, container, context)
            if budget < needed:
                yield Edit((*path, "startupProbe", "failureThreshold"), _failures(container, needed))


_SERVER = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
"""
_POD = """\
  template:
    spec:
      containers:
      - name: vllm
        image: vllm/vllm-openai:v0.33.0
        args: [Qwen/Qwen3-8B]
"""
_PROBE = """\
        startupProbe: {{httpGet: {{path: /health, port: 8000}}, periodSeconds: 10, failureThreshold: {failures}}}
"""

STARTUP_BUDGET = Rule(
    name="startup-budget",
    title="A server is given the time that its model takes to load.",
    description=(
        "A startupProbe that gives up kills the server while it loads, and the next one, for ever. What a start takes "
        "is 1.5 x (20 s for the process + the download + the weights at the disk's speed + 120 s to compile). How "
        "large the model is cannot be seen in a resource: the setting `modelBytesByWorkload` tells it. Without it the "
        "budget must cover what any model takes, the process and vLLM's compilation (210 s, 30 s with "
        "--enforce-eager), which no server can do without. A model that is on disk (a path, or HF_HUB_OFFLINE) is not "
        "downloaded; Ollama loads when it is first asked. vLLM's own patience, VLLM_ENGINE_READY_TIMEOUT_S (600 s), "
        "counts too."
    ),
    remediation="Raise the startupProbe's failureThreshold; it costs nothing where a start is quick.",
    severity="error",
    references=("vLLM docs/deployment/k8s.md, troubleshooting", "vLLM VLLM_ENGINE_READY_TIMEOUT_S"),
    of_object=_too_short,
    kinds=POD_BEARING - {"Job", "CronJob"},
    settings={
        _SIZE: Setting(
            default={},
            description="Bytes of the weights that a workload ('namespace/name') loads when it starts.",
        ),
        # 140 GB in about 5 minutes, as published for SSDs.
        _DISK: Setting(default=450, description="Speed at which weights are read from a node's disk, in MB/s."),
        _DOWNLOAD: Setting(default=25, description="Speed at which models are downloaded, in MB/s."),
    },
    remediate=_raise_failures,
    bad=_SERVER + _POD + _PROBE.format(failures=12),
    good=_SERVER + _POD + _PROBE.format(failures=60),
)


def _longest_start(item: Object, beyond: int) -> int:
    """The longest budget of a serving container, in seconds; 0 where none is longer than `beyond`.

    Only of those that are it matters which of them serve: of many that is not known before the deployment.
    """
    containers = (c for pod in item.serving_pods for c in pod.main_containers)
    budgets = ((budget_seconds(container) or 0, container) for container in containers)
    return max([0, *(budget for budget, container in budgets if budget > beyond and _loads_a_model(container))])


def _loads_a_model(container: Container) -> bool:
    """Whether it is an engine, or a server of one's own on a GPU; the GPU is enough where the engine is not known."""
    try:
        return container.serves or container.gpus > 0
    except Doubt:
        if container.gpus:
            return True
        raise


def _ends_early(item: Object, _: Context) -> Iterator[Said]:
    def judge(wait: Wait) -> Iterator[Said]:
        if start := _longest_start(item, beyond=wait.seconds):
            yield (
                f"rollout deadline {wait.seconds}s ({wait.name}) ends before the model is up ({start}s), so a rollout "
                f"that goes well counts as failed. Set {wait.repair} to {start} or more."
            )

    yield from each(waits(item), judge)


def _extend(item: Object, _: Context) -> Iterator[Edit]:
    if start := _longest_start(item, beyond=progress_seconds(item)):
        # Where the old pod has to go first, its end counts too: 30 s where nothing is said.
        ends = [pod.spec.get("terminationGracePeriodSeconds").integer() for pod in item.pods]
        yield Edit(("spec", "progressDeadlineSeconds"), start + sum(30 if end is None else end for end in ends))


ROLLOUT_DEADLINE = Rule(
    name="rollout-deadline",
    title="A rollout is not over before the model is up.",
    description=(
        "A Deployment counts as failed after progressDeadlineSeconds (600 s), and Pulumi waits as long unless "
        "custom_timeouts or the annotation pulumi.com/timeoutSeconds says more. A startupProbe may allow a model more "
        "than that: the rollout then fails while all goes well. custom_timeouts are seen in a Pulumi program only."
    ),
    remediation="Set progressDeadlineSeconds, and Pulumi's wait, above the startupProbe's budget.",
    severity="error",
    references=("Kubernetes: progressDeadlineSeconds", "Pulumi: pulumi.com/timeoutSeconds"),
    of_object=_ends_early,
    kinds=frozenset({"Deployment"}),
    remediate=_extend,
    bad=_SERVER + _POD + _PROBE.format(failures=120),
    good=_SERVER.replace("{name: chat}", '{name: chat, annotations: {pulumi.com/timeoutSeconds: "1300"}}')
    + "  progressDeadlineSeconds: 1300\n"
    + _POD
    + _PROBE.format(failures=120),
)

RULES = (STARTUP_BUDGET, ROLLOUT_DEADLINE)
