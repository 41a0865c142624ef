"""Which GPU of the catalogue is meant by another name, such as the one that nvidia-smi or a node's label has."""

from __future__ import annotations

import re

from planning.catalogue import gpu_models
from settings.problems import did_you_mean

_MAKER = re.compile(r"^(nvidia|geforce|tesla)(?=[^a-z])[^a-z0-9]*", re.IGNORECASE)
"""What stands before the GPU itself in NVIDIA's names of products."""


def gpu_meant(word: str) -> str:
    """`; did you mean 'x'?`, with every GPU that `word` may stand for, or nothing where none is near."""
    plain = _plain(word)
    names = [name for name, gpu in gpu_models().items() if plain in map(_plain, (name, *gpu.products))]
    names = names or [name for name in gpu_models() if plain and _plain(name).startswith(f"{plain}-")]
    if not names:
        return did_you_mean(plain, gpu_models())
    return f"; did you mean {' or '.join(map(repr, names))}?"


def _plain(word: str) -> str:
    """`rtx-4090` of `NVIDIA GeForce RTX 4090`."""
    while (shorter := _MAKER.sub("", word)) != word:
        word = shorter
    return re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-")
