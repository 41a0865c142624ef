"""What the pods of every engine have in common: memory of the host, shared memory, where they may run, how they end."""

from __future__ import annotations

from dataclasses import dataclass, field

from settings.labels import Taint, parse_taint
from settings.security import SecuritySettings
from settings.server import GpuServerSettings

GIB = 2**30

Toleration = Taint
"""A taint that does not keep a pod away: just that one, by key, value and effect."""

_PRE_STOP_SECONDS = 5
"""Until every proxy has dropped the endpoint; then no new request comes while the engine drains."""

_GRACE_MARGIN_SECONDS = 15


@dataclass(frozen=True, kw_only=True)
class Shutdown:
    """How a pod ends: endpoints go first, then requests in flight, then the process. All in seconds."""

    pre_stop_seconds: int
    drain_seconds: int

    @property
    def grace_period_seconds(self) -> int:
        """`terminationGracePeriodSeconds` that covers both, with a margin for the process itself."""
        return self.pre_stop_seconds + self.drain_seconds + _GRACE_MARGIN_SECONDS


@dataclass(frozen=True, kw_only=True)
class HostMemory:
    """Memory of the host, in bytes, that a container asks for and may not exceed."""

    request_bytes: int
    limit_bytes: int

    filled_bytes: int = 0
    """Of what the limit has beyond the request: what processes fill in the long run, and the kernel cannot drop."""


@dataclass(frozen=True, kw_only=True)
class Scheduling:
    """What pods of a server have around them: nodes, besides the GPU that was counted with; CPU; registry; clients."""

    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels that the node must have."""

    tolerations: tuple[Toleration, ...] = ()
    """Taints of others that do not keep them away."""

    cpu_millicores: int = 250
    """CPU that a pod asks for, in thousandths of a core; it may take what nobody else wants."""

    priority_class: str | None = None
    """None for the cluster's default."""

    image_pull_secrets: tuple[str, ...] = ()
    """Secrets with logins to registries."""

    client_namespaces: tuple[str, ...] = ()
    """Namespaces from which it may be reached past the edge."""


ANYWHERE = Scheduling()
"""What a server is planned with until its settings are looked at."""


def scheduling(settings: GpuServerSettings, site: SecuritySettings) -> Scheduling:
    """What a server's settings, and those of the site, say of it."""
    return Scheduling(
        node_selector=dict(sorted(settings.node_selector.items())),
        tolerations=tuple(parse_taint(text) for text in settings.tolerations),
        cpu_millicores=round(settings.cpus * 1000),
        priority_class=settings.priority_class,
        image_pull_secrets=tuple(site.image_pull_secrets),
        client_namespaces=tuple(site.client_namespaces),
    )


def shutdown(*, drain_seconds: int, pre_stop_seconds: int = _PRE_STOP_SECONDS) -> Shutdown:
    """The end of a pod: `pre_stop_seconds` until no new request comes, `drain_seconds` for those in flight."""
    return Shutdown(pre_stop_seconds=pre_stop_seconds, drain_seconds=drain_seconds)


def shm_bytes(workers: int) -> int:
    """Size of /dev/shm for `workers` = TP x PP processes: the larger of 2Gi and 1Gi a worker.

    The default of a container is 64 MB; too little fails late, with SIGBUS (serving-on-kubernetes.md).
    """
    return max(2, workers) * GIB


def least_shm_bytes(workers: int) -> int:
    """The least /dev/shm with which `workers` = TP x PP processes of vLLM do not die of SIGBUS; 0 for one.

    512Mi, and 512Mi each: vLLM's own queues take 640, 1120, 2080 MiB for 2, 4, 8 of them, and NCCL wants its part
    (serving-on-kubernetes.md).
    """
    return (1 + workers) * GIB // 2 if workers > 1 else 0


def host_memory(*, workers: int, files_bytes: int, shm: int) -> HostMemory:
    """Memory of a server's container.

    Args:
        workers: processes that hold a CUDA context, each with about 1 GiB of host memory.
        files_bytes: weights; their pages are mapped while they load and count until they are dropped.
        shm: size of /dev/shm in bytes; its pages count against the limit.
    """
    request = (2 + workers) * GIB
    return HostMemory(request_bytes=request, limit_bytes=request + shm + min(files_bytes, 32 * GIB))
