"""How long a server takes to start, and how long it is given."""

from __future__ import annotations

from dataclasses import dataclass

from settings.storage import StorageSettings

_COMPILE_SECONDS = 120
"""torch.compile and CUDA graph capture of vLLM's first start."""

_CAPTURE_SECONDS = 30
"""CUDA graph capture, which every start does anew; what torch.compile made is kept on the volume. An estimate."""

_PROCESS_SECONDS = 20
"""Interpreter, imports and CUDA context."""

_SAFETY = 1.5
_SMALLEST_BUDGET_SECONDS = 300
"""A busy node starts even a small server slowly; a budget costs nothing until it is needed."""

PROBE_PERIOD_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Startup:
    """How long a pod takes to answer, in seconds."""

    expected_seconds: int
    """With the model on disk, and nothing compiled yet."""

    restart_seconds: int
    """With the model on disk and all compiled, as after a change of the stack file."""

    budget_seconds: int
    """What a start is given that downloads the model first."""

    @property
    def probe_failures(self) -> int:
        """Failures at `PROBE_PERIOD_SECONDS` that a startup probe must allow."""
        return -(-self.budget_seconds // PROBE_PERIOD_SECONDS)


def startup(files_bytes: int, storage: StorageSettings, *, downloads: bool, compiles: bool) -> Startup:
    """Times for a model of `files_bytes`.

    Args:
        downloads: the server itself fetches the model at its first start.
        compiles: the server compiles kernels and captures CUDA graphs.
    """
    megabytes = files_bytes / 10**6
    loaded = megabytes / storage.read_megabytes_per_second + _PROCESS_SECONDS
    expected = loaded + (_COMPILE_SECONDS if compiles else 0)
    restart = loaded + (_CAPTURE_SECONDS if compiles else 0)
    download = megabytes / storage.download_megabytes_per_second if downloads else 0
    budget = max(_SMALLEST_BUDGET_SECONDS, round(_SAFETY * (expected + download)))
    return Startup(expected_seconds=round(expected), restart_seconds=round(restart), budget_seconds=budget)
