"""One model as it is published: a checkpoint of an architecture, in one quantization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from settings.architecture import Architecture, ModelFacts
from settings.quantization import Quantization

HUB_PREFIX = "hf.co/"
"""Before the names of GGUF files at Hugging Face, as Ollama takes them: `hf.co/<owner>/<repository>:<type>`."""

Use = Literal["chat", "code", "reasoning", "vision", "embedding"]
"""What a model was made for."""


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """One checkpoint, by the name that stack files use: a Hugging Face repository, a model of Ollama's library, or a
    GGUF file at Hugging Face.
    """

    name: str
    base: str = ""
    """Its row in architectures.yaml, which all checkpoints of one shape have; empty for a stack file's own."""

    architecture: Architecture
    quantization: Quantization
    measured_bytes: int | None
    """Size of the weight files where it was read from their page; None where it was not."""

    gated: bool
    """Whether Hugging Face gives it only to whom its owner has let in, by their token."""

    licence: str
    """SPDX id, or the licence's own name where it has none."""

    languages: tuple[str, ...]
    """ISO 639-1 codes of the languages that its card names, and of those alone that it says it knows without naming
    them ("140 languages") the most asked for: complete for ko, ja, zh, en, de, fr and es."""

    uses: tuple[Use, ...]
    source: str
    """Where the figures of the checkpoint were read."""

    @property
    def files_bytes(self) -> int:
        """Size of the weight files on disk: measured, else derived from parameters and bits."""
        return self.derived_bytes if self.measured_bytes is None else self.measured_bytes

    @property
    def derived_bytes(self) -> int:
        """Size that follows from parameters and bits: a few per cent off for checkpoints with mixed types."""
        shape, bits = self.architecture, self.quantization.bits_per_weight
        kept = shape.other_parameters + (shape.embedding_parameters if self.quantization.keeps_embeddings else 0)
        return round((kept * 16 + (shape.parameters - kept) * bits) / 8)

    @property
    def is_embedding(self) -> bool:
        """Whether it turns text into vectors rather than into text."""
        return "embedding" in self.uses


def declared_model(name: str, facts: ModelFacts) -> LanguageModel:
    """A model as the stack file itself describes it; of licence and languages nothing is known."""
    shape = Architecture(**{field: getattr(facts, field) for field in Architecture.model_fields})
    return LanguageModel(
        name=name,
        architecture=shape,
        quantization=facts.quantization,
        measured_bytes=None if facts.files_gb is None else round(facts.files_gb * 10**9),
        gated=False,
        licence="unknown",
        languages=(),
        uses=("embedding",) if shape.layers_without_kv_cache == shape.layers else ("chat",),
        source="the stack file",
    )
