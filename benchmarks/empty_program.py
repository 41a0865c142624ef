"""How long `pulumi preview` of an empty program takes with the stand-in language host, and which part takes what.

    .venv/bin/python -m benchmarks.empty_program [--runs 5]

The parts are measured one by one, outside the preview, so that their sum is not exactly the whole: the CLI does some of
its own work while it waits. CPU time is of all processes together; where it is far below the wall clock, the machine
was busy with something else, and only the CPU times can be compared. Ends with 1 if the median is over the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plugins import installation
from plugins.language_python.environment import PythonEnvironment
from plugins.language_python.packages import installed

LIMIT_SECONDS = 1.5
"""What an empty program may take on an idle machine of two cores."""


@dataclass(frozen=True)
class Took:
    """One run, in seconds."""

    wall: float
    cpu: float
    """User and system time of all processes that ended."""


@dataclass(frozen=True)
class Part:
    """A part of the preview, how often it is in it, and its runs."""

    name: str
    times: int
    runs: list[Took]


def timed(act: Callable[[], object]) -> Took:
    """What `act` takes in processes that it starts and waits for."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    act()
    wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Took(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def start_and_stop(host: Path) -> None:
    """Start the language host, wait for its port as the CLI does, and end it as the CLI does."""
    with subprocess.Popen([host], stdout=subprocess.PIPE) as process:
        if process.stdout is None or not process.stdout.readline().strip().isdigit():
            raise RuntimeError(f"{host} has printed no port")
        process.send_signal(signal.SIGINT)


def measure(runs: int, folder: Path) -> tuple[list[Took], list[Part]]:
    """The whole preview and its parts, each `runs` times after one that warms the caches."""
    root = installation.install()
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
    (folder / "Pulumi.yaml").write_text(json.dumps({"name": "empty", "runtime": runtime}))
    (folder / "__main__.py").touch()
    (folder / "backend").mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")},
        "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "benchmark",
    }

    def run(*command: str | Path) -> None:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")

    def repeated(act: Callable[[], object]) -> list[Took]:
        act()
        return [timed(act) for _ in range(runs)]

    pulumi, cli, python = root / "bin" / "pulumi", root / "lib" / "pulumi", sys.executable
    run(pulumi, "stack", "init", "dev")
    whole = repeated(lambda: run(pulumi, "preview", "--stack", "dev", "--non-interactive"))
    here = PythonEnvironment("pip", Path(sys.prefix), "", folder)
    parts = [
        Part("Python itself", 0, repeated(lambda: run(python, "-c", ""))),
        Part("the CLI: pulumi version", 1, repeated(lambda: run(cli, "version"))),
        Part("the launcher and that", 0, repeated(lambda: run(pulumi, "version"))),
        # The first is asked for the version of Python, which goes into the update's metadata.
        Part("language host, start and end", 2, repeated(lambda: start_and_stop(root / "lib/pulumi-language-python"))),
        Part("plugins of the packages", 1, repeated(lambda: installed(here))),
        Part("the program: import pulumi", 1, repeated(lambda: run(python, "-c", "import pulumi"))),
    ]
    return whole, parts


def spread(values: Sequence[float]) -> str:
    """The median and the range."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5, help="runs of each part")
    with tempfile.TemporaryDirectory() as temporary:
        whole, parts = measure(parser.parse_args().runs, Path(temporary))
    table = Table(title="preview of an empty program: seconds, median (range)")
    for column in ("part", "times in it", "wall clock", "CPU"):
        table.add_column(column, justify="left" if column == "part" else "right")
    for part in [*parts, Part("pulumi preview", 1, whole)]:
        times = str(part.times) if part.times else "-"
        table.add_row(part.name, times, spread([run.wall for run in part.runs]), spread([run.cpu for run in part.runs]))
    Console(width=120).print(table)
    print(f"load of the machine, 1 minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    median = statistics.median(run.wall for run in whole)
    if median > LIMIT_SECONDS:
        sys.exit(f"{median:.2f} s is over the limit of {LIMIT_SECONDS} s")


if __name__ == "__main__":
    main()
