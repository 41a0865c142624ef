"""The real parser of vLLM's release, started once for all tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from vllm_source import vllm_source

from toolchain.paths import REPOSITORY

sys.path.append(str(REPOSITORY / "tests/unit"))  # small stacks, which this suite runs through the parser

# As for the unit tests: the same examples each time, others by `make fuzz`.
hypothesis.settings.register_profile("contract", deadline=None, derandomize=True)
hypothesis.settings.register_profile("search", deadline=None)
hypothesis.settings.load_profile("contract")


class RealParser:
    """Asks vLLM's own parser, which runs as a program of its own."""

    def __init__(self, program: subprocess.Popen[str]) -> None:
        self._program = program

    def refusal(self, arguments: Sequence[str]) -> str | None:
        """Why `vllm serve` would not take `arguments`; None where it would."""
        answer = self._ask(list(arguments))
        assert answer is None or isinstance(answer, str)
        return answer

    def describe(self) -> dict[str, Any]:
        """What the release accepts, in the form of planning/vllm_release.json."""
        answer = self._ask("describe")
        assert isinstance(answer, dict)
        return answer

    def literals(self) -> dict[str, list[str]]:
        """Words that the engine takes where the parser takes any, by the name of their type."""
        answer = self._ask("literals")
        assert isinstance(answer, dict)
        return answer

    def _ask(self, question: object) -> Any:
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        self._program.stdin.write(json.dumps(question) + "\n")
        self._program.stdin.flush()
        line = self._program.stdout.readline()
        assert line, "vLLM's parser has ended; what it said stands above"
        return json.loads(line)


@pytest.fixture(scope="session")
def parser() -> Iterator[RealParser]:
    """The parser, ready to be asked."""
    source, packages = vllm_source()
    command = [sys.executable, str(Path(__file__).with_name("vllm_parser.py")), str(source), str(packages)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        yield RealParser(program)
        assert program.stdin is not None
        program.stdin.close()
