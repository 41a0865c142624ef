"""From a stack file to `Settings`. The only module that reads `pulumi.Config`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from settings.problems import SettingsError, problems_of
from settings.stack import Settings

PROJECT = "llm-serving"


def parse(raw: Mapping[str, Any], *, source: str) -> Settings:
    """Validate what a stack file says.

    Args:
        raw: plain data by top-level key, as YAML or JSON has it.
        source: the file that a person must edit, for the messages.

    Raises:
        SettingsError: with every problem at once.
    """
    try:
        # Through JSON: its strictness is that of the file, in which there are lists and no tuples. A date is a text in
        # it, whatever YAML takes it for.
        return Settings.model_validate_json(json.dumps(raw, default=str), by_alias=True, by_name=False)
    except ValidationError as error:
        raise SettingsError(source, problems_of(error, Settings)) from None


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
    prefix = f"{PROJECT}:"
    raw = {str(key).removeprefix(prefix): value for key, value in config.items() if str(key).startswith(prefix)}
    return parse(raw, source=file.name)


def load() -> Settings:
    """The settings of the stack that this Pulumi program runs for.

    Raises:
        SettingsError: with every problem at once.
    """
    import pulumi  # here, so that tools which only read files start without Pulumi's 0.5 s import
    from pulumi.runtime.config import CONFIG  # Pulumi's public Config cannot list its keys

    config = pulumi.Config(PROJECT)
    names = [key.removeprefix(f"{PROJECT}:") for key in CONFIG.get() if key.startswith(f"{PROJECT}:")]
    raw = {name: _plain(config.require(name)) for name in names}
    return parse(raw, source=f"Pulumi.{pulumi.get_stack()}.yaml")


def _plain(text: str) -> Any:
    """Pulumi hands over mappings and lists as JSON and all else as text, so '123' may be a name and stays one."""
    return json.loads(text) if text.startswith(("{", "[")) else text
