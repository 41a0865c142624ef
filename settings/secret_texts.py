"""Texts that are secrets by their look, wherever they stand; they are told of and never shown."""

from __future__ import annotations

import re

# Letters, digits, '-' and '_' alone: whatever a key is written into, none of them has a meaning there.
API_KEY = re.compile(r"[A-Za-z0-9_-]{20,200}")
"""A client's key, as settings.ingress takes it."""

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|API_?KEY|ACCESS_KEY|CREDENTIAL", re.IGNORECASE)
_NO_SECRETS = ("TOKENIZERS_PARALLELISM", "VLLM_ROCM_", "VLLM_MAX_TOKENS_", "LLAMA_ARG_IMAGE_")
"""What looks like one by its name, and holds none."""

_COUNTED = re.compile(r"TOKENS|TOKENIZ", re.IGNORECASE)
_LOGIN = re.compile(r"://[^/@\s]*:[^/@\s]*@")

_BEGIN, _END = r"-----BEGIN [A-Z ]*PRIVATE KEY-----", r"-----END [A-Z ]*PRIVATE KEY-----"

_LOOKS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(rf"(?<![A-Za-z0-9_-]){pattern}", re.DOTALL))
    for name, pattern in (
        ("a private key", rf"{_BEGIN}.*?(?:{_END}|\Z)"),
        ("a Hugging Face token", r"hf_[A-Za-z0-9]{20,}"),
        ("an API key", r"sk-[A-Za-z0-9_-]{16,}"),
        ("an NVIDIA API key", r"nvapi-[A-Za-z0-9_-]{20,}"),
        ("a GitHub token", r"gh[pousr]_[A-Za-z0-9]{30,}"),
        ("an AWS access key", r"AKIA[0-9A-Z]{16}(?![A-Za-z0-9])"),
    )
)
"""Prefixes that their makers chose so that scanners find what was published by mistake."""

_BEGINNINGS = ("-----BEGIN", "hf_", "sk-", "nvapi-", "gh", "AKIA")


def looks_like(text: str) -> str | None:
    """What kind of secret is in `text`, e.g. `a Hugging Face token`; None where none is seen."""
    if not any(beginning in text for beginning in _BEGINNINGS):
        return None  # nearly always
    return next((name for name, pattern in _LOOKS if pattern.search(text)), None)


def masked(text: str) -> str:
    """`text` with what kind of secret it is in the place of each."""
    for name, pattern in _LOOKS:
        text = pattern.sub(f"<{name}>", text)
    return text


def named_as_secret(name: str) -> bool:
    """Whether a flag or a variable holds a secret by its name; what is counted in tokens holds none."""
    return _SECRET_NAME.search(_COUNTED.sub("", name).replace("-", "_")) is not None


def variable_problem(name: str, value: str) -> str | None:
    """What is wrong with an environment variable that holds a secret by its name or its value, which is not told."""
    if _SECRET_NAME.search(name) and not name.startswith(_NO_SECRETS):
        return "looks like a secret, which would stand in the file and in the pod as plain text. Take it out."
    if _LOGIN.search(value):
        return (
            "is an address with a password in it, which would stand in the file and in the pod as plain text. Write "
            "an address without one."
        )
    return None
