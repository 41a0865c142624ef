"""What the documents for programs have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from planning.memory import GpuMemory


class Document(BaseModel):
    """Base of all of them: camelCase, and every key always there."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        json_schema_serialization_defaults_required=True,
    )


Count = Annotated[int, Field(ge=0)]


class GpuMemoryMiB(Document):
    """Memory of one GPU, in MiB, as one pod takes it."""

    weights: Count = Field(description="Weights of the model.")
    kv_cache: Count = Field(description="Keys and values; under vLLM all that its limit leaves.")
    other: Count = Field(description="CUDA context, activations, CUDA graphs, buffers, adapters, draft model.")
    total: Count = Field(description="Weights, KV cache and other together.")
    limit: Count = Field(description="What the pod may take of the card.")


def gpu_memory(memory: GpuMemory) -> GpuMemoryMiB:
    """What the planner says of one GPU."""
    return GpuMemoryMiB(
        weights=memory.weights_mib,
        kv_cache=memory.kv_cache_mib,
        other=memory.other_mib,
        total=memory.total_mib,
        limit=memory.limit_mib,
    )
