"""Environment variables of a vLLM server: those of the plan, and those that a stack file adds."""

from __future__ import annotations

from collections.abc import Mapping

from planning.platforms import platform_environment
from planning.startup import Startup
from planning.vllm_release import Release
from settings.node import NodeSettings
from settings.problems import did_you_mean
from settings.secret_texts import variable_problem

_GONE = {
    "VLLM_USE_V1": "it is gone; there is one engine",
    "VLLM_ATTENTION_BACKEND": "it is the setting attentionBackend now",
    "VLLM_RPC_TIMEOUT": "it is gone, without another in its place",
    "VLLM_USE_FLASHINFER_MOE_FP8": "it is gone; extraArgs.moe-backend chooses",
    "HF_HUB_ENABLE_HF_TRANSFER": "Hugging Face's library has dropped it; it downloads in parallel by itself",
}
_REFUSED = {
    "VLLM_PORT": "the port is the plan's",
    "VLLM_SERVER_DEV_MODE": "it opens /sleep, /pause and /collective_rpc to whoever reaches the server",
    "VLLM_ALLOW_INSECURE_SERIALIZATION": "it lets whoever reaches the engine's sockets run code",
    "CUDA_VISIBLE_DEVICES": "Kubernetes says which GPUs are the pod's",
    "NVIDIA_VISIBLE_DEVICES": "Kubernetes says which GPUs are the pod's",
}


def vllm_environment(node: NodeSettings, time: Startup) -> dict[str, str]:
    """What the plan itself wants to be set."""
    return {
        "VLLM_ENGINE_READY_TIMEOUT_S": str(time.budget_seconds),
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # Both lie on the volume: what is downloaded or compiled once is there at the next start.
        "HF_HOME": "/cache/huggingface",
        "VLLM_CACHE_ROOT": "/cache/vllm",
        "HOME": "/tmp",
    } | platform_environment(node)


def check_extra_environment(
    path: str, extra: Mapping[str, str], planned: Mapping[str, str], known: Release | None, problems: list[str]
) -> None:
    """Add to `problems` what of `extra` must not be, or would do nothing.

    Args:
        path: of the mapping in the stack file, e.g. `models.chat.extraEnvironment`.
        planned: what the plan sets.
        known: the release that the image runs; None where it is another, of which nothing is known.
    """
    for variable, value in extra.items():
        if (told := _refusal(variable, value, planned, known)) is not None:
            problems.append(f"{path}.{variable}: {told}")


def _refusal(variable: str, value: str, planned: Mapping[str, str], known: Release | None) -> str | None:
    if variable in planned:
        return f"the plan sets it to {planned[variable]!r}, and counts with that. Take it out."
    if variable in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        return "would stand in the file as plain text. Set it as huggingFaceToken: pulumi config set --secret."
    if variable == "VLLM_API_KEY":
        return "would stand in the file as plain text, and the edge checks keys. Write ingress.apiKeys."
    if (secret := variable_problem(variable, value)) is not None:
        return secret
    if variable in _REFUSED:
        return f"{_REFUSED[variable]}. Take it out."
    if known is not None and variable not in known.environment:
        if variable in _GONE:
            return f"{_GONE[variable]}. Take it out."
        if variable.startswith("VLLM_"):
            return (
                f"vLLM {known.version} reads no such variable, so it would do nothing"
                f"{did_you_mean(variable, known.environment) or '.'}"
            )
    return None
