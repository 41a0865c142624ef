"""How long a preview without a change takes, for 5, 100 and 1,000 ConfigMaps: `python -m benchmarks.config_maps`.

The real CLI, the stand-in plugins and a real API server, all on this machine. Beside it stands what was measured with
the official plugins: CLI 3.255.0 and the Kubernetes provider of April 2026, on two cores, against a real API server.
On a machine that others use too, the CPU seconds say more than the wall clock.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks._processes import Usage, measure
from plugins import installation
from toolchain import gobuild
from toolchain.paths import REPOSITORY

sys.path.append(str(REPOSITORY / "tests" / "plugins"))
from api_server import api_server  # the conformance tests' own, which lies in no package

COUNTS = (5, 100, 1000)
OFFICIAL_SECONDS = {5: 2.7, 100: 3.5, 1000: 11.9}
"""Preview of 5, 104 and 1,004 unchanged objects with the official plugins, in all."""
FACTOR = 1.5
"""How much longer than the official plugins a preview may take."""
PLUGIN_MIB = 150.0
"""How much memory a plugin may take."""

PROGRAM = """import pulumi
import pulumi_kubernetes as k8s

for index in range(pulumi.Config().require_int("count")):
    k8s.core.v1.ConfigMap(f"map-{index}", metadata={"name": f"map-{index}"}, data={"index": str(index), "a": "b"})
"""


def project(folder: Path, count: int) -> None:
    """Write a project whose stack `dev` has `count` ConfigMaps."""
    runtime = {"name": "python", "options": {"toolchain": "pip", "virtualenv": sys.prefix}}
    (folder / "Pulumi.yaml").write_text(json.dumps({"name": "benchmark", "runtime": runtime}))
    (folder / "Pulumi.dev.yaml").write_text(json.dumps({"config": {"benchmark:count": count}}))
    (folder / "__main__.py").write_text(PROGRAM)
    (folder / "backend").mkdir()


@contextlib.contextmanager
def kubeconfig(given: Path | None, folder: Path) -> Iterator[Path]:
    """The kubeconfig of the cluster `given`, or of an API server that runs as long as the block."""
    if given is not None:
        yield given
        return
    with api_server(gobuild.build(["kube"])["kube"], folder) as server:
        yield server.kubeconfig


def previews(count: int, runs: int, cluster: Path, folder: Path) -> list[Usage]:
    """Create `count` ConfigMaps, preview them `runs` times without a change, and take them away."""
    project(folder, count)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "KUBE"))},
        "KUBECONFIG": str(cluster),
        "PULUMI_BACKEND_URL": f"file://{folder / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE": "benchmark",
        # The file backend writes the whole state at every step: minutes, of which a preview does nothing.
        "PULUMI_EXPERIMENTAL": "true",
        "PULUMI_SKIP_CHECKPOINTS": "true",
    }
    cli = installation.install() / "bin" / "pulumi"

    def run(*arguments: str) -> Usage:
        return measure([cli, *arguments, "--non-interactive"], cwd=folder, environment=environment)

    run("stack", "init", "dev")
    run("up", "--yes", "--stack", "dev", "--skip-preview", "--suppress-progress")
    try:
        return [run("preview", "--stack", "dev", "--suppress-progress", "--expect-no-changes") for _ in range(runs)]
    finally:
        run("destroy", "--yes", "--stack", "dev", "--skip-preview", "--suppress-progress")


def spread(values: Sequence[float], digits: int = 1) -> str:
    """The median, and the range if there are several."""
    median = f"{statistics.median(values):.{digits}f}"
    return f"{median} ({min(values):.{digits}f}-{max(values):.{digits}f})" if len(values) > 1 else median


def table(found: dict[int, list[Usage]]) -> Table:
    """One row for each number of ConfigMaps."""
    names = sorted({name for runs in found.values() for run in runs for name in run.parts})
    result = Table(title="preview without a change: median (range); CPU in seconds, peak memory in MiB")
    for column in ("ConfigMaps", "seconds", "official", "CPU in all", *names):
        result.add_column(column, justify="right")
    for count, runs in found.items():
        official = OFFICIAL_SECONDS.get(count)
        cells = []
        for name in names:
            parts = [run.parts[name] for run in runs if name in run.parts]
            cpu, memory = [part.cpu_seconds for part in parts], [part.peak_mib for part in parts]
            cells.append(f"{spread(cpu, 2)} / {max(memory):.0f}")
        total = [sum(part.cpu_seconds for part in run.parts.values()) for run in runs]
        seconds = spread([run.seconds for run in runs])
        result.add_row(str(count), seconds, "" if official is None else str(official), spread(total, 2), *cells)
    return result


def findings(found: dict[int, list[Usage]]) -> list[str]:
    """What is over its limit; empty if nothing is."""
    result = []
    for count, runs in found.items():
        official, median = OFFICIAL_SECONDS.get(count), statistics.median(run.seconds for run in runs)
        if official is not None and median > FACTOR * official:
            times = median / official
            result.append(f"{count} ConfigMaps: {median:.1f} s is {times:.1f} times the official {official} s")
        for name in ("kubernetes", "language host"):
            peak = max((run.parts[name].peak_mib for run in runs if name in run.parts), default=0.0)
            if peak > PLUGIN_MIB:
                result.append(f"{count} ConfigMaps: the plugin {name} took {peak:.0f} MiB, over {PLUGIN_MIB:.0f}")
    return result


def main() -> None:
    """Measure, print the table, and end with 1 where a limit is passed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of ConfigMaps")
    parser.add_argument("--runs", type=int, default=5, help="previews of each")
    parser.add_argument("--kubeconfig", type=Path, help="a cluster to use instead of an API server of its own")
    arguments = parser.parse_args()
    found: dict[int, list[Usage]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        (own := Path(temporary, "cluster")).mkdir()
        with kubeconfig(arguments.kubeconfig, own) as cluster:
            for count in arguments.counts:
                (folder := Path(temporary, str(count))).mkdir()
                found[count] = previews(count, arguments.runs, cluster, folder)
                print(f"{count} ConfigMaps measured", file=sys.stderr)
    Console(width=180).print(table(found))
    over = findings(found)
    for line in over:
        print(line)
    sys.exit(1 if over else 0)


if __name__ == "__main__":
    main()
