"""What may go wrong although the plan can be followed: told in the preview, and no reason to stop."""

from __future__ import annotations

from planning.catalogue import language_models
from settings.stack import Settings
from settings.vllm import VllmSettings


def warnings(settings: Settings) -> tuple[str, ...]:
    """One line for each doubt: path in the stack file, consequence, repair."""
    if settings.hugging_face_token is not None:
        return ()
    known = language_models()
    return tuple(
        f"models.{name}.model: {server.model} is gated: Hugging Face gives it to no account but those "
        "that its owner has let in. Set the token of one: pulumi config set --secret huggingFaceToken."
        for name, server in settings.models.items()
        if isinstance(server, VllmSettings) and server.model in known and known[server.model].gated
    )
