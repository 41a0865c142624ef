"""Rules about /dev/shm, over which the workers of one engine talk, and other volumes in memory."""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from llm_policies.containers import Container
from llm_policies.examples import POD
from llm_policies.gpus import is_of_several_nodes
from llm_policies.objects import Object
from llm_policies.pods import Pod
from llm_policies.rule import Context, Edit, Rule, Said
from llm_policies.values import Value, each

_MIB = 2**20
_GIB = 2**30
_CONTAINER_DEFAULT = Fraction(64 * _MIB)
_PATH = "/dev/shm"

_MESH_PROXY = re.compile("(istio|linkerd)-.*")
"""Containers of service meshes, whose own injected volumes in memory hold a certificate or a socket."""


def needed_bytes(workers: int) -> int:
    """Shared memory for `workers` = TP x PP: vLLM's own queues and NCCL (512Mi, and 512Mi for each)."""
    return (512 + 512 * workers) * _MIB


def _workers(container: Container) -> int:
    """Workers that share this container's /dev/shm: of an engine over several nodes, no more than it has GPUs."""
    workers, gpus = container.workers, container.gpus
    return min(workers, gpus) if gpus and is_of_several_nodes(container) else workers


def _memory_volume(pod: Pod, container: Container) -> Value | None:
    """The volume at /dev/shm, if it is one in memory."""
    volume = pod.mounted_at(container, _PATH)
    if volume is None or volume.get("emptyDir", "medium").text() != "Memory":
        return None
    return volume


def _size_limit(volume: Value) -> Fraction | None:
    """What an emptyDir may hold; a 0 is none to the kubelet."""
    return volume.get("emptyDir", "sizeLimit").quantity(least=0) or None


def _is_the_nodes(pod: Pod, container: Container) -> bool:
    """Whether its /dev/shm is the node's: what that holds is not to be seen here, and other rules tell of it."""
    volume = pod.mounted_at(container, _PATH)
    if volume is None:
        return pod.spec.get("hostIPC").boolean() is True
    return volume.get("hostPath").exists


def _memory_limit(pod: Pod) -> Fraction | None:
    """Memory limits of the pod together; None where a container has none, nor the pod itself."""
    if whole := pod.spec.get("resources", "limits", "memory").quantity():
        return whole
    # A limit of 0 is none.
    limits = [limit for other in pod.main_containers if (limit := other.limit("memory"))]
    return sum(limits, Fraction()) if len(limits) == len(pod.main_containers) else None


def _shm_bytes(pod: Pod, container: Container) -> Fraction | None:
    """What /dev/shm can hold: its volume's limit, and never more than the memory limits of the pod together.

    None where nothing limits it, so that it grows until the node is full: shm-unbounded's subject.
    """
    volume = _memory_volume(pod, container)
    if volume is None:
        return _CONTAINER_DEFAULT
    return min((bound for bound in (_size_limit(volume), _memory_limit(pod)) if bound), default=None)


def _too_little(container: Container) -> Fraction | None:
    """What its /dev/shm can hold, where that is too little for its workers; None where it is enough."""
    pod, workers = container.pod, _workers(container)
    if workers == 1 or _is_the_nodes(pod, container):
        return None
    held = _shm_bytes(pod, container)
    return held if held is not None and held < needed_bytes(workers) else None


def _too_small(container: Container, _: Context) -> Iterator[str]:
    if (size := _too_little(container)) is None:
        return
    pod, least = container.pod, needed_bytes(_workers(container))
    limit, needed = _memory_limit(pod), mebibytes(least)
    is_on_disk = pod.mounted_at(container, _PATH) is not None and _memory_volume(pod, container) is None
    held = "a volume that is not in memory" if is_on_disk else mebibytes(size)
    stages = f" x PP {container.pipeline_parallel}" if container.pipeline_parallel > 1 else ""
    grow = " and a memory limit above" if limit is not None and limit < least else ""
    yield (
        f"{container.name}: /dev/shm is {held}; TP {container.tensor_parallel}{stages} needs >= {needed}. Too small "
        f"fails later with SIGBUS. Mount an emptyDir of medium Memory with a sizeLimit of {needed}{grow} at /dev/shm."
    )


def mebibytes(size: Fraction | int) -> str:
    """`size` in bytes as a quantity, rounded down to whole Mi."""
    return f"{int(size) // _MIB}Mi"


def _own_bytes(container: Container) -> int:
    """Host memory of an engine besides: the process's, and about 1 GiB for each worker's GPU context."""
    return (2 + _workers(container)) * _GIB if container.engine in ("vllm", "sglang", "tgi") else 0


def _own_limit(container: Container) -> Fraction | None:
    """The memory that the kernel lets it have; None for any."""
    own, whole = container.limit("memory"), container.pod.spec.get("resources", "limits", "memory").quantity()
    return min((limit for limit in (own, whole) if limit), default=None)  # a limit of 0 is none


def _has_headroom(container: Container, size: Fraction | int) -> bool:
    """Whether its memory limit holds `size` of a volume in memory, all of it used, and the engine itself."""
    limit = _own_limit(container)
    return limit is None or limit >= size + _own_bytes(container)


