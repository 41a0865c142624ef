"""What a plan comes to: one home of what each model takes, for tables, comments and programs alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Literal

from pydantic import Field

from planning.catalogue import gpu_models
from planning.llamacpp import LlamaCppPlan
from planning.memory import MIB
from planning.nodes import NodePlan
from planning.ollama import OllamaPlan
from planning.plan import Plan, ServerPlan
from planning.shared_gpus import fullest_gpu
from planning.tgi import TgiPlan
from planning.vllm import VllmPlan
from report.document import Count, Document, GpuMemoryMiB, gpu_memory

Engine = Literal["vllm", "ollama", "llamacpp", "tgi"]

_ENGINES: dict[type, Engine] = {VllmPlan: "vllm", OllamaPlan: "ollama", LlamaCppPlan: "llamacpp", TgiPlan: "tgi"}


class HostMemoryMiB(Document):
    """Memory of the host, in MiB."""

    request: Count = Field(description="Kept free for it by the scheduler.")
    limit: Count = Field(description="Above it the kernel kills the container.")


class ModelSummary(Document):
    """One model server."""

    engine: Engine = Field(description="What serves it.")
    models: tuple[str, ...] = Field(description="Weights that it loads, by the names that the catalogue uses.")
    served_names: tuple[str, ...] = Field(description="What clients write as `model`.")
    replicas: Count = Field(description="Pods; where the server is autoscaled, the fewest.")
    max_replicas: Count = Field(description="Pods at most; GPUs are kept for so many.")
    nodes: tuple[str, ...] = Field(description="The node of each of maxReplicas pods, so a node may come twice.")
    gpus: Count = Field(description="GPUs, or slices of one, of each pod.")
    gpu_model: str = Field(description="Their model, as the catalogue names it.")
    time_slices: Count = Field(description="Pods that share each of these GPUs; 1 where it is the pod's alone.")
    gpu_card_mib: Count = Field(alias="gpuCardMiB", description="Memory of the whole card, in MiB.")
    gpu_memory_mib: GpuMemoryMiB | None = Field(
        alias="gpuMemoryMiB",
        description="Of each GPU of a pod; for Ollama of its largest model. Null: the model's shape is not known.",
    )
    max_model_len: Count = Field(description="Longest prompt with answer of one request, in tokens.")
    concurrent_full_length_requests: Count | None = Field(
        description="Requests of maxModelLen tokens that a pod works on at once: for which its KV cache has room, and "
        "no more than it takes up (vLLM: maxNumSeqs). Null: the model's shape is not known, or it keeps no cache (an "
        "embedding model)."
    )
    spilled_layers: Count | None = Field(
        description="Layers that stay on the CPU (Ollama, llama.cpp). Null: not known, or an engine that spills none."
    )
    startup_seconds: Count = Field(description="Start of a pod with the model on disk, as expected.")
    startup_budget_seconds: Count = Field(
        description="What its startup probe allows; with the download, where the server itself does it."
    )
    strategy: Literal["Recreate", "RollingUpdate"] = Field(description="The Deployment's.")
    outage_seconds: Count = Field(description="How long nobody answers while a new version takes over.")
    termination_grace_seconds: Count = Field(description="How long a pod may take to end.")
    shm_mib: Count = Field(alias="shmMiB", description="Size of /dev/shm in MiB; 0: the container runtime's own.")
    host_memory_mib: HostMemoryMiB = Field(alias="hostMemoryMiB", description="Of each pod.")


class NodeSummary(Document):
    """One GPU node."""

    gpu_model: str = Field(description="Model of its GPUs.")
    gpus: Count = Field(description="GPUs in the node.")
    time_slices: Count = Field(description="Pods that may share each of them.")
    allocatable: Count = Field(description="What it advertises as nvidia.com/gpu: gpus times timeSlices.")
    taken: Count = Field(description="Of these, taken when every pod is there.")
    free: Count = Field(description="Of these, not taken.")
    gpu_card_mib: Count = Field(alias="gpuCardMiB", description="Memory of each GPU, in MiB.")
    fullest_gpu_mib: Count | None = Field(
        alias="fullestGpuMiB",
        description="Most that is taken of one GPU, in MiB, whichever of the node's pods meet on it, with the CUDA "
        "context of each and what the driver keeps. Null: the shape of one of their models is not known.",
    )
    host_memory_mib: HostMemoryMiB = Field(alias="hostMemoryMiB", description="Of all its model servers together.")
    models: dict[str, Count] = Field(description="Pods on it, by model server.")


class Remark(Document):
    """A problem or a warning."""

    path: str | None = Field(description="Where it is in the stack file; null where it is of the file as a whole.")
    line: Annotated[int, Field(ge=1)] | None = Field(
        description="Line of that path, or of the nearest thing around it that is written; null where there is none."
    )
    message: str = Field(description="Fact, consequence and repair.")


class PlanDocument(Document):
    """What `llmctl plan --json` prints."""

    version: Literal[1] = Field(
        default=1,
        description="Of this form: a key that goes or changes its meaning makes a new one, a new key does not.",
    )
    file: str = Field(description="Name of the stack file.")
    stack: str | None = Field(description="The environment; null where the file is not named `Pulumi.<stack>.yaml`.")
    models: dict[str, ModelSummary] | None = Field(
        description="Model servers by name; null where the file has problems, as there is no plan then."
    )
    nodes: dict[str, NodeSummary] | None = Field(description="GPU nodes by name; null where the file has problems.")
    warnings: tuple[Remark, ...] = Field(description="What may go wrong although the plan can be followed.")
    problems: tuple[Remark, ...] = Field(description="Why there is no plan; every one at once.")


def model_summaries(plan: Plan) -> dict[str, ModelSummary]:
    """Every model server of the plan, in the stack file's order."""
    return {name: _model(server) for name, server in plan.servers.items()}


