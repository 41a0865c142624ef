"""The executable `pulumi-resource-command`, as the CLI starts it: with the engine's address."""

from __future__ import annotations

from plugins._provider import run
from plugins.command.provider import CommandProvider
from plugins.installation import command_version


def main() -> None:
    """Serve until told to stop."""
    version = command_version()
    run(lambda engine: CommandProvider(version, engine))


if __name__ == "__main__":
    main()
