"""The names under which Ollama and llama-server take GGUF files, and what a name says of a file that has no row."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from planning.catalogue.models import HUB_PREFIX, LanguageModel
from settings.quantization import Quantization

# gpt-oss was published in MXFP4, and nothing has more bits.
_WHOLE = (Quantization.BF16, Quantization.FP16, Quantization.MXFP4)
_CONVERTED = re.compile(r"-(?:i1-)?gguf(?:-imatrix)?$")
_VARIANT = re.compile(r"([^:]+:[^:-]+)(?:-(?:instruct|chat|it|text))?-((?:q|iq)\d\w*|fp16)", re.IGNORECASE)
"""A further tag of a model in Ollama's library, of the same shape: llama3.1:8b-instruct-q8_0."""

GGUF_TYPES = {kind.value.lower(): kind for kind in Quantization if kind.is_gguf} | {
    "fp16": Quantization.F16,
    # In checkpoints for vLLM as in GGUF files, so that its name is not in capitals.
    "mxfp4": Quantization.MXFP4,
}
"""Types of GGUF files by what names say of them, in small letters."""


def gguf_name(name: str) -> str:
    """`name` as the catalogue spells it: what Ollama pulls (`qwen3`, `hf.co/owner/repository:q5_k_m`) and what
    llama-server takes after `-hf` (`owner/repository:Q5_K_M`) are one file under several names.

    Neither looks at the case of a type, and both take Q4_K_M of a repository where none is given.
    """
    path = name.removeprefix("registry.ollama.ai/").removeprefix("library/")
    for prefix in ("https://", "huggingface.co/", HUB_PREFIX):
        path = path.removeprefix(prefix)
    repository, _, tag = path.partition(":")
    if "/" not in repository:
        return f"{repository}:{tag or 'latest'}"
    return f"{HUB_PREFIX}{repository}:{tag.upper() or 'Q4_K_M'}"


def by_repository(models: Mapping[str, LanguageModel]) -> dict[str, LanguageModel]:
    """16-bit checkpoints of `models` by what GGUF repositories of them have in common: who made these differs."""
    return {_common(name): model for name, model in models.items() if model.quantization in _WHOLE}


def derived_gguf(
    spelled: str, *, library: Mapping[str, LanguageModel], originals: Mapping[str, LanguageModel]
) -> LanguageModel | None:
    """A file without a row, of a model that has one: `owner/NAME-GGUF` is a GGUF of NAME, whoever has quantized it,
    and `llama3.1:8b-instruct-q8_0` has the shape of `llama3.1:8b`.

    Args:
        spelled: as `gguf_name` makes it.
        library: models by Ollama's names.
        originals: 16-bit checkpoints, as `by_repository` gives them.

    Returns:
        The model with its size to be derived; None where the name says no model or no type that is known.
    """
    if spelled.startswith(HUB_PREFIX):
        repository, _, tag = spelled.partition(":")
        # What is not named so is most likely a model's own repository, without a GGUF in it.
        original = originals.get(_common(repository)) if "gguf" in repository.lower() else None
    elif variant := _VARIANT.fullmatch(spelled):
        original, tag = library.get(variant.group(1)), variant.group(2)
    else:
        return None
    quantization = GGUF_TYPES.get(tag.lower())
    if original is None or quantization is None:
        return None
    if original.quantization is Quantization.MXFP4:
        quantization = Quantization.MXFP4  # llama-quantize leaves experts in it as they are, whatever it is asked for
    return replace(
        original,
        name=spelled,
        quantization=quantization,
        measured_bytes=None,
        gated=False,
        source=f"{original.name}; size derived",
    )


def _common(repository: str) -> str:
    """Converters write Meta's models with and without 'Meta-', and others with their owner: google_gemma-3-4b-it."""
    name = _CONVERTED.sub("", repository.rpartition("/")[2].lower())
    return name.rpartition("_")[2].removeprefix("meta-")
