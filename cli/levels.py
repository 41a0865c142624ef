"""Reads how strict the policy pack is, from a file such as `policies/levels/prod.yaml`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.kubectl_yaml import plain
from toolchain.steps import StepFailed


def read_levels(file: Path) -> dict[str, Any]:
    """The levels of an environment; without a file of its own each rule keeps its own level, the strict one.

    Raises:
        StepFailed: the file cannot be read, or is no mapping in YAML.
    """
    if not file.exists():
        return {}
    try:
        levels = plain(file.read_text("utf-8"))
    except OSError as error:
        raise StepFailed(f"{file.name} cannot be read: {error.strerror}.") from None
    except ValueError as error:  # also of what is no UTF-8
        raise StepFailed(f"{file.name}: {error}") from None
    if levels is None:
        return {}
    if not isinstance(levels, dict):
        raise StepFailed(f"{file.name}: expected a mapping with levels, rules, namespaces, exceptions or pools.")
    return levels
