"""Everything that one stack file says."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.base import Name, ServiceName, StrictModel
from settings.ingress import IngressSettings
from settings.llamacpp import LlamaCppSettings
from settings.monitoring import MonitoringSettings
from settings.node import NodeSettings
from settings.ollama import OllamaSettings
from settings.secret import SecretText
from settings.security import SecuritySettings
from settings.storage import StorageSettings
from settings.tgi import TgiSettings
from settings.tracing import TracingSettings
from settings.vllm import VllmSettings

ModelSettings = Annotated[VllmSettings | OllamaSettings | LlamaCppSettings | TgiSettings, Field(discriminator="engine")]

ENGINES = ("vllm", "ollama", "llamacpp", "tgi")
"""What `engine` may be."""


class Settings(StrictModel):
    """One environment: its nodes, the models that run on them and the way in."""

    namespace: Name = Field(default="llm", description="Namespace of the model servers.")
    nodes: Annotated[dict[Name, NodeSettings], Field(min_length=1)] = Field(
        description="GPU nodes, keyed by their Kubernetes name."
    )
    models: Annotated[dict[ServiceName, ModelSettings], Field(min_length=1)] = Field(
        description="Model servers, keyed by the name of their Service."
    )
    ingress: IngressSettings | None = Field(
        default=None, description="The way in from outside the cluster; closed by default."
    )
    hugging_face_token: SecretText | None = Field(
        default=None,
        description=(
            "Token for models that Hugging Face hands out only to who has agreed to their terms; set with `pulumi "
            "config set --secret huggingFaceToken`."
        ),
    )
    storage: StorageSettings = Field(
        default_factory=StorageSettings, description="How fast models come to a node and into memory."
    )
    security: SecuritySettings = Field(
        default_factory=SecuritySettings, description="What is opened or moved beyond the defaults."
    )
    monitoring: MonitoringSettings | None = Field(
        default=None, description="Metrics, alerts and dashboards; off by default. Autoscaled models need it."
    )
    tracing: TracingSettings | None = Field(
        default=None, description="Traces of requests, sent to a collector that is there already; off by default."
    )
