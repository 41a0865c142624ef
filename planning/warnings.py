"""What may go wrong although the plan can be followed: told in the preview, and no reason to stop."""

from __future__ import annotations

from planning.catalogue import language_models
from settings.problems import did_you_mean
from settings.stack import Settings
from settings.vllm import VllmSettings


def warnings(settings: Settings) -> tuple[str, ...]:
    """One line for each doubt: path in the stack file, consequence, repair."""
    known = language_models()
    served = {name: server.model for name, server in settings.models.items() if isinstance(server, VllmSettings)}
    unknown = tuple(
        f"models.{name}.model: {model} is not in the catalogue, so whether it fits is not known, and its volume is "
        f"made for 20 GB{did_you_mean(model, known) or '.'} Add it to planning/catalogue/models.yaml, or mind its size."
        for name, model in served.items()
        if model not in known
    )
    if settings.hugging_face_token is not None:
        return unknown
    return unknown + tuple(
        f"models.{name}.model: {model} is gated: Hugging Face gives it to no account but those "
        "that its owner has let in. Set the token of one: pulumi config set --secret huggingFaceToken."
        for name, model in served.items()
        if model in known and known[model].gated
    )
