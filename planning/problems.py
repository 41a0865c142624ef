"""What is wrong with a plan: every problem of every model at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from settings.problems import StackError


class PlanError(StackError):
    """Settings that cannot be followed. `problems` are lines of `path: fact, consequence, repair`."""

    def __init__(self, problems: Iterable[str], lines: Mapping[str, int] | None = None) -> None:
        """`lines`: line in the file by path, where there is a file."""
        super().__init__("The stack cannot be planned,", problems, lines)
