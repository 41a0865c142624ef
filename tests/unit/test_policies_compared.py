"""The page that compares the pack with others counts what the pack finds today."""

from __future__ import annotations

import re

import pytest
from described_manifests import FOLDER

from toolchain.paths import REPOSITORY

PAGE = (REPOSITORY / "docs" / "policies-compared.md").read_text()
ROWS = {row[1]: row[2] for row in re.finditer(r"^\| ([a-z-]+)[^|]* \| (\d[^|]*?) \|", PAGE, re.MULTILINE)}


def counted(name: str) -> str:
    lines = (FOLDER / "expected" / f"{name}.txt").read_text().splitlines()
    weights = [line.partition(" ")[0] for line in lines]
    found = [weights.count(weight) for weight in ("error", "warning", "excepted")]
    if not any(found):
        return "0, passed over by name" if "passed" in weights else "0"
    return " + ".join(map(str, found))


@pytest.mark.parametrize("name", sorted(file.stem for file in FOLDER.glob("*.yaml")))
def test_the_table_counts_what_is_found_in_each_manifest(name: str) -> None:
    assert ROWS[name] == counted(name)
