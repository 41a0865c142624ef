"""How long it takes, and how much memory, to plan a thousand models: `python -m benchmarks.plan`.

Each stack is planned in a process of its own, from the stack file on: reading, settings, placement, plan. `plain` is
many servers of a few models on nodes of one kind, `mixed` as many on three kinds of nodes, of which each model is tried
on each, `distinct` the same with no two servers alike, so that nothing is tried once for several, and `full` a pool
that is too small, with a problem for each server that finds no place.

CPU time, since other work of the machine is not the plan's. On 2 cores with Python 3.11 at a load of 4, which makes
each CPU second worth less (at a load of 9 `distinct` took 1.26 s):

    plain     0.53 s   63 MiB
    mixed     0.66 s   64 MiB
    distinct  0.89 s   65 MiB
    full      0.60 s   61 MiB

Imports, which come before, are not counted. Limits: a second and 200 MiB.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from planning.plan import plan_source
from settings.problems import StackError
from settings.stack_file import read_source
from toolchain.paths import REPOSITORY

SECONDS = {"plain": 1.0, "mixed": 1.0, "distinct": 1.0, "full": 1.0}
"""By stack."""

MIB = 200


def stack(kind: str, count: int) -> dict[str, object]:
    """A stack of `count` models: three in four of vLLM, one in four of Ollama."""
    gpus = ["a100-80gb"] if kind in ("plain", "full") else ["a100-80gb", "rtx-4090", "l40s"]
    nodes = {
        f"n{i}": {"gpus": {"model": gpus[i % len(gpus)], "count": 8}}
        for i in range(count // (10 if kind == "full" else 6))
    }
    models: dict[str, object] = {}
    for i in range(count):
        if i % 4 == 0:
            models[f"m{i}"] = {"engine": "ollama", "pull": ["qwen3:4b"]}
        else:
            models[f"m{i}"] = {"engine": "vllm", "model": "Qwen/Qwen2.5-7B-Instruct-AWQ", "maxModelLen": 4096}
        if kind == "distinct":
            models[f"m{i}"] |= {"contextLength" if i % 4 == 0 else "maxModelLen": 2048 + i}  # type: ignore[operator]  # both are mappings
    routes = {f"/v1/m{i}": f"m{i}" for i in range(count)}
    ingress = {"host": "llm.example.com", "tls": "selfSigned", "apiKeys": {"team": "generated"}, "routes": routes}
    parts = {"nodes": nodes, "models": models, "ingress": ingress, "monitoring": {}}
    return {"config": {f"llm-serving:{key}": value for key, value in parts.items()}}


def measured(file: Path) -> tuple[float, float]:
    """CPU seconds that planning `file` takes here, and the most resident memory that this process ever had, in MiB."""
    start = time.process_time()
    try:
        plan_source(read_source(file))
    except StackError as error:
        if "find no free GPU" not in error.problems[0]:
            raise
    return time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def runs(file: Path, count: int) -> list[tuple[float, float]]:
    """`count` measurements of `file`, each in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.plan", "--measure", str(file)]
    found = []
    for _ in range(count):
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
        seconds, mib = done.stdout.split()
        found.append((float(seconds), float(mib)))
    return found


def main() -> None:
    """Measure, print the table, and end with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=1000, help="models of each stack")
    parser.add_argument("--runs", type=int, default=5, help="plans of each stack")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(*measured(arguments.measure))
        return
    table = Table("stack", "CPU seconds", "MiB")
    over = []
    with tempfile.TemporaryDirectory() as temporary:
        for kind, limit in SECONDS.items():
            file = Path(temporary, f"Pulumi.{kind}.yaml")
            file.write_text(yaml.safe_dump(stack(kind, arguments.models), sort_keys=False))
            found = runs(file, arguments.runs)
            seconds, mib = (statistics.median(values) for values in zip(*found, strict=True))
            table.add_row(kind, f"{seconds:.2f}", f"{mib:.0f}")
            if seconds > limit or mib > MIB:
                over.append(f"{kind}: {seconds:.2f} s and {mib:.0f} MiB, over {limit} s or {MIB} MiB")
    Console().print(table)
    for line in over:
        print(line)
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
