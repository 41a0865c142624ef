"""Rules about /dev/shm, over which the workers of one engine talk."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from llm_policies.pods import Container
from llm_policies.rule import Context, Rule

_MIB = 2**20
_CONTAINER_DEFAULT = Fraction(64 * _MIB)


def needed_bytes(workers: int) -> int:
    """Shared memory for `workers` = TP x PP: vLLM's own queues and NCCL (512Mi, and 512Mi for each)."""
    return (512 + 512 * workers) * _MIB


def _too_small(container: Container, _: Context) -> Iterator[str]:
    if container.workers > 1 and (size := _shm_bytes(container)) < needed_bytes(container.workers):
        yield (
            f"{container.name}: /dev/shm is {_mebibytes(size)}; TP {container.tensor_parallel} needs >= "
            f"{_mebibytes(needed_bytes(container.workers))}. Too small fails later with SIGBUS."
        )


def _shm_bytes(container: Container) -> Fraction:
    """What /dev/shm can hold: its volume's limit, and never more than the memory limits of the pod together."""
    volume = container.pod.mounted_at(container, "/dev/shm")
    if volume is None or volume.get("emptyDir", "medium").text() != "Memory":
        return _CONTAINER_DEFAULT
    size = volume.get("emptyDir", "sizeLimit").quantity()
    bounds = [size] if size else []
    limits = [other.limit("memory") for other in container.pod.main_containers]
    if all(limit is not None for limit in limits):
        bounds.append(sum((limit for limit in limits if limit is not None), Fraction(0)))
    # Without any bound it grows until the node is out of memory: another rule's subject.
    return min(bounds, default=Fraction(2**63))


def _mebibytes(size: Fraction | int) -> str:
    return f"{int(size) // _MIB}Mi"


SHM_TOO_SMALL = Rule(
    name="shm-too-small",
    title="/dev/shm has room for the workers of tensor and pipeline parallelism.",
    description=(
        "A container gets 64 MB of it. Pages are allocated lazily, so the server starts, and is killed by SIGBUS under "
        "load."
    ),
    remediation=(
        "Mount an emptyDir of medium Memory at /dev/shm with a sizeLimit of 512Mi + 512Mi x (TP x PP) or more, and a "
        "memory limit that holds it."
    ),
    severity="error",
    references=("llm-d#352", "vLLM shm_broadcast.py", "vllm#1710"),
    of_container=_too_small,
    bad="""\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
    args: [org/model, --tensor-parallel-size=2]
""",
    good="""\
apiVersion: v1
kind: Pod
metadata: {name: chat}
spec:
  containers:
  - name: vllm
    image: vllm/vllm-openai:v0.33.0
    args: [org/model, --tensor-parallel-size=2]
    resources: {limits: {memory: 16Gi}}
    volumeMounts: [{name: shm, mountPath: /dev/shm}]
  volumes:
  - {name: shm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}
""",
)

RULES = (SHM_TOO_SMALL,)
