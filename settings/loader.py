"""From a stack file to `Settings`. The only module that reads `pulumi.Config`."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from settings.source import Source
from settings.stack import Settings
from settings.stack_file import PROJECT, read_source

_PLACED = ("models", "nodes")

__all__ = ["PROJECT", "load", "load_source", "parse", "read", "read_source"]


def parse(raw: Mapping[str, Any], *, source: str, decrypted: Collection[str] = ()) -> Settings:
    """The settings of plain data; the arguments are those of `Source`.

    Raises:
        SettingsError: with every problem at once.
    """
    return Source(name=source, raw=raw, decrypted=decrypted).settings()


def read(file: Path) -> Settings:
    """The settings of `file`, without Pulumi.

    Raises:
        SettingsError: the file cannot be read, is not YAML, or has wrong settings.
    """
    return read_source(file).settings()


def load_source() -> Source:
    """What the stack says that this Pulumi program runs for.

    Raises:
        SettingsError: its file cannot be read, or is not a stack's.
    """
    import pulumi  # here, so that tools which only read files start without Pulumi's 0.5 s import
    from pulumi.runtime.config import CONFIG, is_config_secret  # Pulumi's public Config can tell neither

    texts = {
        key.removeprefix(f"{PROJECT}:"): text for key, text in CONFIG.get().items() if key.startswith(f"{PROJECT}:")
    }
    # Not by `Config.require_secret`: a plan is made of values, not of Outputs. Only SecretStr and Outputs leave here.
    decrypted = [key for key in texts if is_config_secret(f"{PROJECT}:{key}")]
    # A key with nothing behind it comes as an empty text (seen with Pulumi 3.255.0).
    raw = {key: _plain(text) if text or key in decrypted else None for key, text in texts.items()}
    file = Path(f"Pulumi.{pulumi.get_stack()}.yaml")
    written = read_source(file) if file.is_file() else None
    if written is None:
        return Source(name=file.name, raw=raw, decrypted=decrypted)
    if not _same(written.raw, raw):
        # Pulumi was told another file (--config-file), and does not tell which: no line of this one would be true.
        return Source(name=f"The configuration of the stack {pulumi.get_stack()!r}", raw=raw, decrypted=decrypted)
    raw = _in_order(written.raw, raw)
    # Pulumi does not tell a secret from a plain text beside it under the same key; the file does.
    if written.unclear or (decrypted and written.problems()):
        return written
    return Source(name=file.name, raw=raw, decrypted=decrypted, lines=written.lines)


def _same(written: Any, handed: Any) -> bool:
    """Whether Pulumi can have read `handed` from what is `written`: all but the secrets, which it has decrypted."""
    if isinstance(written, Mapping) and set(written) == {"secure"}:
        return True
    if isinstance(written, Mapping) and isinstance(handed, Mapping):
        return written.keys() == handed.keys() and all(_same(written[key], handed[key]) for key in written)
    if isinstance(written, list) and isinstance(handed, list):
        return len(written) == len(handed) and all(map(_same, written, handed))
    return bool(written == handed)


def _in_order(written: Mapping[str, Any], handed: Mapping[str, Any]) -> dict[str, Any]:
    """`handed` with models and nodes in the order of the file, by which they are placed: Pulumi sorts them by name."""
    return {
        key: {name: value[name] for name in written[key]} if key in _PLACED and isinstance(value, Mapping) else value
        for key, value in handed.items()
    }


def load() -> Settings:
    """The settings of the stack that this Pulumi program runs for.

    Raises:
        SettingsError: with every problem at once.
    """
    return load_source().settings()


def _plain(text: str) -> Any:
    """Pulumi hands over mappings and lists as JSON and all else as text, so '123' may be a name and stays one."""
    return json.loads(text) if text.startswith(("{", "[")) else text
