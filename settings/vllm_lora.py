"""LoRA adapters that a vLLM server serves beside its model."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from settings.base import StrictModel

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
_CACHED = re.compile(r"/cache(/[\w.-]+)+", re.ASCII)
_LARGEST_RANK = 512
"""The largest --max-lora-rank that vLLM takes."""


def _source(source: str) -> str:
    if _REPOSITORY.fullmatch(source) or (_CACHED.fullmatch(source) and "/../" not in f"{source}/"):
        return source
    raise ValueError(
        f"{source!r} is neither a Hugging Face repository (owner/name) nor a folder on the server's volume "
        "(/cache/...), so vLLM would find no adapter. Write one of them."
    )


def _adapter_name(name: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][\w./:-]{0,95}", name, re.ASCII):
        return name
    raise ValueError(
        f"{name!r} cannot be the name of an adapter: --lora-modules takes name=path, so write letters, digits and "
        "'-', '_', '.', '/' or ':' alone."
    )


AdapterName = Annotated[str, AfterValidator(_adapter_name)]
"""What clients write as `model` to get an adapter."""


class LoraAdapterSettings(StrictModel):
    """One adapter; clients choose it by its name, as they choose a model."""

    source: Annotated[str, AfterValidator(_source)] = Field(
        description="Hugging Face repository, fetched at the start, or a folder on the server's volume, e.g. "
        "'/cache/adapters/legal'."
    )
    rank: Annotated[int, Field(ge=1, le=_LARGEST_RANK)] = Field(
        default=16, description="Rank of its matrices (r in its adapter_config.json)."
    )
