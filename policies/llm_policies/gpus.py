"""Rules about GPUs that a pod asks for, and how its engine uses them."""

from __future__ import annotations

from collections.abc import Iterator

from llm_policies.objects import Object
from llm_policies.pods import GPU_RESOURCES, Container, Pod
from llm_policies.rule import Context, Edit, Rule, Said, Setting
from llm_policies.values import Value, each

_LEAST_UTILIZATION, _MOST_UTILIZATION = 0.80, 0.95

_POD = """\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
"""


def _parallelism(container: Container, _: Context) -> Iterator[Said]:
    if container.engine not in ("vllm", "tgi") or container.has_flag("--nnodes", "--distributed-executor-backend"):
        return  # over several nodes each pod has a part of the GPUs
    local = container.number("--data-parallel-size-local", "-dpl") or container.number("--data-parallel-size", "-dp")
    copies = max(1, int(local or 1))
    wanted, gpus = container.workers * copies, container.gpus
    told = container.option("--tensor-parallel-size", "-tp", "--num-shard") is not None or container.workers > 1
    if gpus == 0 and not told:
        return  # on the CPU, or on GPUs that are handed over otherwise
    if gpus != wanted:
        repair = f"Ask for {wanted}, or set --tensor-parallel-size={max(1, gpus // container.pipeline_parallel)}."
        times = f" x DP {copies}" if copies > 1 else ""
        yield (
            f"{container.name} asks for {gpus} GPU but TP {container.tensor_parallel} x PP "
            f"{container.pipeline_parallel}{times} = {wanted}: the engine starts one worker for each, so it "
            f"{'would lack some and fail' if gpus < wanted else 'leaves the others idle'}. {repair}"
        )


GPU_COUNT = Rule(
    name="gpu-count-matches-parallelism",
    title="An engine asks for the GPUs that it uses.",
    description=(
        "vLLM starts one worker for each GPU of tensor x pipeline parallelism. With fewer it fails at the start; with "
        "more the others stay idle, and nobody else gets them."
    ),
    remediation="Set limits['nvidia.com/gpu'] to --tensor-parallel-size x --pipeline-parallel-size.",
    severity="error",
    references=("vLLM config/parallel.py (world_size)",),
    of_container=_parallelism,
    bad=_POD + "    args: [org/model, --tensor-parallel-size=4]\n    resources: {limits: {nvidia.com/gpu: 2}}\n",
    good=_POD + "    args: [org/model, --tensor-parallel-size=4]\n    resources: {limits: {nvidia.com/gpu: 4}}\n",
)


def _is_gpu(resource: str) -> bool:
    """Whether `resource` is a GPU, a slice of one (`nvidia.com/gpu.shared`), or a part (`nvidia.com/mig-...`)."""
    return resource.startswith((*GPU_RESOURCES, "nvidia.com/mig-", "gpu.intel.com/"))


def _asked(container: Container, key: str) -> dict[str, Value]:
    return {name: value for name, value in container.value.get("resources", key).pairs() if _is_gpu(name)}


def _requests(container: Container, _: Context) -> Iterator[Said]:
    limits, requests = _asked(container, "limits"), _asked(container, "requests")

    def judge(resource: str) -> Iterator[Said]:
        limit = limits[resource].quantity() if resource in limits else None
        request = requests[resource].quantity() if resource in requests else limit
        if limit is None:
            yield (
                f"{container.name}: {resource} is under requests only, which Kubernetes refuses. GPU quantity must be "
                "an equal integer in requests and limits: write it under limits."
            )
        elif limit.denominator != 1:
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
    vendors = {resource.partition("/")[0] for resource in (*limits, *requests)}
    if len(vendors) > 1:
        yield f"{container.name}: asks for GPUs of {' and '.join(sorted(vendors))}; no node has both. Choose one."


def _copy_limit(item: Object, _: Context) -> Iterator[Edit]:
    for path, container in item.containers_with_paths():
        limits, requests = _asked(container, "limits"), _asked(container, "requests")
        for resource, request in requests.items():
            if resource in limits and limits[resource].quantity() != request.quantity():
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
    bad=_POD + "    resources: {requests: {nvidia.com/gpu: 1}, limits: {nvidia.com/gpu: 2}}\n",
    good=_POD + "    resources: {limits: {nvidia.com/gpu: 2}}\n",
)


def _utilization(container: Container, _: Context) -> Iterator[Said]:
    written = container.option("--gpu-memory-utilization", "--cuda-memory-fraction")
    value = container.number("--gpu-memory-utilization", "--cuda-memory-fraction")
    if written is None or container.engine not in ("vllm", "tgi"):
        return
    if value is None or not 0 < value <= 1:
        yield (
            f"{container.name}: --gpu-memory-utilization {written} is no part of a GPU, so the engine refuses to "
            f"start. Keep {_LEAST_UTILIZATION}-{_MOST_UTILIZATION}."
        )
    elif value > _MOST_UTILIZATION:
        yield (
            f"{container.name}: --gpu-memory-utilization {written} leaves too little for peaks, so it runs out of "
            f"memory in use. Keep {_LEAST_UTILIZATION:.2f}-{_MOST_UTILIZATION}."
        )


GPU_MEMORY_UTILIZATION = Rule(
    name="gpu-memory-utilization",
    title="An engine leaves some of a GPU's memory free.",
    description=(
        "vLLM takes the part of the memory that it is told, at the start. Peaks of activations come on top: above 0.95 "
        "it runs out in use, not at the start. Less than 0.80 is only right where others share the GPU."
    ),
    remediation="Keep 0.80 to 0.95; 0.88 to 0.92 is safe.",
    severity="warn",
    references=("vLLM --gpu-memory-utilization",),
    of_container=_utilization,
    bad=_POD + "    args: [org/model, --gpu-memory-utilization=0.98]\n",
    good=_POD + "    args: [org/model, --gpu-memory-utilization=0.92]\n",
)


def _lacks_runtime(pod: Pod, context: Context) -> bool:
    named = pod.spec.get("runtimeClassName").text()
    nvidia = any(container.limit("nvidia.com/gpu") for container in pod.containers)
    return nvidia and not named and context.settings["defaultRuntime"] != "nvidia"


def _runtime_class(pod: Pod, context: Context) -> Iterator[Said]:
    if _lacks_runtime(pod, context):
        yield (
            f"runtimeClassName: {context.settings['runtimeClass']} is missing; on k3s the container will not see the "
            "driver, unless nvidia is its default runtime."
        )


def _set_runtime_class(item: Object, context: Context) -> Iterator[Edit]:
    for path, pod in zip(item.pod_paths, item.pods, strict=True):
        if _lacks_runtime(pod, context):
            yield Edit((*path, "spec", "runtimeClassName"), context.settings["runtimeClass"])


RUNTIME_CLASS = Rule(
    name="runtime-class",
    title="A pod with GPUs runs under NVIDIA's runtime.",
    description=(
        "k3s finds NVIDIA's runtime and makes a RuntimeClass for it, and uses it for no pod that does not name it. The "
        "GPU is counted, and the container has no driver."
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
    bad=_POD + "    resources: {limits: {nvidia.com/gpu: 1}}\n",
    good=_POD.replace("spec:\n", "spec:\n  runtimeClassName: nvidia\n")
    + "    resources: {limits: {nvidia.com/gpu: 1}}\n",
)

RULES = (GPU_COUNT, GPU_REQUEST, GPU_MEMORY_UTILIZATION, RUNTIME_CLASS)
