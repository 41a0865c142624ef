"""Where the CLI with the stand-in plugins lies; apart from what puts it there, since every call of the CLI asks."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from toolchain.paths import REPOSITORY, state_dir


def root() -> Path:
    """This checkout's folder; its name also tells the environment, so that two of them do not share launchers."""
    key = hashlib.sha256(f"{REPOSITORY}\n{sys.prefix}".encode()).hexdigest()[:12]
    return state_dir() / "pulumi" / f"{REPOSITORY.name}-{key}"
