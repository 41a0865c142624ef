"""What a lab should be: its nodes, the images its stand-ins answer for, the models its registry has.

Pure data. A stack's author asks for what its stack needs; how a lab gets there is elsewhere.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from toolchain.steps import StepFailed

Role = Literal[
    "vllm",
    "ollama",
    "llamacpp",
    "tgi",
    "devicePlugin",
    "gateway",
    "prometheus",
    "prometheusAdapter",
    "dcgmExporter",
    "grafana",
]
"""What an image is in the stack; the lab has one stand-in (or real program) for each."""

MOST_NODES = 4
"""A subnet of eight addresses, without the machine's, the internet's and its two ends."""

_NODE_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_MODEL_NAME = re.compile(r"([A-Za-z0-9_][\w-]*/)?[A-Za-z0-9_][\w.-]*(:[A-Za-z0-9_][\w.-]*)?")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class NodeSpec(_Strict):
    """One node: its GPUs, which are only numbers, and its labels."""

    gpus: Annotated[int, Field(ge=0, le=16)] = 0
    """Number of GPUs."""
    gpu_model: str = "NVIDIA GeForce RTX 4090"
    """Product name as NVIDIA's driver gives it."""
    gpu_memory_mib: Annotated[int, Field(gt=0, alias="gpuMemoryMiB")] = 24564
    """Memory of each GPU in MiB."""
    labels: dict[str, str] = {}
    """Labels of the Node object besides those that the kubelet and k3s set."""


class LabSpec(_Strict):
    """A whole lab; the default has one node without GPUs and nothing but the system's own images."""

    nodes: dict[str, NodeSpec] = {"lab": NodeSpec()}
    """Nodes by name, four at most. The first has the control plane and the edge."""
    images: dict[Role, tuple[str, ...]] = {}
    """Image references as the stack writes them, by role."""
    ollama_models: tuple[str, ...] = ()
    """Models that the stand-in for registry.ollama.ai has, e.g. `qwen3:4b`."""

    @model_validator(mode="after")
    def _number_of_nodes(self) -> Self:
        if not self.nodes:
            raise ValueError("nodes is empty: a cluster needs a node to run pods on; name one")
        if len(self.nodes) > MOST_NODES:
            raise ValueError(f"nodes has {len(self.nodes)}: the lab's subnet has addresses for {MOST_NODES}")
        return self

    @field_validator("nodes")
    @classmethod
    def _node_names(cls, nodes: dict[str, NodeSpec]) -> dict[str, NodeSpec]:
        for name in nodes:
            if not _NODE_NAME.fullmatch(name):
                raise ValueError(f"node name {name!r}: Kubernetes takes lower-case letters, digits, '-' and '.' only")
        return nodes

    @field_validator("ollama_models")
    @classmethod
    def _model_names(cls, models: tuple[str, ...]) -> tuple[str, ...]:
        for model in models:
            if not _MODEL_NAME.fullmatch(model):
                raise ValueError(f"model {model!r}: registry.ollama.ai names are [NAMESPACE/]MODEL[:TAG]")
        return models

    @property
    def first(self) -> str:
        """Name of the node with the control plane and the edge."""
        return next(iter(self.nodes))

    @property
    def workers(self) -> dict[str, int]:
        """Place in the spec, from 1 on, by the names of all other nodes."""
        return {name: index for index, name in enumerate(self.nodes) if index}

    def to_json(self) -> str:
        """The spec as the JSON that `from_file` reads."""
        return self.model_dump_json(by_alias=True, indent=2)

    @classmethod
    def from_file(cls, path: Path) -> LabSpec:
        """Read a spec from a JSON file.

        Raises:
            StepFailed: the file is not there, or is not a lab spec.
        """
        try:
            return cls.model_validate_json(path.read_text())
        except OSError as error:
            raise StepFailed(f"{path} cannot be read ({error.strerror}), so there is no lab to bring up.") from error
        except ValidationError as error:
            problems = "\n".join(f"  {'.'.join(map(str, e['loc'])) or path.name}: {e['msg']}" for e in error.errors())
            raise StepFailed(f"{path} is not a lab spec:\n{problems}") from error
