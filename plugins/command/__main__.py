"""The executable `pulumi-resource-command`, as the CLI starts it: with the engine's address."""

from __future__ import annotations

from plugins import _stubs


def main() -> None:
    """Serve until told to stop."""
    _stubs.without_the_sdk()
    # Only now, since they import the stubs.
    from plugins._provider import run
    from plugins.command.provider import CommandProvider
    from plugins.installation import command_version

    version = command_version()
    run(lambda engine: CommandProvider(version, engine))


if __name__ == "__main__":
    main()
