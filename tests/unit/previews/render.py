"""Writes what the report says of each recorded preview, and the example in docs/."""

from __future__ import annotations

from pathlib import Path

from cli.report import report

FOLDER = Path(__file__).parent
EXAMPLE = FOLDER.parents[2] / "docs" / "preview-comment.md"
CASES = sorted(file.stem for file in FOLDER.glob("*.json"))


def rendered(case: str) -> str:
    """The comment for one of them."""
    log, stack_file = FOLDER / f"{case}.events.jsonl", FOLDER / f"{case}.yaml"
    return report(
        FOLDER / f"{case}.json",
        policy_log=log if log.exists() else None,
        stack_file=stack_file if stack_file.exists() else None,
    )


def example() -> str:
    """The page in docs/: what a reviewer reads under a pull request."""
    return (
        "<!-- Made by tests/unit/previews/render.py from a recorded preview; not to be edited. -->\n"
        "*An example: the comment under a pull request that changes a model's profile and image, and the system prompt "
        "of another.*\n\n" + rendered("refused")
    )


if __name__ == "__main__":
    for case in CASES:
        (FOLDER / f"{case}.md").write_text(rendered(case))
    EXAMPLE.write_text(example())
