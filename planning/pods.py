"""What the pods of every engine have in common: memory of the host, shared memory, the way they end."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 2**30

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


def shutdown(*, drain_seconds: int, pre_stop_seconds: int = _PRE_STOP_SECONDS) -> Shutdown:
    """The end of a pod: `pre_stop_seconds` until no new request comes, `drain_seconds` for those in flight."""
    return Shutdown(pre_stop_seconds=pre_stop_seconds, drain_seconds=drain_seconds)


def shm_bytes(workers: int) -> int:
    """Size of /dev/shm for `workers` = TP x PP processes: the larger of 2Gi and 1Gi a worker.

    The default of a container is 64 MB; too little fails late, with SIGBUS (serving-on-kubernetes.md).
    """
    return max(2, workers) * GIB


def host_memory(*, workers: int, files_bytes: int, shm: int) -> HostMemory:
    """Memory of a server's container.

    Args:
        workers: processes that hold a CUDA context, each with about 1 GiB of host memory.
        files_bytes: weights; their pages are mapped while they load and count until they are dropped.
        shm: size of /dev/shm in bytes; its pages count against the limit.
    """
    request = (2 + workers) * GIB
    return HostMemory(request_bytes=request, limit_bytes=request + shm + min(files_bytes, 32 * GIB))
