"""Where this project keeps things on a machine, after the XDG base directory specification.

One cache folder holds what can be built again (programs, module caches, images); one state folder holds
what a running lab and its Pulumi stacks have become. Nothing is written anywhere else.
"""

from __future__ import annotations

import os
from pathlib import Path

APPLICATION = "llm-serving"

REPOSITORY = Path(__file__).resolve().parents[1]
"""The checkout that this module was loaded from."""


def _xdg(variable: str, default: str) -> Path:
    configured = os.environ.get(variable, "")
    # The specification says that a relative path is invalid and must be ignored.
    base = Path(configured) if Path(configured).is_absolute() else Path.home() / default
    return base / APPLICATION


def cache_dir() -> Path:
    """Folder for what can be built or downloaded again (`$XDG_CACHE_HOME/llm-serving`)."""
    return _xdg("XDG_CACHE_HOME", ".cache")


def state_dir() -> Path:
    """Folder for what must outlive a command (`$XDG_STATE_HOME/llm-serving`)."""
    return _xdg("XDG_STATE_HOME", ".local/state")
