"""The executable `pulumi-language-python`, as the CLI starts it: with the engine's address."""

from __future__ import annotations

import functools
import sys

from plugins import _stubs


def main() -> None:
    """Serve until told to stop."""
    _stubs.without_the_sdk()
    # Only now, since they import the stubs.
    from plugins._serving import engine_address, serve
    from plugins.language_python.host import LanguageHost, register

    engine = engine_address(sys.argv[1:])
    host = LanguageHost(engine)
    # Programs and policy packs hold a thread each while they run.
    serve(functools.partial(register, host), engine=engine, threads=16, on_stop=host.stop)


if __name__ == "__main__":
    main()