def _make_room(item: Object, _: Context) -> Iterator[Edit]:
    names: dict[tuple[str | int, ...], list[str | None]] = {}
    for path, container in item.containers_with_paths():
        needed = needed_bytes(_workers(container))
        if _too_little(container) is None or not _has_headroom(container, needed):
            continue
        source = {"medium": "Memory", "sizeLimit": mebibytes(needed)}
        volumes = container.pod.spec.get("volumes").items()
        volume = container.pod.mounted_at(container, _PATH)
        spec = path[:-2]
        if volume is None:
            there = names.setdefault(spec, [other.get("name").text() for other in volumes])
            name = next(n for n in ("shm", *(f"shm-{number}" for number, _ in enumerate(there, 2))) if n not in there)
            yield Edit((*spec, "volumes", len(there)), {"name": name, "emptyDir": source})
            there.append(name)
            mounts = container.value.get("volumeMounts").items()
            yield Edit((*path, "volumeMounts", len(mounts)), {"name": name, "mountPath": _PATH})
        elif volume.get("emptyDir").exists:
            index = [other.path for other in volumes].index(volume.path)
            yield from (Edit((*spec, "volumes", index, "emptyDir", key), value) for key, value in source.items())


def _users(pod: Pod, volume: Value) -> list[Container]:
    """Containers that mount it, without those of service meshes."""
    name = volume.get("name").text()
    return [
        container
        for container in pod.containers
        if not _MESH_PROXY.fullmatch(container.own_name)
        and any(mount.get("name").text() == name for mount in container.value.get("volumeMounts").items())
    ]


def _unbounded(pod: Pod, _: Context) -> Iterator[Said]:
    def judge(volume: Value) -> Iterator[Said]:
        if volume.get("emptyDir", "medium").text() != "Memory" or not (users := _users(pod, volume)):
            return
        name, size = volume.get("name").text(), _size_limit(volume)
        if size is None:
            yield (
                f"volume '{name}' is in memory and has no sizeLimit: tmpfs pages count against the memory limit, so "
                "what grows there ends the server, or its node's neighbours. Add a sizeLimit, and headroom for it."
            )
            return
        for container in users:
            limit = _own_limit(container)
            own = _own_bytes(container)
            if limit is not None and limit < size + own:
                besides = f" + {mebibytes(own)} of the engine's own" if own else ""
                yield (
                    f"{container.name}: memory limit {mebibytes(limit)} < {mebibytes(size)} of volume '{name}'"
                    f"{besides}: tmpfs pages count against the memory limit, so a full volume ends the server. Raise "
                    f"the limit to {mebibytes(size + own)} or more."
                )

    yield from each(pod.spec.get("volumes").items(), judge)


def _bound(item: Object, _: Context) -> Iterator[Edit]:
    for number, path in enumerate(item.pod_paths):
        pod = item.pods[number]
        for index, volume in enumerate(pod.spec.get("volumes").items()):
            if volume.get("emptyDir", "medium").text() != "Memory" or _size_limit(volume) is not None:
                continue
            fitting = [_fitting(container) for container in _users(pod, volume) if _own_bytes(container)]
            if sizes := [size for size in fitting if size is not None]:
                yield Edit((*path, "spec", "volumes", index, "emptyDir", "sizeLimit"), mebibytes(min(sizes)))


def _fitting(container: Container) -> Fraction | None:
    """What its /dev/shm may hold, 2Gi or 1Gi for each worker where the memory limit allows it; None for too little."""
    workers, limit = _workers(container), _own_limit(container)
    usual = Fraction(max(2, workers) * _GIB)
    size = usual if limit is None else min(usual, limit - _own_bytes(container))
    return size if size >= needed_bytes(workers) else None


_PARALLEL = POD + "    args: [org/model, --tensor-parallel-size=2]\n"
_MOUNTED = """\
    resources: {limits: {memory: 16Gi}}
    volumeMounts: [{name: shm, mountPath: /dev/shm}]
  volumes:
"""

SHM_TOO_SMALL = Rule(
    name="shm-too-small",
    title="/dev/shm has room for the workers of tensor and pipeline parallelism.",
    description=(
        "A container gets 64 MB of it. Pages are allocated lazily, so the server starts, and is killed by SIGBUS under "
        "load. vLLM's queues take 640, 1120 and 2080 MiB for 2, 4 and 8 workers, and NCCL has its own."
    ),
    remediation=(
        "Mount an emptyDir of medium Memory at /dev/shm with a sizeLimit of 512Mi + 512Mi x (TP x PP) or more, and a "
        "memory limit that holds it."
    ),
    severity="error",
    references=("llm-d#352", "vLLM shm_broadcast.py", "vllm#1710"),
    of_container=_too_small,
    remediate=_make_room,
    bad=_PARALLEL,
    good=_PARALLEL + _MOUNTED + "  - {name: shm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}\n",
)

SHM_UNBOUNDED = Rule(
    name="shm-unbounded",
    title="A volume in memory has a limit, and the container's memory holds it.",
    description=(
        "An emptyDir of medium Memory is the memory of whoever writes to it: its pages count against the memory limit "
        "until they are deleted, and without a sizeLimit it grows until the kernel ends the server. The limit has to "
        "hold the volume and the engine itself, 2 GiB and 1 GiB for each worker. What a killed worker leaves in "
        "/dev/shm stays while the pod lives; a command that clears it before it starts the engine makes room again. "
        "Volumes that a service mesh injects for its own proxy are not looked at."
    ),
    remediation="Add a sizeLimit, and raise the memory limit by as much.",
    severity="warn",
    references=("llm-d#364", "KubeAI (a remark that a limit is to be set)", "Kubernetes: emptyDir of medium Memory"),
    of_pod=_unbounded,
    remediate=_bound,
    bad=_PARALLEL + _MOUNTED + "  - {name: shm, emptyDir: {medium: Memory}}\n",
    good=_PARALLEL + _MOUNTED + "  - {name: shm, emptyDir: {medium: Memory, sizeLimit: 2Gi}}\n",
)

RULES = (SHM_TOO_SMALL, SHM_UNBOUNDED)
