"""Rules about GPUs that a pod asks for, and the runtime that hands them over."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress

from llm_policies.containers import TENSOR_PARALLEL, Container
from llm_policies.examples import POD
from llm_policies.gpu_resources import is_gpu
from llm_policies.objects import Object
from llm_policies.pods import Pod
from llm_policies.rule import Context, Edit, Rule, Said, Setting
from llm_policies.values import Unsaid, Value, each

_PIPELINE = ("--pipeline-parallel-size", "--pp-size", "-pp")
_DATA_PARALLEL = ("--data-parallel-size", "-dp", "--dp-size", "--dp")
_LOCAL = ("--data-parallel-size-local", "-dpl")
_RANK = ("--data-parallel-rank", "-dpn")
_PREFILL = ("--prefill-context-parallel-size", "-pcp")
_ONE_NODE = ("", "mp", "uni")
# Words by which a shell puts in what stands elsewhere: `vllm serve $MODEL $VLLM_ARGS`.
_ELSEWHERE = re.compile(r"\$[({]?\w*(?:ARGS|OPTS|OPTIONS|FLAGS|PARAMS)|\$[@*]|\$\{[@*]", re.IGNORECASE)


def _parallelism(container: Container, _: Context) -> Iterator[Said]:
    if container.engine not in TENSOR_PARALLEL or is_of_several_nodes(container) or _gets_gpus_otherwise(container):
        return
    names = TENSOR_PARALLEL[container.engine]
    told = container.has_flag(*names, *_PIPELINE, *_DATA_PARALLEL, *_PREFILL)
    gpus = container.gpus
    if not told and (gpus == 0 or _is_told_elsewhere(container)):
        return
    sizes = (names, _PIPELINE, _DATA_PARALLEL, _LOCAL, _PREFILL)
    if any(container.is_substituted(*options) for options in sizes):
        return  # by what a shell finds out
    if unread := [options[0] for options in sizes if not _is_count(container, options)]:
        for option in unread:
            yield (
                f"{container.name}: {option} is no whole number of at least 1, so the engine refuses to start. "
                "Write one."
            )
        return
    if part := _part(container):
        if gpus > 1 or container.workers > 1:
            yield (
                f"{container.name} asks for {gpus} of {part} for {container.workers} workers, but a process sees one "
                "part of a GPU only, and slices may be of the same one: they make no larger GPU. Ask for 1, or for "
                "whole GPUs."
            )
        return
    copies, prefill = _copies(container), max(1, int(container.number(*_PREFILL) or 1))
    wanted = container.workers * prefill * copies
    # Of several side by side, or one or the other, each needs no more than there are; their words are read together.
    if gpus < wanted or (gpus > wanted and container.starts < 2):
        more = (f" x PCP {prefill}" if prefill > 1 else "") + (f" x DP {copies}" if copies != 1 else "")
        rest = container.pipeline_parallel * prefill * copies
        fitting = f", or set {names[0]}={gpus // rest}" if rest and gpus and gpus % rest == 0 else ""
        yield (
            f"{container.name} asks for {gpus} GPU but TP {container.tensor_parallel} x PP "
            f"{container.pipeline_parallel}{more} = {wanted}: the engine starts one worker for each, so it "
            f"{'would lack some and fail' if gpus < wanted else 'leaves the others idle'}. Ask for {wanted}{fitting}."
        )


def is_of_several_nodes(container: Container) -> bool:
    """Whether its pod has a part of the engine's GPUs only."""
    nodes = container.number("--nnodes", "-n")
    return (
        container.is_substituted("--nnodes", "-n")
        or container.pod.owner_kind == "LeaderWorkerSet"
        or (nodes is not None and nodes != 1)
        or (container.option("--distributed-executor-backend") or "") not in _ONE_NODE
        or container.option("--data-parallel-backend") == "ray"
        or any("ray start" in word or "multi-node-serving" in word for word in container.words)
    )


def _is_count(container: Container, options: tuple[str, ...]) -> bool:
    """Whether what one of `options` is given is a number of workers; also where none is given."""
    number = container.number(*options)
    least = 0 if options is _LOCAL else 1  # a node may have none of the copies
    return not container.has_flag(*options) or (number is not None and number >= least and not number % 1)


