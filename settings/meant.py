"""What a value of the wrong form most likely stands for, as it is to be written."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
_PARTED = re.compile(r"[0-9]{1,3}([,' ][0-9]{3})+")
_SCALED = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([kKmMbB])i?")
_SCALES = {"k": 1024, "m": 1024**2, "b": 10**9}
"""As tokens are counted, by powers of two; parameters are counted in billions."""

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?%")
_EXACT = 2**53
_LONGEST = 120
_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/+([\w.-]+/[\w.-]+)(:[\w.-]+)?(/.*)?")
_QUOTES = "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb"

_MAPPINGS = {
    "apiKeys": "{<client>: generated}",
    "autoscale": "{max: 2, runningRequests: 50}",
    "extraArgs": "{<flag>: <value>}, e.g. {max-model-len: 4096}",
    "extraEnvironment": "{<VARIABLE>: <value>}",
    "models": "{<name>: {engine: ..., model: ...}}",
    "nodeSelector": "{<label>: <value>}",
    "nodes": "{<name>: {gpus: {model: rtx-4090}}}",
    "routes": "{/v1: <model>}",
    "tls": "selfSigned, or {secretName: <name>}",
}
"""What stands behind a key that holds a mapping."""


def mapping_meant(path: str, value: object) -> str | None:
    """What to write at `path` in the place of `value`, which is no mapping; None where nothing is known."""
    key = path.rpartition(".")[2]
    if re.fullmatch(r"nodes\.[^.]+\.gpus", path):
        count = f", count: {value}" if isinstance(value, int) and value > 1 else ""
        return f"{{model: <GPU>{count}}}, e.g. {{model: rtx-4090}}"
    return _MAPPINGS.get(key)


def number_meant(value: object, *, whole: bool = True) -> str:
    """How to write the number that a text or a fraction stands for, as the rest of a sentence."""
    if isinstance(value, str) and len(value) <= _LONGEST:
        if _NUMBER.fullmatch(value):
            return f" but a text; write {value} without quotes"
        if _PARTED.fullmatch(value):
            return f"; write {re.sub('[^0-9]', '', value)}"
        if whole and (scaled := _SCALED.fullmatch(value)):
            number = float(scaled[1]) * _SCALES[scaled[2].lower()]
            return f"; write {int(number)}" if number < _EXACT else ""
        if not whole and (percent := _PERCENT.fullmatch(value)):
            return f"; write {float(percent[1]) / 100:g}"
    if isinstance(value, float) and abs(value) < _EXACT:
        below = math.floor(value)
        return f"; write {below}" if value.is_integer() else f"; write {below} or {below + 1}"
    return ""


def part_meant(value: object, most: object) -> str:
    """What to write for a part (0 to 1) that was written in percent, as the rest of a sentence."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not isinstance(most, int | float):
        return ""
    return f"; for {value:g} % write {value / 100:g}" if most <= 1 and 1 < value <= 100 * most else ""


def without_hub(model: str) -> str | None:
    """`OWNER/NAME` or `OWNER/NAME:TAG` of a model that is written with Hugging Face's host; None for any other."""
    found = _HUB.fullmatch(model) if len(model) <= _LONGEST else None
    return found[1] + (found[2] or "") if found else None


def text_meant(path: str, value: object) -> str | None:
    """How to write a text at `path` that a pattern refuses; None where nothing is known."""
    if not isinstance(value, str) or len(value) > _LONGEST:
        return None
    if path.endswith(".model") and (model := without_hub(value)):
        return f"write what stands behind the host: {model!r}"
    if re.search(r"\$[A-Za-z_{(]", value):
        return "nothing is filled in here, so write the value itself"
    if any(quote in value for quote in _QUOTES):
        return f"write it without typographic quotes: {value.strip(_QUOTES)!r}"
    if path.endswith(".model") and value.startswith(("./", "../", "/", "~")):
        return "a folder of this machine is not in the pod, so write a repository of Hugging Face: 'OWNER/NAME'"
    if value != value.strip():
        return f"write it without spaces around: {value.strip()!r}"
    return None
