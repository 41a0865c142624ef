"""Models as memory sees them: an architecture of the catalogue in any quantization, and small made-up ones."""

from __future__ import annotations

from planning.catalogue import LanguageModel, Quantization, architectures


def model_of(architecture: str, quantization: str = "bf16", measured_bytes: int | None = None) -> LanguageModel:
    """`architecture` of the catalogue in `quantization`."""
    base = architectures()[architecture]
    return LanguageModel(
        name=f"{architecture}-{quantization}",
        base=architecture,
        architecture=base.shape,
        quantization=Quantization(quantization),
        measured_bytes=measured_bytes,
        gated=False,
        licence=base.licence,
        languages=(),
        uses=("chat",),
        source="a test",
    )