def _part(container: Container) -> str:
    """The resource of NVIDIA by which it asks for parts or slices of GPUs; empty where it asks for whole ones."""
    asked = {**_asked(container, "limits"), **_asked(container, "requests")}
    return next((name for name in asked if name.startswith("nvidia.com/") and name != "nvidia.com/gpu"), "")


def _gets_gpus_otherwise(container: Container) -> bool:
    """Whether its GPUs are not among its limits: claimed, handed over by the runtime, or not what it computes on."""
    if container.gpus > 0:
        return False
    visible = container.variable("NVIDIA_VISIBLE_DEVICES")
    return (
        bool(container.value.get("resources", "claims").items())
        or (visible is not None and visible.text() not in ("", "none", "void"))
        or is_on_cpu(container)
        # Another device may be what it computes on: a TPU, Gaudi, Neuron, a virtual GPU; but no network's.
        or any("/" in name and "rdma" not in name for name, _ in container.value.get("resources", "limits").pairs())
    )


def is_on_cpu(container: Container) -> bool:
    """Whether it is vLLM's image for the CPU, whose workers are no GPUs."""
    return re.search(r"(?<![a-z])cpu(?![a-z])", container.image.lower()) is not None


def _is_told_elsewhere(container: Container) -> bool:
    """Whether its options may be in a file or in a script."""
    if container.has_flag("--config") or any(_ELSEWHERE.search(word) for word in container.words):
        return True
    return container.value.get("command").exists and container.starts == 0


def _copies(container: Container) -> int:
    """Engines that work side by side in one pod (data parallel)."""
    if container.has_flag(*_RANK) or container.has_flag("--enable-dp-attention"):
        return 1  # one rank a pod; SGLang's attention divides the GPUs that there are
    local = container.number(*_LOCAL)
    copies = container.number(*_DATA_PARALLEL) if local is None else local
    return 1 if copies is None else max(0, int(copies))


GPU_COUNT = Rule(
    name="gpu-count-matches-parallelism",
    title="An engine asks for the GPUs that it uses.",
    description=(
        "An engine starts one worker for each GPU of tensor x pipeline x data parallelism. With fewer it fails at the "
        "start; with more the others stay idle, and nobody else gets them. Engines over several nodes (Ray, --nnodes, "
        "LeaderWorkerSet) are not judged, nor options in a file or a script, nor GPUs by resource claims."
    ),
    remediation="Set limits['nvidia.com/gpu'] to --tensor-parallel-size x --pipeline-parallel-size.",
    severity="error",
    references=("vLLM config/parallel.py (world_size)",),
    of_container=_parallelism,
    bad=POD + "    args: [org/model, --tensor-parallel-size=4]\n    resources: {limits: {nvidia.com/gpu: 2}}\n",
    good=POD + "    args: [org/model, --tensor-parallel-size=4]\n    resources: {limits: {nvidia.com/gpu: 4}}\n",
)


def _asked(container: Container, key: str) -> dict[str, Value]:
    asked: list[tuple[str, Value]] = []
    with suppress(Unsaid):  # a patch may say limits alone
        asked = container.value.get("resources", key).pairs()
    return {name: value for name, value in asked if is_gpu(name)}


def _requests(container: Container, _: Context) -> Iterator[Said]:
    limits, requests = _asked(container, "limits"), _asked(container, "requests")

    def judge(resource: str) -> Iterator[Said]:
        # Kubernetes reads null, which charts leave where nothing is set, as 0.
        limit = (limits[resource].quantity() or 0) if resource in limits else None
        request = (requests[resource].quantity() or 0) if resource in requests else limit
        if limit is None:
            yield (
                f"{container.name}: {resource} is under requests only, which Kubernetes refuses. GPU quantity must be "
                "an equal integer in requests and limits: write it under limits."
            )
        elif limit % 1 or limit < 0:
            yield (
                f"{container.name}: {resource} is {float(limit):g}, but GPUs are whole. Write a whole number; several "
                "pods share one by time-slicing on the node."
            )
        elif request != limit:
            yield (
                f"{container.name}: {resource} has requests {float(request or 0):g} and limits {float(limit):g}, which "
                "Kubernetes refuses. GPU quantity must be an equal integer in requests and limits."
            )

    yield from each(sorted({*limits, *requests}), judge)
    vendors = {name.partition("/")[0] for name, value in (*limits.items(), *requests.items()) if value.quantity()}
    if len(vendors) > 1:
        yield f"{container.name}: asks for GPUs of {' and '.join(sorted(vendors))}; no node has both. Choose one."


