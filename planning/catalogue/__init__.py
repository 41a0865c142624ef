"""What is known of GPUs and models: data files beside this one, read once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FOLDER = Path(__file__).parent


@dataclass(frozen=True, kw_only=True)
class GpuModel:
    """One model of GPU. `memory_mib` is what its driver reports as total."""

    memory_mib: int


@dataclass(frozen=True, kw_only=True)
class LanguageModel:
    """One model as it is published. `files_bytes` is the size of its weights on disk."""

    files_bytes: int
    layers: int
    kv_heads: int
    head_dim: int
    context_tokens: int
    gated: bool
    """Whether Hugging Face gives it only to whom its owner has let in, by their token."""


@cache
def gpu_models() -> dict[str, GpuModel]:
    """GPU models by the name that stack files use."""
    return {name: GpuModel(memory_mib=row["memoryMiB"]) for name, row in _rows("gpus.yaml").items()}


@cache
def language_models() -> dict[str, LanguageModel]:
    """Models by Hugging Face repository or Ollama name."""
    return {
        name: LanguageModel(
            files_bytes=round(row["filesGB"] * 10**9),
            layers=row["layers"],
            kv_heads=row["kvHeads"],
            head_dim=row["headDim"],
            context_tokens=row["context"],
            gated=row.get("gated", False),
        )
        for name, row in _rows("models.yaml").items()
    }


def _rows(file: str) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = yaml.safe_load((_FOLDER / file).read_text())
    return rows
