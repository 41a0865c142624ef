"""What vLLM would refuse of speculative decoding, and what of it the plan cannot count."""

from __future__ import annotations

from planning.catalogue import LanguageModel, hub_models
from settings.problems import did_you_mean
from settings.vllm import VllmSettings
from settings.vllm_speculative import SpeculativeSettings

_GUESSING_LAYERS = ("deepseek-v3", "glm-4.5", "kimi-k2", "qwen3-next", "qwen3.5")
"""What the catalogue's rows of models with layers of their own for guessing begin with (config/speculative.py,
hf_config_override). Of Kimi K2 it is not known: its shape is DeepSeek V3's, and its name another."""


def check_speculation(
    name: str, settings: VllmSettings, model: LanguageModel | None, *, problems: list[str], warnings: list[str]
) -> None:
    """Adds to `problems` what vLLM would refuse, and to `warnings` what is not counted.

    Args:
        model: what is known of the model that is served.
    """
    speculative, path = settings.speculative, f"models.{name}.speculative"
    if speculative is None:
        return
    tensor, draft_tensor = settings.tensor_parallel_size, speculative.draft_tensor_parallel
    if draft_tensor not in (None, 1, tensor):
        problems.append(
            f"{path}.draftTensorParallel: {draft_tensor}, but a draft model is on 1 GPU or on all {tensor} of "
            f"tensorParallel, so vLLM would refuse to start. Write 1 or {tensor}."
        )
    if model is not None and speculative.method == "mtp" and model.base and not model.base.startswith(_GUESSING_LAYERS):
        problems.append(
            f"{path}.method: mtp, but {model.name} has no layers of its own that guess, so vLLM would refuse to start. "
            "Write ngram, draft_model with a smaller model, or eagle3 with heads that were trained for it."
        )
    if speculative.model is not None:
        _check_guesser(path, speculative, speculative.model, model, problems, warnings)


def _check_guesser(
    path: str,
    speculative: SpeculativeSettings,
    guesser: str,
    model: LanguageModel | None,
    problems: list[str],
    warnings: list[str],
) -> None:
    """The draft model, or the heads."""
    draft = hub_models().get(guesser)
    if draft is None:
        # The catalogue has no heads, so no name of it is what was meant.
        meant = did_you_mean(guesser, hub_models()) if speculative.method == "draft_model" else ""
        warnings.append(
            f"{path}.model: {guesser} is not in the catalogue, so what it takes of the GPU is not counted"
            f"{meant or '. Leave room: gpuMemoryUtilization.'}"
        )
    elif model is not None and speculative.method == "draft_model":
        own, other = model.architecture.vocabulary_size, draft.architecture.vocabulary_size
        if own != other:
            problems.append(
                f"{path}.model: {guesser} has a vocabulary of {other} tokens, and {model.name} one of {own}, so vLLM "
                "would refuse to start. Choose a draft model with the same vocabulary, or method: ngram."
            )
