"""Nodes with GPUs: what they are and how their GPUs are shared."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from settings.base import StrictModel


class GpuSettings(StrictModel):
    """The GPUs of one node; all of one model."""

    model: str = Field(min_length=1, description="GPU model as the catalogue names it, e.g. 'rtx-4090'.")
    count: Annotated[int, Field(ge=1, le=16)] = Field(default=1, description="GPUs in the node.")
    time_slices: Annotated[int, Field(ge=1, le=32)] = Field(
        default=1,
        description="Pods that may share one GPU by time-slicing; there is no memory isolation between them.",
    )


class NodeSettings(StrictModel):
    """One node of the cluster, keyed by its Kubernetes name."""

    platform: Literal["native", "wsl2"] = Field(
        default="native", description="How the node sees its GPUs: through Linux's own driver, or WSL2's."
    )
    gpus: GpuSettings = Field(description="The node's GPUs.")
    labels: dict[str, str] = Field(
        default_factory=dict, description="Labels that the node gets besides those that the program needs."
    )
