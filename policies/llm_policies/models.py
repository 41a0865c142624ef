"""Which model an engine is told to serve."""

from __future__ import annotations

from llm_policies.containers import Container
from llm_policies.values import hidden

_OPTIONS = ("--model", "--model-id", "--model-path")
"""Of vLLM and llama.cpp, of TGI, which takes MODEL_ID too, and of SGLang."""


def is_on_disk(container: Container) -> bool:
    """Whether its model is a path, so that nothing of it is downloaded."""
    # Of a text for a shell the quotes are still there.
    word = (_model(container) or "").strip("\"'")
    return (container.put_in(word) or "").startswith(("/", "."))


def _model(container: Container) -> str | None:
    """What it is told to serve: a path, or a name on Hugging Face; None where it is not told."""
    # `-m` is llama.cpp's: elsewhere it is Python's.
    named = container.option(*_OPTIONS, *(["-m"] if container.engine == "llamacpp" else []))
    if named is not None:
        return named
    words = " ".join(container.words).split()
    after = words.index("serve") + 1 if "serve" in words else len(words)
    arguments = [hidden(argument).text() for argument in container.value.get("args").items()]
    return next(iter(words[after:] or arguments), None)
