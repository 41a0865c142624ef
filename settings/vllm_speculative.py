"""Speculative decoding: something fast guesses tokens, and the model checks several at once."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from settings.base import StrictModel

SpeculativeMethod = Literal["ngram", "draft_model", "eagle", "eagle3", "mtp"]

_WITH_MODEL = ("draft_model", "eagle", "eagle3")


class SpeculativeSettings(StrictModel):
    """Who guesses, and how far (--speculative-config)."""

    method: SpeculativeMethod = Field(
        description="What guesses: words of the prompt (ngram), a smaller model (draft_model), heads trained for the "
        "model (eagle, eagle3), or the model's own layers for it (mtp)."
    )
    model: Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")] | None = Field(
        default=None, description="Hugging Face repository of the draft model or of the EAGLE heads."
    )
    num_speculative_tokens: Annotated[int, Field(ge=1, le=64)] = Field(
        description="Tokens that are guessed before the model checks them."
    )
    prompt_lookup_min: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Fewest tokens that must match for ngram to guess; promptLookupMax by default, or vLLM's 5.",
    )
    prompt_lookup_max: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None, description="Most tokens that ngram looks for; promptLookupMin by default, or vLLM's 5."
    )
    draft_tensor_parallel: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="GPUs of the draft model: 1, or as many as the model's tensorParallel (the default)."
    )

    @model_validator(mode="after")
    def _a_model_where_one_guesses(self) -> SpeculativeSettings:
        if self.method in _WITH_MODEL and self.model is None:
            raise ValueError(
                f"method {self.method} without a model: vLLM would have nothing that guesses. Write model: with the "
                "repository of the draft model or of the heads, or choose method: ngram."
            )
        if self.method not in _WITH_MODEL and self.model is not None:
            raise ValueError(
                f"model {self.model} with method {self.method}, which needs none, so it would be ignored. Leave it "
                "out, or choose draft_model, eagle or eagle3."
            )
        return self

    @model_validator(mode="after")
    def _lookup_is_of_ngram(self) -> SpeculativeSettings:
        least, most = self.prompt_lookup_min, self.prompt_lookup_max
        if self.method != "ngram" and (least is not None or most is not None):
            raise ValueError(
                f"promptLookupMin or promptLookupMax with method {self.method}: only ngram looks into the prompt. "
                "Leave them out."
            )
        if least is not None and most is not None and least > most:
            raise ValueError(
                f"promptLookupMin {least} is above promptLookupMax {most}, so vLLM would refuse to start. Write "
                f"{most} or less."
            )
        return self
