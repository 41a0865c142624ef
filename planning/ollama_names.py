"""Which model of the catalogue an Ollama name stands for."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from planning.catalogue import LanguageModel, hub_models, language_models
from settings.quantization import Quantization

_HUGGING_FACE = re.compile(r"(?:hf\.co|huggingface\.co)/([^/]+)/([^/:]+)(?::(.+))?", re.IGNORECASE)
_CONVERTED = re.compile(r"(?:-GGUF|-i1-GGUF|-GGUF-imatrix)$", re.IGNORECASE)
# A further tag of a model in Ollama's library, of the same shape: llama3.1:8b-instruct-q8_0.
_VARIANT = re.compile(r"([^:]+:[^:-]+)(?:-(?:instruct|chat|it|text))?-(q\d\w*|iq\d\w*|fp16)", re.IGNORECASE)
_DEFAULT_TYPE = "Q4_K_M"
"""What Hugging Face gives where the name has no tag."""

_TYPES = {kind.value.lower(): kind for kind in Quantization if kind.is_gguf} | {"fp16": Quantization.F16}


def known_model(name: str) -> LanguageModel | None:
    """The model that Ollama calls `name`: of its library, or a GGUF of Hugging Face whose original is known.

    None where the catalogue knows neither, since a tag that moves (`latest`) may be anything.
    """
    if (found := language_models().get(name)) is not None:
        return found
    if hub := _HUGGING_FACE.fullmatch(name):
        _, repository, tag = hub.groups()
        original = _originals().get(_plain(_CONVERTED.sub("", repository)))
        return _as_gguf(name, original, tag or _DEFAULT_TYPE)
    if variant := _VARIANT.fullmatch(name):
        return _as_gguf(name, language_models().get(variant.group(1)), variant.group(2))
    return None


def _as_gguf(name: str, original: LanguageModel | None, kind: str) -> LanguageModel | None:
    quantization = _TYPES.get(kind.lower())
    if original is None or quantization is None:
        return None
    return replace(
        original,
        name=name,
        quantization=quantization,
        measured_bytes=None,
        gated=False,
        source=f"{original.name}, its size derived from {quantization.value}",
    )


@cache
def _originals() -> dict[str, LanguageModel]:
    """16-bit checkpoints by their repository's name without its owner."""
    whole = (Quantization.BF16, Quantization.FP16)
    return {_plain(name): model for name, model in hub_models().items() if model.quantization in whole}


def _plain(repository: str) -> str:
    """Converters write Meta's models with and without 'Meta-', and others with their owner: google_gemma-3-4b-it."""
    name = repository.rpartition("/")[2].lower()
    return name.rpartition("_")[2].removeprefix("meta-")
