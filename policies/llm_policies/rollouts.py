"""Rules about how a new version takes over."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from math import ceil, floor

from llm_policies.gpu_pools import asked, lasting
from llm_policies.objects import Object, Stack
from llm_policies.placing import demands, fit, replicas
from llm_policies.pools import Pool
from llm_policies.rule import Context, Edit, Rule, Said, Setting
from llm_policies.scalers import scaled, unsure, written_replicas
from llm_policies.values import Doubt, Value

_DEFAULT = Fraction(1, 4)
"""Kubernetes' own maxSurge and maxUnavailable, of the replicas."""

_BY_WORKLOAD = "spareGpusByWorkload"


def _deadlock(item: Object, context: Context) -> Iterator[str]:
    """By the number of spare GPUs that somebody has told; strictly, none, where nobody has declared pools either."""
    written = written_replicas(item).integer()
    if written is None:
        return  # an autoscaler may say how many: the stack tells
    gpus, spare = _surging_gpus(item, written), _spare(item, context)
    if spare is not None and spare < gpus:
        yield _message(item)


def _deadlock_in_stack(stack: Stack, context: Context) -> Iterator[tuple[Object, Said]]:
    """By what the declared pools have left for one more pod, and of those whose number an autoscaler may say."""
    pools: Mapping[str, Pool] = {} if context.pools is None else context.pools
    total = lasting(asked(stack, pools)[0])
    # Where not even the old pods run, gpu-pool-oversubscribed tells.
    is_counted = fit(total, pools)
    by = scaled(stack)
    doubts = unsure(stack)
    for item in stack.of("Deployment"):
        is_told = True  # of the single object
        try:
            is_told = written_replicas(item).raw is not None
            scaler = by.get(id(item))
            counted = replicas(item, scaler)
            # One that is scaled to nothing has one pod before it has none.
            live = counted if scaler is None else max(1, counted)
            gpus, spare = _surging_gpus(item, live), _spare(item, context)
            if spare is not None:
                is_stuck = not is_told and spare < gpus
            else:
                more = demands(item, live - counted + 1, pools)
                is_stuck = is_counted and gpus > 0 and not fit(total + more, pools)
            if is_stuck:
                # One of the autoscalers of which it cannot be told may be this one's, and keep more pods.
                may_be_scaled = doubts and scaler is None and not is_told
                yield item, doubts[0] if may_be_scaled else _message(item)
        except Doubt as doubt:
            if not is_told:
                yield item, doubt


def _spare(item: Object, context: Context) -> int | None:
    """GPUs on one node that are told to be free for a new pod; None where the pools are to be counted."""
    if (told := _named(item, context)) is not None:
        return told
    spare: int = context.settings["spareGpus"]
    return None if context.pools is not None and spare == 0 else spare


def _named(item: Object, context: Context) -> int | None:
    """The same as it is told of this workload; None where nobody has named it."""
    told = Value(context.settings[_BY_WORKLOAD], f"rules.{GPU_ROLLOUT_DEADLOCK.name}.{_BY_WORKLOAD}")
    return told.get(f"{item.namespace}/{item.name}").integer()


def _surging_gpus(item: Object, pods: int) -> int:
    """GPUs of a pod that a rollout starts before an old one goes; 0 where it has none, or an old one goes first."""
    gpus = sum(pod.gpus for pod in item.pods)
    in_place = gpus == 0 or pods == 0 or _replaces_in_place(item.properties.get("spec", "strategy"), pods)
    return 0 if in_place else gpus


def _replaces_in_place(strategy: Value, replicas: int) -> bool:
    """Whether some old pod may go before its successor is up."""
    if strategy.get("type").text() == "Recreate":
        return True
    unavailable = strategy.get("rollingUpdate", "maxUnavailable").share(replicas)
    surge = strategy.get("rollingUpdate", "maxSurge").share(replicas)
    least = floor(_DEFAULT * replicas if unavailable is None else unavailable)
    # Where both come to 0, Kubernetes takes maxUnavailable for 1.
    return least > 0 or ceil(_DEFAULT * replicas if surge is None else surge) == 0


def _message(item: Object) -> str:
    return (
        f"rollout of '{item.name}' needs a spare GPU and there is none: new pod Pending, old pod kept. "
        "Use Recreate, or maxSurge 0 / maxUnavailable 1."
    )


def _take_over_in_place(item: Object, context: Context) -> Iterator[Edit]:
    """Only where somebody knows of this workload's GPUs: with one to spare, an outage would be for nothing."""
    written = written_replicas(item).integer()
    if written is None or _named(item, context) is None:
        return
    if written == 1:
        yield Edit(("spec", "strategy"), {"type": "Recreate"})
    else:
        in_place = {"maxSurge": 0, "maxUnavailable": 1}
        yield Edit(("spec", "strategy"), {"type": "RollingUpdate", "rollingUpdate": in_place})


_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: chat}
spec:
  replicas: 1
  template:
    spec:
      containers:
      - {name: vllm, image: "vllm/vllm-openai:v0.33.0", resources: {limits: {nvidia.com/gpu: 1}}}
"""

GPU_ROLLOUT_DEADLOCK = Rule(
    name="gpu-rollout-deadlock",
    title="A rollout does not wait for a GPU that nobody has.",
    description=(
        "With RollingUpdate the new pod starts before the old one ends. Where all GPUs are taken it stays Pending, and "
        "the rollout hangs for ever. With declared pools the GPUs of the stack are counted; without, none is spare "
        "unless a setting says so. Of an autoscaled server its fewest pods count. It is mended for workloads that "
        "spareGpusByWorkload names and that say how many pods they have: of others nobody knows."
    ),
    remediation="Use Recreate with one replica, and maxSurge 0 with maxUnavailable 1 with more.",
    severity="error",
    references=("LLMKube#196", "airunway#400", "kserve#4618"),
    of_object=_deadlock,
    of_stack=_deadlock_in_stack,
    kinds=frozenset({"Deployment"}),
    remediate=_take_over_in_place,
    settings={
        "spareGpus": Setting(
            default=0, description="GPUs on one node that are free when every replica of the stack is placed."
        ),
        _BY_WORKLOAD: Setting(default={}, description="The same by Deployment ('namespace/name'), where nodes differ."),
    },
    bad=_DEPLOYMENT,
    good=_DEPLOYMENT.replace("replicas: 1\n", "replicas: 1\n  strategy: {type: Recreate}\n"),
)

RULES = (GPU_ROLLOUT_DEADLOCK,)
