"""Runs a Pulumi program; started by the language host with the program's own Python.

It stands alone: the program's environment need not hold anything of this project. It does what Pulumi's own runner
does: configuration from the environment, settings from the arguments, the program as `__main__` inside a stack.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import runpy
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

# Python puts this script's folder first on the module path; the program must not find our modules there. Its own
# folder comes there instead when it runs. (With PYTHONSAFEPATH Python has not put it there.)
if not getattr(sys.flags, "safe_path", False):
    sys.path.pop(0)

try:
    import pulumi
    import pulumi.runtime
except ImportError:
    traceback.print_exc()
    sys.exit(
        f"The Pulumi SDK is not installed in {sys.prefix}, so the program cannot run: install what its "
        "requirements.txt or lock file names (e.g. `pulumi install`)."
    )

ERROR_WAS_SHOWN = 32


def parse_arguments() -> argparse.Namespace:
    """What the language host has said: settings of the stack, the program and its own arguments."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("project", "root_directory", "stack", "pwd", "monitor", "engine", "organization", "dry_run"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args()


def configure(arguments: argparse.Namespace) -> None:
    """Tell the SDK what the engine has said of the stack."""
    pulumi.runtime.set_all_config(pulumi.runtime.get_config_env(), pulumi.runtime.get_config_secret_keys_env())
    pulumi.runtime.configure(
        pulumi.runtime.Settings(
            monitor=arguments.monitor,
            engine=arguments.engine,
            project=arguments.project,
            stack=arguments.stack,
            parallel=arguments.parallel,
            dry_run=arguments.dry_run == "true",
            organization=arguments.organization,
            root_directory=arguments.root_directory,
        )
    )


def run_program(program: str) -> None:
    """Run it as a script; a folder without `__main__.py` is said plainly."""
    if Path(program).is_dir() and not Path(program, "__main__.py").is_file():
        pulumi.log.error(f"unable to find main python program `__main__.py` in `{Path(program).resolve()}`")
        sys.exit(ERROR_WAS_SHOWN)
    runpy.run_path(program, run_name="__main__")


def user_traceback(program: str) -> str:
    """The traceback from the program's own first frame on; all of it if the program is not in it."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    main = Path(program, "__main__.py") if Path(program).is_dir() else Path(program)
    for index, frame in enumerate(frames):
        if Path(frame.filename).resolve() == main.resolve():
            return traceback.format_exc(limit=index - len(frames))
    return traceback.format_exc()


def leave(*_: object) -> NoReturn:
    """End at once: threads may wait for the engine for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ERROR_WAS_SHOWN)


def interrupted(*_: object) -> NoReturn:
    """The engine has given up, and has said why: the program may tidy up for a second.

    Not longer, and not by the interrupt alone: the SDK holds every exception back until its calls have ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, 1)
    raise KeyboardInterrupt


def main() -> None:
    """Run the program; the exit code says whether it failed, and whether that was shown."""
    arguments = parse_arguments()
    signal.signal(signal.SIGINT, interrupted)
    configure(arguments)
    sys.argv = [arguments.program, *arguments.arguments]
    if arguments.pwd:
        os.chdir(arguments.pwd)

    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    executor = ThreadPoolExecutor(max_workers=max(arguments.parallel, 1) * 4)
    loop.set_default_executor(executor)
    # A program that fails leaves futures that nobody waits for: asyncio would say so at length, and it's harmless.
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)

    code = 1
    try:
        loop.run_until_complete(pulumi.runtime.run_in_stack(lambda: run_program(arguments.program)))
        code = 0
    except pulumi.RunError as error:
        pulumi.log.error(str(error))
    except KeyboardInterrupt:
        leave()
    except Exception:  # noqa: BLE001 # a program may raise anything, and all of it is shown
        pulumi.log.error(f"Program failed with an unhandled exception:\n{user_traceback(arguments.program)}")
        code = ERROR_WAS_SHOWN
    finally:
        executor.shutdown(wait=True)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
