"""What the servers of all engines have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.base import Size, StrictModel
from settings.labels import LabelKey, LabelValue, TaintText


class GpuServerSettings(StrictModel):
    """A server's part of the GPUs, and what its pods ask of a node."""

    gpus: Annotated[int, Field(ge=1, le=1024)] = Field(default=1, description="GPUs of one replica.")
    gpu_share: Annotated[float, Field(gt=0, le=1)] | None = Field(
        default=None, description="Part of a GPU's memory that is this server's (0 to 1); by default one slice's part."
    )
    gpu_model: str | None = Field(
        default=None,
        min_length=1,
        description="GPU that it must run on, by the catalogue's name, e.g. 'a100-80gb'; by default one that it fits.",
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        default_factory=dict,
        description="Labels that its nodes must have, as nodes.<name>.labels says them; kubernetes.io/hostname is the "
        "node's name.",
    )
    tolerations: list[TaintText] = Field(
        default_factory=list,
        description="Taints of nodes that do not keep it away, e.g. 'dedicated=llm:NoSchedule'; nvidia.com/gpu never "
        "does.",
    )
    cpus: Annotated[float, Field(ge=0.01, le=1024)] = Field(
        default=0.25, description="CPU cores that a pod asks for; it may use more where nobody else wants them."
    )
    memory: Size | None = Field(
        default=None,
        description="Memory of the host that a pod may take, /dev/shm included; by default from model and workers.",
    )
    priority_class: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)] | None = Field(
        default=None, description="PriorityClass of its pods, which must be there; the cluster's default by default."
    )
