"""What the servers of all engines have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.base import StrictModel


class GpuServerSettings(StrictModel):
    """A server's part of the GPUs."""

    gpus: Annotated[int, Field(ge=1, le=1024)] = Field(default=1, description="GPUs of one replica.")
    gpu_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Part of a GPU's memory that is this server's (0 to 1); by default one slice's part."
    )
