"""What is known of GPUs and models: data files beside this one, read once.

Each row says where its figures were read. What is not known is not guessed: a row is missing instead, and
`llmctl catalogue add` reads the facts of a model from its own files.
"""

from __future__ import annotations

from functools import cache

from planning.catalogue.gguf_names import by_repository, derived_gguf, gguf_name
from planning.catalogue.gpus import DRIVER_MIB, GpuModel
from planning.catalogue.models import HUB_PREFIX, LanguageModel, Use, declared_model
from planning.catalogue.reading import Base, CatalogueError, read_bases, read_gpus, read_models
from settings.architecture import (
    Architecture,
    Experts,
    GlobalAttention,
    LatentAttention,
    LinearAttention,
    SlidingWindow,
)
from settings.quantization import Quantization

__all__ = [
    "DRIVER_MIB",
    "Architecture",
    "Base",
    "CatalogueError",
    "Experts",
    "GlobalAttention",
    "GpuModel",
    "LanguageModel",
    "LatentAttention",
    "LinearAttention",
    "Quantization",
    "SlidingWindow",
    "Use",
    "architectures",
    "declared_model",
    "gguf_model",
    "gpu_models",
    "hub_models",
    "language_models",
]


@cache
def gpu_models() -> dict[str, GpuModel]:
    """GPU models by the name that stack files use."""
    return read_gpus()


@cache
def architectures() -> dict[str, Base]:
    """Architectures by the name that checkpoints refer to, with what their checkpoints have in common."""
    return read_bases()


@cache
def language_models() -> dict[str, LanguageModel]:
    """Models by Hugging Face repository, Ollama name, or GGUF file at Hugging Face (`hf.co/owner/name:type`)."""
    return read_models(architectures())


def gguf_model(name: str) -> LanguageModel | None:
    """The GGUF file that Ollama or llama-server means by `name`: of its row, or of its model's with a derived size.

    None where neither is known.
    """
    spelled = gguf_name(name)
    return language_models().get(spelled) or derived_gguf(spelled, library=language_models(), originals=_originals())


@cache
def _originals() -> dict[str, LanguageModel]:
    return by_repository(hub_models())


@cache
def hub_models() -> dict[str, LanguageModel]:
    """Models by Hugging Face repository (`owner/name`): what vLLM can serve."""
    return {name: model for name, model in language_models().items() if "/" in name and not name.startswith(HUB_PREFIX)}
