"""What the pack says of the manifests in manifests/, as their expected/ files have it.

After a rule has changed: `PYTHONPATH=.:policies python tests/unit/described_manifests.py` writes them anew; read the
difference before it is committed.
"""

from __future__ import annotations

import datetime
import sys
from pathlib import Path

from llm_policies.environment import Environment
from llm_policies.pack import RULES

from cli.manifests import read
from cli.policy_check import check

FOLDER = Path(__file__).parent / "manifests"
TODAY = datetime.date(2026, 11, 21)


def described(file: Path) -> list[str]:
    """A line for each finding: weight, line, rule, object; then the kinds that were passed over."""
    checked = check(read([str(file)], sys.stdin.buffer), RULES, Environment(), today=TODAY)
    assert checked.unreadable == []
    found = [f"{one.weight} {one.line} {one.finding.rule.name} {one.finding.item.id}" for one in checked.findings]
    return [*found, *(f"passed over {kind}" for kind in checked.passed_over)]


if __name__ == "__main__":
    for manifest in sorted(FOLDER.glob("*.yaml")):
        lines = "".join(f"{line}\n" for line in described(manifest))
        (FOLDER / "expected" / f"{manifest.stem}.txt").write_text(lines)
