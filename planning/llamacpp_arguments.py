"""How llama-server is started: its command line, and the variables that it finds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from planning.engine_flags import Argument
from planning.platforms import platform_environment
from settings.llamacpp import LlamaCppSettings
from settings.node import NodeSettings

PORT = 8080


def llamacpp_arguments(
    name: str, settings: LlamaCppSettings, *, ubatch: int, checkpoints: int, extra: Iterable[Argument]
) -> tuple[str, ...]:
    """Arguments of llama-server, which takes values after their flags only, and no `=`; the model's come first.

    Args:
        name: what clients write as `model`.
        settings: what the stack file says.
        ubatch: tokens that are computed at once.
        checkpoints: how many each request may keep of what layers with a window or a state know.
        extra: flags of `extraArgs`.
    """
    model = (
        {"--model": settings.model} if settings.is_local else {"--hf-repo": settings.model, "--hf-file": settings.file}
    )
    flags = {
        "--alias": name,
        "--host": "0.0.0.0",  # noqa: S104  # in a pod that a NetworkPolicy closes
        "--port": str(PORT),
        "--ctx-size": str(settings.context_length * settings.parallel),
        "--parallel": str(settings.parallel),
        "--n-gpu-layers": "all" if settings.gpu_layers is None else str(settings.gpu_layers),
        # What does not fit is a mistake of the plan, and not a reason to load less.
        "--fit": "off",
        "--cache-type-k": settings.cache_type_k,
        "--cache-type-v": settings.cache_type_v,
        "--flash-attn": {None: "auto", True: "on", False: "off"}[settings.flash_attention],
        "--batch-size": str(max(settings.batch_size, ubatch)),
        "--ubatch-size": str(ubatch),
        "--cache-ram": str(settings.prompt_cache_mib),
        # Its own 32 are many GiB of a model with large windows.
        "--ctx-checkpoints": str(checkpoints),
        # By default a page of any site may use the server from its visitor's browser.
        "--cors-origins": "localhost",
        "--pooling": settings.pooling,
        "--chat-template": settings.chat_template,
        "--load-mode": None if settings.load_mode == "auto" else settings.load_mode,
        "--threads": None if settings.threads is None else str(settings.threads),
    }
    if settings.gpus > 1:
        flags["--split-mode"] = settings.split_mode
        parts = settings.tensor_split
        flags["--tensor-split"] = None if parts is None else ",".join(f"{part:g}" for part in parts)
    # --jinja before it: a template that is no built-in one is taken only after it.
    switches = ["--jinja" if settings.jinja else "--no-jinja", "--metrics", "--no-slots", "--no-ui"]
    if settings.embeddings:
        switches.append("--embeddings")
    more = {argument.name: argument.value for argument in extra}
    return (*_words(model), *switches, *_words(flags), *_words(more, switches=True))


def _words(flags: Mapping[str, str | None], *, switches: bool = False) -> list[str]:
    """`flags` with their values; those without one are left out, unless they are `switches`."""
    kept = {flag: value for flag, value in flags.items() if switches or value is not None}
    return [word for flag, value in kept.items() for word in (flag, value) if word is not None]


def llamacpp_environment(node: NodeSettings) -> dict[str, str]:
    """Variables of the container, on `node` or one like it."""
    environment = {
        # Both lie on the volume: which of them a release uses differs.
        "LLAMA_CACHE": "/cache/llama.cpp",
        "HF_HOME": "/cache/huggingface",
        "HOME": "/tmp",
    }
    return environment | platform_environment(node)
