"""Runs a Pulumi program; started by the language host with the program's own Python.

It stands alone: the program's environment need not hold anything of this project. It does what Pulumi's own runner
does: configuration from the environment, settings from the arguments, the program as `__main__` inside a stack.
"""

import argparse
import asyncio
import os
import runpy
import signal
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

# Python puts this script's folder first on the module path; the program must not find our modules there. Its own
# folder comes there instead when it runs.
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

import logging

ERROR_WAS_SHOWN = 32


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("project", "root_directory", "stack", "pwd", "monitor", "engine", "organization", "dry_run"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--parallel", type=int, default=1)
    parser.add_argument("program")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    return parser.parse_args()


def configure(arguments):
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


def run_program(program):
    """Run it as a script; a folder without `__main__.py` is said plainly."""
    if os.path.isdir(program) and not os.path.isfile(os.path.join(program, "__main__.py")):
        pulumi.log.error(f"unable to find main python program `__main__.py` in `{os.path.abspath(program)}`")
        sys.exit(ERROR_WAS_SHOWN)
    runpy.run_path(program, run_name="__main__")


def user_traceback(program):
    """The traceback from the program's own first frame on; all of it if the program is not in it."""
    frames = traceback.extract_tb(sys.exc_info()[2])
    main = os.path.join(program, "__main__.py") if os.path.isdir(program) else program
    for index, frame in enumerate(frames):
        if os.path.abspath(frame.filename) == os.path.abspath(main):
            return traceback.format_exc(limit=index - len(frames))
    return traceback.format_exc()


def leave(*_):
    """End at once: threads may wait for the engine for ever."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ERROR_WAS_SHOWN)


def interrupted(_number, _frame):
    """The engine has given up, and has said why: the program may tidy up for a second.

    Not longer, and not by the interrupt alone: the SDK holds every exception back until its calls have ended.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, leave)
    signal.setitimer(signal.ITIMER_REAL, 1)
    raise KeyboardInterrupt


def main():
    arguments = parse_arguments()
    signal.signal(signal.SIGINT, interrupted)
    configure(arguments)
    sys.argv = [arguments.program, *arguments.arguments]
    if arguments.pwd:
        os.chdir(arguments.pwd)
    program = os.path.abspath(arguments.program)

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
    except Exception:
        pulumi.log.error(f"Program failed with an unhandled exception:\n{user_traceback(program)}")
        code = ERROR_WAS_SHOWN
    finally:
        executor.shutdown(wait=True)
        loop.close()
        sys.stdout.flush()
        sys.stderr.flush()
    sys.exit(code)


if __name__ == "__main__":
    main()