def node_summaries(plan: Plan) -> dict[str, NodeSummary]:
    """Every node of the plan."""
    return {name: _node(node, plan) for name, node in plan.nodes.items()}


def remark(text: str, line: int | None) -> Remark:
    """`path: fact, consequence, repair` in its parts; what begins otherwise is of the whole file."""
    head, colon, rest = text.partition(": ")
    # A path's first key has no space in it; a sentence about the file does.
    if not colon or " " in head.partition(".")[0] or head.startswith("("):
        return Remark(path=None, line=line, message=text)
    return Remark(path=head, line=line, message=rest)


def weights_of(server: ServerPlan) -> tuple[str, ...]:
    """The models that a server loads, by the names that the catalogue uses."""
    if isinstance(server, OllamaPlan):
        return server.pull
    return (server.model if isinstance(server, LlamaCppPlan | TgiPlan) else server.arguments[0],)


def _model(server: ServerPlan) -> ModelSummary:
    return ModelSummary(
        engine=_ENGINES[type(server)],
        models=weights_of(server),
        served_names=server.served_names,
        replicas=server.replicas,
        max_replicas=len(server.nodes),
        nodes=server.nodes,
        gpus=server.gpus,
        gpu_model=server.gpu_model,
        time_slices=server.time_slices,
        gpu_card_mib=gpu_models()[server.gpu_model].memory_mib,
        gpu_memory_mib=None if server.memory is None else gpu_memory(server.memory),
        max_model_len=server.max_model_len,
        concurrent_full_length_requests=server.concurrent_full_length_requests,
        spilled_layers=_spilled(server),
        startup_seconds=server.startup.expected_seconds,
        startup_budget_seconds=server.startup.budget_seconds,
        strategy=server.rollout.strategy,
        outage_seconds=server.rollout.outage_seconds,
        termination_grace_seconds=server.shutdown.grace_period_seconds,
        shm_mib=_mib(server.shm_bytes),
        host_memory_mib=_host_memory([server]),
    )


def _spilled(server: ServerPlan) -> int | None:
    if isinstance(server, OllamaPlan):
        return max((load.spilled_layers for load in server.loads.values()), default=None)
    if isinstance(server, LlamaCppPlan):
        return None if server.memory is None else server.spilled_layers
    return None


def _host_memory(pods: Iterable[ServerPlan]) -> HostMemoryMiB:
    memory = [pod.host_memory for pod in pods]
    return HostMemoryMiB(
        request=_mib(sum(each.request_bytes for each in memory)), limit=_mib(sum(each.limit_bytes for each in memory))
    )


def _node(node: NodePlan, plan: Plan) -> NodeSummary:
    here = Counter({name: server.nodes.count(node.name) for name, server in plan.servers.items()})
    pods = [plan.servers[name] for name in here.elements()]
    taken = sum(pod.gpus for pod in pods)
    fullest = fullest_gpu(node, plan.servers)
    return NodeSummary(
        gpu_model=node.gpu_model,
        gpus=node.gpus,
        time_slices=node.time_slices,
        allocatable=node.allocatable_gpus,
        taken=taken,
        free=node.allocatable_gpus - taken,
        gpu_card_mib=gpu_models()[node.gpu_model].memory_mib,
        fullest_gpu_mib=None if fullest is None else fullest.mib + fullest.driver_mib,
        host_memory_mib=_host_memory(pods),
        models={name: count for name, count in here.items() if count},
    )


def _mib(size: int) -> int:
    return -(-size // MIB)
