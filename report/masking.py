"""Finds what is secret in the properties of a resource, so that nobody downstream can show it."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

SECRET = "[secret]"  # noqa: S105  # what is shown in a secret's place
"""What a secret is shown as; `pulumi preview --json` writes the same for those that it knows of."""

SIGNATURE = "4dabf18193072939515e22adb298388d"
SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # a constant of Pulumi's, no secret
"""Key and value by which Pulumi marks an object as a secret (sdk/go/common/resource/sig)."""

UNKNOWN = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands in a preview for a text that is only known after the deployment (sdk/go/common/resource/plugin)."""

_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_PASSWORDS = frozenset({"password", "passwords", "passwd", "passphrase"})
_SECRET_LAST = frozenset({"token", "secret", "credential", "credentials"})
"""Not in the plural: `--max-num-batched-tokens` is a number, `imagePullSecrets` are names."""

_KEY_OWNERS = frozenset({"api", "access", "auth", "private"})
_HARMLESS = frozenset({"topologyKey"})
"""A field of Kubernetes' own API whose name only looks like a secret's."""

_OPEN = frozenset({"apiVersion", "kind", "type", "immutable"})
_OPEN_METADATA = frozenset({"name", "namespace", "labels"})
"""What of a Kubernetes Secret may be shown. Annotations may not: kubectl copies the whole object into one."""

_IN_TEXT = re.compile(
    r"(?P<before>://[^/@\s:]*:)[^/@\s]+(?=@)"
    r"|(?P<bearer>\bbearer\s+)\S+"
    r"|(?P<name>(?<![\w-])[\w-]*(?:token|passw(?:or)?d|passphrase|secret|api[_-]?key)\s*=\s*['\"]?)[^\s'\"]+",
    re.IGNORECASE,
)
"""A password in a URL, a bearer token, and `NAME_TOKEN=...` in a script or a message.

A name is looked for where a word begins alone: from every letter on it would take the square of a long word's length.
"""

_SHORTEST_KNOWN = 6
"""Shorter texts are not looked for elsewhere: they would be found in words that are no secret."""


@dataclass(frozen=True)
class Hidden:
    """A value that is not shown; two of them can still be told apart."""

    text: str = field(repr=False)
    option: str = ""
    """What stands before it in the same word, e.g. `--api-key=`."""

    def __str__(self) -> str:
        return self.option + SECRET


@dataclass(frozen=True)
class Unknown:
    """A value that is only known after the deployment."""

    def __str__(self) -> str:
        return "(known after the deployment)"


def is_secret_name(name: str) -> bool:
    """Whether a variable, property or option of this name holds a secret: `HF_TOKEN`, `apiKey`, `--api-key`."""
    words = [word.lower() for word in _WORD.findall(name)]
    if not words or name in _HARMLESS:
        return False
    return (
        not _PASSWORDS.isdisjoint(words)
        or words[-1] in _SECRET_LAST
        or (words[-1] == "key" and len(words) > 1)
        or (words[-1] == "keys" and words[-2:-1] != [] and words[-2] in _KEY_OWNERS)
    )


def masked(resource_type: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """`properties` with every secret replaced by `Hidden`.

    Args:
        resource_type: e.g. `kubernetes:core/v1:Secret`, of which nearly everything is secret.
        properties: as `pulumi preview --json` has them.
    """
    if resource_type.rpartition(":")[2] not in ("Secret", "SecretPatch"):
        return {key: _value(key, value) for key, value in properties.items()}
    return {
        key: _metadata_of_secret(value)
        if key == "metadata" and isinstance(value, Mapping)
        else _value(key, value)
        if key in _OPEN
        else _hide(value)
        for key, value in properties.items()
    }


def hidden_texts(value: Any) -> Iterator[str]:
    """Every text that was hidden in `value`, and what it stands for where it is base64."""
    if isinstance(value, Hidden):
        yield value.text
        try:
            yield base64.b64decode(value.text, validate=True).decode()
        except (binascii.Error, ValueError):
            return  # it is not base64, or not of a text
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from hidden_texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from hidden_texts(item)


class Scrubber:
    """Takes secrets that are known from one place out of the texts of another, such as an error message."""

    def __init__(self, secrets: Iterable[str]) -> None:
        long = {text for text in secrets if len(text) >= _SHORTEST_KNOWN and text != SECRET}
        # The longest first: one may be part of another.
        ordered = sorted(long, key=len, reverse=True)
        self._known = re.compile("|".join(re.escape(text) for text in ordered)) if ordered else None

    def __call__(self, text: str) -> str:
        """`text` without them, and without what looks like a secret where it stands."""
        text = self._known.sub(SECRET, text) if self._known else text
        return _IN_TEXT.sub(lambda found: (found["before"] or found["bearer"] or found["name"]) + SECRET, text)


def _metadata_of_secret(metadata: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _value(key, value) if key in _OPEN_METADATA else _hide(value) for key, value in metadata.items()}


def _value(key: str, value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.get(SIGNATURE) == SECRET_SIGNATURE:
            return _hide([item for part, item in value.items() if part != SIGNATURE])
        variable = value.get("name")
        hides = isinstance(variable, str) and is_secret_name(variable)
        return {part: _hide(item) if part == "value" and hides else _value(part, item) for part, item in value.items()}
    if isinstance(value, list):
        return _hide(value) if is_secret_name(key) else _words(value)
    if value == UNKNOWN:
        return Unknown()
    if isinstance(value, str) and (value == SECRET or is_secret_name(key)):
        return Hidden(value)
    return value


def _words(items: list[Any]) -> list[Any]:
    """A list; in a command line, without what follows an option such as `--api-key`."""
    found: list[Any] = []
    follows = False
    for item in items:
        if not isinstance(item, str):
            found.append(_value("", item))
            follows = False
            continue
        option, equals, rest = item.partition("=")
        if equals and is_secret_name(option):
            found.append(Hidden(rest, option + equals))
            follows = False
        elif follows and not item.startswith("-"):  # vLLM takes several keys, up to the next option
            found.append(Hidden(item))
        else:
            found.append(_value("", item))
            follows = item.startswith("-") and is_secret_name(item)
    return found


def _hide(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _hide(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_hide(item) for item in value]
    return Hidden(str(value))
