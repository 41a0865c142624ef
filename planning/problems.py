"""What is wrong with a plan: every problem of every model at once."""

from __future__ import annotations

from collections.abc import Sequence


class PlanError(Exception):
    """Settings that cannot be followed. `problems` are lines of `path: fact, consequence, repair`."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__(
            "\n".join([f"The stack cannot be planned, {count}:", *(f"  {line}" for line in self.problems)])
        )
