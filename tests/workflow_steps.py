"""Runs the `run:` steps of GitHub's workflows as they are written, with a stand-in for what only GitHub has."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from toolchain.paths import REPOSITORY

FOLDER = REPOSITORY / ".github" / "workflows"

_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")

# Takes the place of GitHub's CLI: writes down how it was called, and answers from files.
_GH = """\
#!/bin/sh
{
  printf '<call>\\n'
  for word in "$@"; do printf '%s\\n' "$word"; done
} >> "$GH_CALLS"
case "$*" in
  *artifacts*) cat "$GH_ANSWERS/run" 2>/dev/null ;;
  *--paginate*) cat "$GH_ANSWERS/comments" 2>/dev/null ;;
  "run download"*)
    while [ "$1" != --dir ]; do shift; done
    mkdir -p "$2" && cp "$GH_ANSWERS/plan.json" "$2/plan.json" ;;
esac
exit 0
"""


def workflow(name: str) -> dict[str, Any]:
    """A workflow as YAML 1.2 has it: PyYAML takes the key `on` for a truth."""
    document: dict[Any, Any] = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    document["on"] = document.pop(True)
    return document


@dataclass
class Runner:
    """A machine on which the steps of one job run one after another.

    Args:
        folder: the checkout.
        temp: RUNNER_TEMP, and files of this class.
        values: what the expressions stand for, e.g. `{"secrets.KUBECONFIG": "..."}`.
        environment: of the process, where tests want more than their own.
    """

    folder: Path
    temp: Path
    values: Mapping[str, str]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("bin", "answers"):
            (self.temp / name).mkdir(parents=True, exist_ok=True)
        (self.temp / "bin" / "gh").write_text(_GH)
        (self.temp / "bin" / "gh").chmod(0o755)
        for name in ("output", "env", "summary", "calls"):
            (self.temp / name).touch()

    def run(self, workflow_name: str, job: str, step: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one step by its name; what earlier ones wrote to GITHUB_ENV holds for it."""
        document = workflow(workflow_name)
        steps = [s for s in document["jobs"][job]["steps"] if s.get("name") == step]
        assert len(steps) == 1, f"{workflow_name}.yaml, job {job}: {len(steps)} steps are called {step!r}"
        assert document["defaults"]["run"]["shell"] == "bash", "GitHub would run another shell than this"
        declared = {**document["jobs"][job].get("env", {}), **steps[0].get("env", {})}
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", steps[0]["run"]],  # as GitHub's `shell: bash`
            cwd=self.folder,
            env={
                **os.environ,
                **self.environment,
                "PATH": f"{self.temp / 'bin'}:{os.environ['PATH']}",
                "GH_CALLS": str(self.temp / "calls"),
                "GH_ANSWERS": str(self.temp / "answers"),
                "GITHUB_REPOSITORY": "owner/llm",
                "GITHUB_SERVER_URL": "https://github.com",
                "GITHUB_OUTPUT": str(self.temp / "output"),
                "GITHUB_ENV": str(self.temp / "env"),
                "GITHUB_STEP_SUMMARY": str(self.temp / "summary"),
                "RUNNER_TEMP": str(self.temp),
                **{name: self._evaluated(value) for name, value in declared.items()},
                **_pairs(self.temp / "env"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    @property
    def outputs(self) -> dict[str, str]:
        """What the steps have written to GITHUB_OUTPUT."""
        return _pairs(self.temp / "output")

    @property
    def gh_calls(self) -> list[list[str]]:
        """The words of every call of `gh`; an argument of several lines is several words."""
        return [call.splitlines() for call in (self.temp / "calls").read_text().split("<call>\n")[1:]]

    def _evaluated(self, value: object) -> str:
        return _EXPRESSION.sub(lambda found: self.values[found[1]], str(value))


def _pairs(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text().splitlines())
