"""How vLLM holds an answer to a form."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from settings.base import StrictModel


class StructuredOutputsSettings(StrictModel):
    """Answers in the form of a JSON schema, a grammar or a regular expression (--structured-outputs-config)."""

    # Without lm-format-enforcer, which vLLM 0.35 drops.
    backend: Literal["auto", "xgrammar", "guidance", "outlines"] = Field(
        default="auto", description="Library that does it; by default what the request's form wants."
    )
    disable_any_whitespace: bool = Field(
        default=False, description="JSON without spaces and line breaks (xgrammar and guidance alone)."
    )
    enable_in_reasoning: bool = Field(
        default=False, description="Hold the reasoning to the form too, not only the answer after it."
    )
