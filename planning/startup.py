"""How long a server takes to start, and how long it is given."""

from __future__ import annotations

from dataclasses import dataclass

from settings.storage import StorageSettings

_COMPILE_SECONDS = 120
"""torch.compile and CUDA graph capture of vLLM's first start."""

_PROCESS_SECONDS = 20
"""Interpreter, imports and CUDA context."""

_SAFETY = 1.5
_SMALLEST_BUDGET_SECONDS = 300
"""A busy node starts even a small server slowly; a budget costs nothing until it is needed."""

PROBE_PERIOD_SECONDS = 5


@dataclass(frozen=True, kw_only=True)
class Startup:
    """Seconds of a start with the model on disk, and the budget of one that downloads it first."""

    expected_seconds: int
    budget_seconds: int

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
    expected = megabytes / storage.read_megabytes_per_second + _PROCESS_SECONDS + (_COMPILE_SECONDS if compiles else 0)
    download = megabytes / storage.download_megabytes_per_second if downloads else 0
    budget = max(_SMALLEST_BUDGET_SECONDS, round(_SAFETY * (expected + download)))
    return Startup(expected_seconds=round(expected), budget_seconds=budget)
