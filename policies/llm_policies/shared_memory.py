"""Rules about /dev/shm, over which the workers of one engine talk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from typing import Any

from llm_policies.manifest import containers, option, pod_spec, quantity
from llm_policies.rule import Properties, Rule

_MIB = 2**20
_CONTAINER_DEFAULT = Fraction(64 * _MIB)


def needed_bytes(workers: int) -> int:
    """Shared memory for `workers` = TP x PP: vLLM's own queues and NCCL (512Mi, and 512Mi for each)."""
    return (512 + 512 * workers) * _MIB


def _too_small(resource_type: str, properties: Properties, _: Properties) -> Iterator[str]:
    spec = pod_spec(resource_type, properties) or {}
    for container in containers(spec):
        tensor = _workers(container, "--tensor-parallel-size", "-tp")
        workers = tensor * _workers(container, "--pipeline-parallel-size", "-pp")
        size = _shm_bytes(spec, container)
        if workers > 1 and size < needed_bytes(workers):
            yield (
                f"{container.get('name')}: /dev/shm is {_mebibytes(size)}; TP {tensor} needs >= "
                f"{_mebibytes(needed_bytes(workers))}. Too small fails later with SIGBUS."
            )


def _workers(container: Mapping[str, Any], *names: str) -> int:
    value = option(container, *names)
    return int(value) if value and value.isdecimal() else 1


def _shm_bytes(spec: Mapping[str, Any], container: Mapping[str, Any]) -> Fraction:
    """What /dev/shm can hold: its volume's limit, and never more than the memory limits of the pod together."""
    mounted = [m.get("name") for m in container.get("volumeMounts") or () if m.get("mountPath") == "/dev/shm"]
    volume: Mapping[str, Any] = next((v for v in spec.get("volumes") or () if v.get("name") in mounted), {})
    directory = volume.get("emptyDir") or {}
    if directory.get("medium") != "Memory":
        return _CONTAINER_DEFAULT
    limits = [(c.get("resources") or {}).get("limits") or {} for c in spec.get("containers") or ()]
    bounds = [quantity(directory["sizeLimit"])] if directory.get("sizeLimit") else []
    if all("memory" in limit for limit in limits):
        bounds.append(sum((quantity(limit["memory"]) for limit in limits), Fraction(0)))
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
    check=_too_small,
)