def _copy_limit(item: Object, _: Context) -> Iterator[Edit]:
    """The limit is what a container gets; where there is none, the request says what is meant."""
    for path, container in item.containers_with_paths():
        limits, requests = _asked(container, "limits"), _asked(container, "requests")
        for resource, request in requests.items():
            if request.is_secret or (resource in limits and limits[resource].is_secret):
                continue  # copied, it would be none
            if resource not in limits:
                yield Edit((*path, "resources", "limits", resource), request.raw)
            elif limits[resource].quantity() != request.quantity():
                yield Edit((*path, "resources", "requests", resource), limits[resource].raw)


GPU_REQUEST = Rule(
    name="gpu-request-equals-limit",
    title="GPUs are asked for by a whole number, as limit.",
    description=(
        "Extended resources cannot be overcommitted: Kubernetes refuses a request that is not the limit, and fractions."
    ),
    remediation="Write the number under limits alone; requests follow from it.",
    severity="error",
    references=("Kubernetes: extended resources",),
    of_container=_requests,
    remediate=_copy_limit,
    bad=POD + "    resources: {requests: {nvidia.com/gpu: 1}, limits: {nvidia.com/gpu: 2}}\n",
    good=POD + "    resources: {limits: {nvidia.com/gpu: 2}}\n",
)


def _lacks_runtime(pod: Pod, context: Context) -> bool:
    named = pod.spec.get("runtimeClassName").text()
    nvidia = pod.gpus_of(lambda resource: resource.startswith("nvidia.com/") and is_gpu(resource)) > 0
    return nvidia and not named and context.settings["defaultRuntime"] != "nvidia"


def _runtime_class(pod: Pod, context: Context) -> Iterator[Said]:
    if _lacks_runtime(pod, context):
        yield (
            f"runtimeClassName: {context.settings['runtimeClass']} is missing; on k3s the container will not see the "
            "driver, unless nvidia is its default runtime. Name it, or set defaultRuntime of this rule to nvidia."
        )


def _set_runtime_class(item: Object, context: Context) -> Iterator[Edit]:
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
        if _lacks_runtime(pod, context):
            yield Edit((*path, "spec", "runtimeClassName"), context.settings["runtimeClass"])


RUNTIME_CLASS = Rule(
    name="runtime-class",
    title="A pod with GPUs runs under NVIDIA's runtime.",
    description=(
        "On k3s NVIDIA's runtime has a RuntimeClass, and is used for no pod that does not name it: the GPU is counted, "
        "and the container has no driver. Where the nodes' default runtime hands GPUs over, as on most managed "
        "clusters and with the GPU operator, set defaultRuntime to nvidia."
    ),
    remediation="Write runtimeClassName: nvidia, or tell the rule that it is the node's default runtime.",
    severity="error",
    references=("k3s: NVIDIA container runtime",),
    of_pod=_runtime_class,
    remediate=_set_runtime_class,
    settings={
        "defaultRuntime": Setting(
            default="runc", description="The default runtime of the nodes; `nvidia` where they were set up so."
        ),
        "runtimeClass": Setting(default="nvidia", description="The RuntimeClass of NVIDIA's runtime."),
    },
    bad=POD + "    resources: {limits: {nvidia.com/gpu: 1}}\n",
    good=POD.replace("spec:\n", "spec:\n  runtimeClassName: nvidia\n")
    + "    resources: {limits: {nvidia.com/gpu: 1}}\n",
)

RULES = (GPU_COUNT, GPU_REQUEST, RUNTIME_CLASS)
