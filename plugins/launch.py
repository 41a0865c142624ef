"""Starts the built Pulumi CLI with the environment that it needs to run closed and with the stand-ins.

What the caller has set goes first: PULUMI_HOME excepted, because it names the folder of the plugins.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from plugins._folder import root
from toolchain.paths import state_dir


def passphrase_file() -> Path:
    """The file with the passphrase of stacks for which the caller names none; made once, for its owner only."""
    path = state_dir() / "pulumi" / "passphrase"
    if path.is_file():
        return path
    # Here, because every call of the CLI would wait for them, and all but the first do without.
    import secrets
    import tempfile

    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, made = tempfile.mkstemp(dir=path.parent)  # mode 600
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(32))
    try:
        path.hardlink_to(made)  # whole, or not at all
    except FileExistsError:  # another start was quicker
        return path
    finally:
        Path(made).unlink()
    print(
        f"pulumi: made a passphrase for the secrets of your stacks in {path}. Without it their secrets cannot be "
        "read again: keep a copy, or set PULUMI_CONFIG_PASSPHRASE or PULUMI_CONFIG_PASSPHRASE_FILE.",
        file=sys.stderr,
    )
    return path


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """The CLI's environment, from the caller's.

    Args:
        given: the caller's environment.

    Returns:
        A copy with the plugins' folder, and with a backend and a passphrase where none is set. Makes the backend's
        folder and the passphrase file if they are needed and not there.
    """
    result = {
        # PYTHONDONTWRITEBYTECODE costs about a second at every start of a program and is no concern of the CLI's.
        **{name: value for name, value in given.items() if name != "PYTHONDONTWRITEBYTECODE"},
        "PULUMI_HOME": str(root() / "home"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
    if not result.get("PULUMI_BACKEND_URL"):
        backend = state_dir() / "pulumi" / "backend"
        backend.mkdir(parents=True, exist_ok=True)
        result["PULUMI_BACKEND_URL"] = f"file://{backend}"
    # An empty passphrase is a choice of the caller's, so that the name alone counts.
    if "PULUMI_CONFIG_PASSPHRASE" not in result and not result.get("PULUMI_CONFIG_PASSPHRASE_FILE"):
        result["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(passphrase_file())
    return result


if __name__ == "__main__":
    program = root() / "lib" / "pulumi"
    os.execve(program, [str(program), *sys.argv[1:]], environment(os.environ))  # noqa: S606 # no shell is meant
