"""How long `llmctl policy check` takes over many objects, as one List and as documents, and over one large object.

    .venv/bin/python -m benchmarks.policy_check [--servers 100] [--runs 3]

A server is ten objects, as in benchmarks/policies.py, with three findings. What grows faster than its input is seen by
a run with twice the servers: `CPU per object` stays as it is where nothing does. Nothing is limited here.

Seen with 52 rules on two cores that others kept busy (load 4 to 6), medians of CPU seconds with 1,000 and with 5,000 of
each: one List 2.9 and 9.4, documents 2.5 and 7.2, variables of a pod 1.3 and 1.6; of that 1.3 were the start.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.policies import server, spread
from toolchain.paths import REPOSITORY


def objects(servers: int) -> list[dict[str, Any]]:
    """Manifests of servers that break three rules each, one of them over objects together."""
    made = []
    for index in range(servers):
        for token, properties in server(f"chat-{index}"):
            version, _, kind = token.rpartition(":")
            item: dict[str, Any] = {"apiVersion": version.removeprefix("core/"), "kind": kind, **properties}
            if kind == "Deployment":
                [container] = item["spec"]["template"]["spec"]["containers"]
                container["image"] = "vllm/vllm-openai:latest"
                container["env"] = [*container["env"], {"name": "TOKEN", "value": "hunter2hunter2"}]
            if kind == "Service":
                item["spec"] = {**item["spec"], "selector": {"app.kubernetes.io/instance": f"none-{index}"}}
            made.append(item)
    return made


def inputs(servers: int) -> Iterator[tuple[str, int, str]]:
    """What is checked: a name, how many there are, and the manifest."""
    made = objects(servers)
    yield "one List", len(made), yaml.dump({"apiVersion": "v1", "kind": "List", "items": made}, Dumper=_Plain)
    yield "documents", len(made), yaml.dump_all(made, Dumper=_Plain)
    variables = [{"name": f"A{number}_TOKEN", "value": "hunter2hunter2"} for number in range(10 * servers)]
    pod = {"containers": [{"name": "vllm", "image": "vllm/vllm-openai:v0.33.0", "env": variables}]}
    text = yaml.dump({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "chat"}, "spec": pod}, Dumper=_Plain)
    yield "variables of a pod", len(variables), text


class _Plain(yaml.CSafeDumper):
    """Without aliases, as kubectl writes."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Nothing is written as `*id001`."""
        return True


def took(file: Path) -> tuple[float, float]:
    """Seconds of one check on the wall clock, and of CPU."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    command = [sys.executable, "-m", "cli", "policy", "check", str(file), "--fail-on=never"]
    subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - begun, cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=100, help="ten objects each")
    parser.add_argument("--runs", type=int, default=3)
    asked = parser.parse_args()
    table = Table(title="llmctl policy check: seconds, median (range)")
    for column in ("input", "of them", "wall clock", "CPU", "CPU per object, ms"):
        table.add_column(column, justify="left" if column == "input" else "right")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "manifest.yaml")
        file.write_text("apiVersion: v1\nkind: Namespace\nmetadata: {name: llm}\n")
        start = [took(file) for _ in range(asked.runs)]
        least = min(cpu for _, cpu in start)
        table.add_row("nothing", "1", spread([wall for wall, _ in start], 2), spread([cpu for _, cpu in start], 2), "")
        for name, count, text in inputs(asked.servers):
            file.write_text(text)
            runs = [took(file) for _ in range(asked.runs)]
            cpus = [cpu for _, cpu in runs]
            each = [1000 * (cpu - least) / count for cpu in cpus]
            table.add_row(name, str(count), spread([wall for wall, _ in runs], 2), spread(cpus, 2), spread(each, 2))
    Console(width=120).print(table)
    print(f"load of the machine, 1 minute: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
