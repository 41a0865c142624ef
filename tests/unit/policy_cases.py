"""For each rule, objects and what it says of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from on_mocks import Raw

DEPLOYMENT, POD, JOB, CRON_JOB = (
    "kubernetes:apps/v1:Deployment",
    "kubernetes:core/v1:Pod",
    "kubernetes:batch/v1:Job",
    "kubernetes:batch/v1:CronJob",
)


def deployment(pod: Raw, **spec: Any) -> Raw:
    return {"metadata": {"name": "chat"}, "spec": {"template": {"spec": pod}, **spec}}


def gpu_server(**spec: Any) -> Raw:
    """A Deployment of one GPU."""
    container = {"name": "vllm", "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    return deployment({"containers": [container]}, **spec)


def rolling(**numbers: Any) -> Raw:
    return {"strategy": {"type": "RollingUpdate", "rollingUpdate": numbers}}


def image(name: str) -> Raw:
    return {"containers": [{"name": "vllm", "image": name}]}


def sharded(*arguments: str, shm: Raw | None = None, memory: str | None = None) -> Raw:
    """A pod whose only container has these arguments, with the emptyDir `shm` at /dev/shm."""
    container: Raw = {"name": "vllm", "args": ["org/model", *arguments]}
    if memory:
        container["resources"] = {"limits": {"memory": memory}}
    if shm is None:
        return {"containers": [container]}
    container["volumeMounts"] = [{"name": "x", "mountPath": "/tmp"}, {"name": "shm", "mountPath": "/dev/shm"}]
    return {"containers": [container], "volumes": [{"name": "x", "emptyDir": {}}, {"name": "shm", "emptyDir": shm}]}


def memory_volume(size: str) -> Raw:
    return {"medium": "Memory", "sizeLimit": size}


def needs_spare_gpu(name: str = "chat") -> str:
    return (
        f"rollout of '{name}' needs a spare GPU and there is none: new pod Pending, old pod kept. Use Recreate, or "
        "maxSurge 0 / maxUnavailable 1."
    )


def mutable(name: str) -> str:
    return f"vllm: image '{name}' is mutable; pin a release tag or @sha256 digest."


def small_shm(size: str, tensor: int, needed: str) -> str:
    return f"vllm: /dev/shm is {size}; TP {tensor} needs >= {needed}. Too small fails later with SIGBUS."


@dataclass(frozen=True, kw_only=True)
class Case:
    """An object, and what a rule says of it: nothing where it is good."""

    id: str
    type: str = DEPLOYMENT
    properties: Raw
    settings: Raw = field(default_factory=dict)
    says: tuple[str, ...] = ()


CASES: dict[str, list[Case]] = {
    "gpu-rollout-deadlock": [
        Case(id="Recreate", properties=gpu_server(strategy={"type": "Recreate"})),
        Case(id="in place", properties=gpu_server(replicas=3.0, **rolling(maxSurge=0.0, maxUnavailable=1.0))),
        Case(id="both 0 is in place", properties=gpu_server(replicas=3.0, **rolling(maxSurge=0.0, maxUnavailable=0.0))),
        Case(id="25% of 4 may go", properties=gpu_server(replicas=4.0)),
        Case(id="no replicas", properties=gpu_server(replicas=0.0)),
        Case(id="no GPU", properties=deployment({"containers": [{"name": "web"}]})),
        Case(id="a GPU is spare", properties=gpu_server(**rolling(maxSurge=1.0)), settings={"spareGpus": 1.0}),
        Case(
            id="a GPU is spare for this one",
            properties=gpu_server(**rolling(maxSurge=1.0)) | {"metadata": {"name": "chat", "namespace": "llm"}},
            settings={"spareGpusByWorkload": {"llm/chat": 1.0}},
        ),
        Case(
            id="a GPU is spare for another one",
            properties=gpu_server(**rolling(maxSurge=1.0)) | {"metadata": {"name": "chat"}},
            settings={"spareGpus": 1.0, "spareGpusByWorkload": {"llm/chat": 1.0, "default/chat": 0.0}},
            says=(needs_spare_gpu(),),
        ),
        Case(id="another kind", type="kubernetes:apps/v1:StatefulSet", properties=gpu_server()),
        Case(id="not Kubernetes'", type="aws:ec2/instance:Instance", properties={"spec": "x"}),
        Case(id="default strategy", properties=gpu_server(), says=(needs_spare_gpu(),)),
        Case(id="25% of 3 is nobody", properties=gpu_server(replicas=3.0), says=(needs_spare_gpu(),)),
        Case(
            id="surge",
            properties=gpu_server(replicas=2.0, **rolling(maxSurge="50%", maxUnavailable=0.0)),
            says=(needs_spare_gpu(),),
        ),
        Case(
            id="one spare for two",
            properties=deployment(
                {"containers": [{"name": n, "resources": {"limits": {"amd.com/gpu": 1.0}}} for n in ("a", "b")]}
            ),
            settings={"spareGpus": 1.0},
            says=(needs_spare_gpu(),),
        ),
        Case(
            id="without a name",
            properties={"spec": gpu_server()["spec"]},
            says=(needs_spare_gpu("(unnamed)"),),
        ),
    ],
    "image-tag-mutable": [
        Case(id="release", properties=deployment(image("docker.io/vllm/vllm-openai:v0.33.0"))),
        Case(id="digest", properties=deployment(image("vllm@sha256:" + "a" * 64))),
        Case(id="moving tag with digest", properties=deployment(image("vllm:latest@sha256:" + "a" * 64))),
        Case(id="registry with a port", properties=deployment(image("localhost:5000/vllm:v1"))),
        Case(id="no pod", type="kubernetes:core/v1:Service", properties={"spec": {"image": "x:latest"}}),
        *(
            Case(id=name, properties=deployment(image(name)), says=(mutable(name),))
            for name in ("vllm", "localhost:5000/vllm", "vllm:latest", "vllm:nightly", "ghcr.io/a/vllm:main")
        ),
        Case(id="Pod", type=POD, properties={"spec": image("vllm")}, says=(mutable("vllm"),)),
        Case(
            id="CronJob",
            type=CRON_JOB,
            properties={"spec": {"jobTemplate": {"spec": {"template": {"spec": image("vllm")}}}}},
            says=(mutable("vllm"),),
        ),
        Case(
            id="init container",
            type=JOB,
            properties=deployment({"initContainers": image("vllm")["containers"], **image("vllm:v1")}),
            says=(mutable("vllm"),),
        ),
    ],
    "shm-too-small": [
        Case(id="one worker", properties=deployment(sharded("--tensor-parallel-size=1"))),
        Case(id="no engine", properties=deployment(sharded())),
        Case(
            id="just enough",
            properties=deployment(sharded("--tensor-parallel-size=2", shm=memory_volume("1536Mi"), memory="8Gi")),
        ),
        Case(id="no bound", properties=deployment(sharded("-tp", "8", shm={"medium": "Memory"}))),
        Case(
            id="default of a container",
            properties=deployment(sharded("--tensor-parallel-size=2")),
            says=(small_shm("64Mi", 2, "1536Mi"),),
        ),
        Case(
            id="not in memory",
            properties=deployment(sharded("--tensor-parallel-size", "2", shm={})),
            says=(small_shm("64Mi", 2, "1536Mi"),),
        ),
        Case(
            id="1Mi short",
            properties=deployment(sharded("--tensor_parallel_size=4", shm=memory_volume("2559Mi"))),
            says=(small_shm("2559Mi", 4, "2560Mi"),),
        ),
        Case(
            id="decimal units are smaller",
            properties=deployment(sharded("-tp=2", shm=memory_volume("1536M"))),
            says=(small_shm("1464Mi", 2, "1536Mi"),),
        ),
        Case(
            id="pipeline counts",
            properties=deployment(sharded("-tp", "2", "-pp", "2", shm=memory_volume("2Gi"))),
            says=(small_shm("2048Mi", 2, "2560Mi"),),
        ),
        Case(
            id="the memory limit is less",
            properties=deployment(sharded("-tp", "2", shm=memory_volume("4Gi"), memory="1Gi")),
            says=(small_shm("1024Mi", 2, "1536Mi"),),
        ),
        Case(
            id="the last option wins",
            properties=deployment(sharded("-tp=1", "--tensor-parallel-size=2")),
            says=(small_shm("64Mi", 2, "1536Mi"),),
        ),
    ],
}
