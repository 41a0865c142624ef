"""The real promtool: what it says of a configuration, of rules and of queries."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

from planning.prometheus import ALERTS_FILE, CONFIG_FOLDER
from toolchain import gobuild

_KEYWORDS = {"by", "without", "on", "ignoring", "group_left", "group_right", "or", "and", "unless", "bool", "offset"}


@functools.cache
def _program() -> Path:
    return gobuild.build(["promtool"])["promtool"]


def run(folder: Path, *arguments: str) -> str:
    """What promtool prints in `folder`; a failure is the test's, with what it said."""
    done = subprocess.run([str(_program()), *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_config(folder: Path, config: str, alerts: str) -> None:
    """Fail unless Prometheus would start with these files."""
    (folder / ALERTS_FILE).write_text(alerts)
    (folder / "prometheus.yml").write_text(config.replace(CONFIG_FOLDER, str(folder)))
    said = run(folder, "check", "config", "prometheus.yml")
    assert "1 rule files found" in said, said


def check_queries(folder: Path, queries: list[str]) -> None:
    """Fail unless Prometheus' parser takes each query."""
    rules = [{"record": f"query_{number}", "expr": query} for number, query in enumerate(queries)]
    (folder / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert f"{len(queries)} rules found" in run(folder, "check", "rules", "queries.yml")


def run_rule_tests(folder: Path, alerts: str, tests: list[dict[str, Any]]) -> None:
    """Fail unless the alerts do what `tests` say, in promtool's own format."""
    (folder / ALERTS_FILE).write_text(alerts)
    document = {"rule_files": [ALERTS_FILE], "evaluation_interval": "15s", "tests": tests}
    (folder / "tests.yml").write_text(yaml.safe_dump(document))
    run(folder, "test", "rules", "tests.yml")


def metrics_of(query: str) -> set[str]:
    """Names of the series that `query` reads."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\"[^\"]*\"", " ", query)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"(?<![\w.:])([a-zA-Z_:][\w:]*)\b(?!\s*\()", bare)
    return set(names) - _KEYWORDS
