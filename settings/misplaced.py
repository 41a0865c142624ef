"""What is written where it may not be, and what no look at a single value can see: nulls, secrets, equal names."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from settings.base import label_suggestion
from settings.problems import set_secret
from settings.secret_texts import looks_like
from settings.shapes import Written, fields, key_text, shape_of, walk
from settings.stack import Settings

_NAMED = ("nodes", "models")
_PLACES = {
    "a Hugging Face token": "huggingFaceToken",
    "an API key": "ingress.apiKeys.<client>",
    "a private key": "nodes.<name>.host.ssh.privateKey",
}
"""Where a secret belongs that looks so."""

# C0 and C1 but for tab and ends of lines; overrides of direction (CVE-2021-42574); halves of a character.
_HARMFUL = re.compile("[\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f\\u202a-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def misplaced(raw: Mapping[str, Any]) -> list[str]:
    """What is wrong; no value is quoted that may be a secret."""
    found = list(_equal_names(raw))
    for written in walk(raw, Settings):
        found += _nothing(written)
        found += _encrypted_as_a_whole(written)
        found += _in_the_clear(written)
        found += _unseen(written)
    return found


def _nothing(written: Written) -> Iterator[str]:
    """A setting with nothing behind it, where that would pass for its default without a word."""
    field = written.field
    if written.value is not None or field is None or field.is_required() or field.default is not None:
        return
    shape = shape_of(field.annotation)
    switches_on = (
        isinstance(shape, type)
        and issubclass(shape, BaseModel)
        and not any(inner.is_required() for inner in fields(shape).values())
    )
    write = (
        f"Write {written.key}: {{}} to turn it on, or leave it out" if switches_on else "Write a value, or leave it out"
    )
    yield f"{written.path}: has nothing behind it, so it would be as if it were not written. {write}."


def _encrypted_as_a_whole(written: Written) -> Iterator[str]:
    """`{secure: ...}` in the place of more than one secret text."""
    value = written.value
    if written.shape is SecretStr or not isinstance(value, Mapping) or set(value) != {"secure"}:
        return
    yield (
        f"{written.path}: is encrypted as a whole, so nobody can read in a review what it says, and nothing can be "
        "planned without the passphrase. Write it in plain text, and set the secrets in it alone, each with its path: "
        f"{set_secret(f'{written.path}.<setting>')}."
    )


def _in_the_clear(written: Written) -> Iterator[str]:
    """A text that is a secret by its look, where no secret belongs; those places look after themselves."""
    texts = [written.key] if written.shape is SecretStr else [written.key, written.value]
    for text in texts:
        if isinstance(text, str) and (kind := looks_like(text)):
            yield (
                f"{written.path}: looks like {kind} and is in the file as plain text, so whoever reads that has it. "
                f"Take it out and withdraw it where it was issued{_place_of(kind)}."
            )
            return


def _place_of(kind: str) -> str:
    """Where a new secret of that kind is set, as the rest of a sentence."""
    where = _PLACES.get(kind)
    return f"; set a new one with {set_secret(where)}" if where else ""


def _unseen(written: Written) -> Iterator[str]:
    """Characters that no command line or variable can hold, or that show a reviewer other text than what is run."""
    for text in (written.key, written.value):
        if isinstance(text, str) and (found := _HARMFUL.search(text)):
            called = unicodedata.name(found[0], "a control character")
            yield (
                f"{written.path}: has U+{ord(found[0]):04X} ({called}) as character {found.start() + 1}, which is not "
                "seen and does harm: it ends a command line, acts on a terminal, or shows text in another order. Take "
                "it out."
            )
            return


def _equal_names(raw: Mapping[str, Any]) -> Iterator[str]:
    """Names of which one would become the other once it is written as Kubernetes takes it."""
    for where in _NAMED:
        names = raw.get(where)
        if not isinstance(names, Mapping):
            continue
        for name in names:
            meant = label_suggestion(name)
            if meant is not None and meant != name and meant in names:
                yield (
                    f"{where}.{key_text(name)}: {name!r} is not an RFC 1123 label (a-z, 0-9 and '-', at most 63), and "
                    f"{meant!r}, which it would be as one, is there already. Give it a name of its own."
                )
