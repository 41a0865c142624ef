"""From a stack file to `Settings`. The only module that reads `pulumi.Config`."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from settings.problems import SettingsError, problems_of
from settings.secret import DECRYPTED
from settings.stack import Settings

PROJECT = "llm-serving"


def parse(raw: Mapping[str, Any], *, source: str, decrypted: Collection[str] = ()) -> Settings:
    """Validate what a stack file says.

    Args:
        raw: plain data by top-level key, as YAML or JSON has it.
        source: the file that a person must edit, for the messages.
        decrypted: top-level keys in which secrets are texts instead of `{secure: ...}`; no value of theirs is told.

    Raises:
        SettingsError: with every problem at once.
    """
    texts = frozenset(text for key in decrypted for text in _texts(raw[key]))
    try:
        # Through JSON: its strictness is that of the file, in which there are lists and no tuples. A date is a text in
        # it, whatever YAML takes it for.
        return Settings.model_validate_json(
            json.dumps(raw, default=str), by_alias=True, by_name=False, context={DECRYPTED: texts}
        )
    except ValidationError as error:
        raise SettingsError(source, problems_of(error, Settings, hidden=decrypted)) from None


def read(file: Path) -> Settings:
    """The settings of `file`, without Pulumi: for tools that run where no stack is.

    Raises:
        SettingsError: the file cannot be read, is not YAML, or has wrong settings.
    """
    try:
        document = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise SettingsError(file.name, [f"cannot be read: {error.strerror}."]) from None
    except yaml.YAMLError as error:
        raise SettingsError(file.name, [f"is not YAML: {' '.join(str(error).split())}."]) from None
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise SettingsError(file.name, [f"has no mapping 'config:' with keys such as '{PROJECT}:models'."])
    # Pulumi takes a key without a namespace for one of the project's.
    named = {str(key).removeprefix(f"{PROJECT}:"): value for key, value in config.items()}
    raw = {name: value for name, value in named.items() if ":" not in name}
    return parse(raw, source=file.name)


def load() -> Settings:
    """The settings of the stack that this Pulumi program runs for.

    Raises:
        SettingsError: with every problem at once.
    """
    import pulumi  # here, so that tools which only read files start without Pulumi's 0.5 s import
    from pulumi.runtime.config import CONFIG, is_config_secret  # Pulumi's public Config can tell neither

    raw = {
        key.removeprefix(f"{PROJECT}:"): _plain(text)
        for key, text in CONFIG.get().items()
        if key.startswith(f"{PROJECT}:")
    }
    # Not by `Config.require_secret`: a plan is made of values, not of Outputs. Only SecretStr and Outputs leave here.
    decrypted = [key for key in raw if is_config_secret(f"{PROJECT}:{key}")]
    file = Path(f"Pulumi.{pulumi.get_stack()}.yaml")
    if decrypted and file.is_file():
        read(file)  # Pulumi does not tell a secret from a plain text beside it under the same key; the file does.
    return parse(raw, source=file.name, decrypted=decrypted)


def _plain(text: str) -> Any:
    """Pulumi hands over mappings and lists as JSON and all else as text, so '123' may be a name and stays one."""
    return json.loads(text) if text.startswith(("{", "[")) else text


def _texts(value: Any) -> Iterator[str]:
    """Every text in plain data, keys left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(item)
