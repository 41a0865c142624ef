"""`python -m plugins bin-dir`: prepares the Pulumi CLI with the stand-ins and prints the folder to put on PATH."""

from __future__ import annotations

import sys

from plugins import installation
from toolchain.steps import StepFailed

USAGE = """usage: python -m plugins {bin-dir | root}

bin-dir  prints the folder whose `pulumi` is the built CLI with the stand-in plugins: put it first on PATH
root     prints the folder above it: pulumi.automation.PulumiCommand(root=...) takes it"""


def main(arguments: list[str]) -> None:
    """Prepare the CLI (built first if it is not in the cache) and print what was asked for."""
    if arguments not in (["bin-dir"], ["root"]):
        sys.exit(USAGE)
    try:
        root = installation.install()
    except StepFailed as error:
        sys.exit(str(error))
    print(root / "bin" if arguments == ["bin-dir"] else root)


main(sys.argv[1:])
