"""Writes planning/vllm_release.json anew, from the parser of the release that vllm-source.txt pins."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
sys.path.insert(0, str(FOLDER.parents[1]))

from vllm_source import vllm_source  # noqa: E402  # found by the line above

from planning.vllm_release import FILE  # noqa: E402  # found by the line above


def written(version: str, described: Mapping[str, Any]) -> str:
    """The file, with a line for each flag."""
    flags = ",\n".join(f"  {json.dumps(name)}: {json.dumps(flag)}" for name, flag in described["flags"].items())
    parts = [f' "vllm": {json.dumps(version)}', f' "flags": {{\n{flags}\n }}']
    for key in ("toolCallParsers", "reasoningParsers", "attentionBackends", "environment"):
        words = textwrap.fill(
            ", ".join(map(json.dumps, described[key])),
            width=118,
            initial_indent="  ",
            subsequent_indent="  ",
            break_long_words=False,
        )
        parts.append(f" {json.dumps(key)}: [\n{words}\n ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    """Ask the parser, and write what it says."""
    version = (FOLDER / "vllm-source.txt").read_text().split()[0].partition("==")[2]
    command = [sys.executable, str(FOLDER / "vllm_parser.py"), *map(str, vllm_source())]
    answer = subprocess.run(command, input='"describe"\n', stdout=subprocess.PIPE, text=True, check=True).stdout
    FILE.write_text(written(version, json.loads(answer)))


if __name__ == "__main__":
    main()
