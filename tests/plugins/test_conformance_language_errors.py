"""What a program says and how it fails, as the real CLI shows it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pulumi import automation
from workspace import Workspace


@pytest.fixture
def workspace(make: Callable[..., Workspace]) -> Workspace:
    """A workspace without a cluster."""
    return make()


def fails(workspace: Workspace, program: str) -> str:
    """All that the CLI shows of a program that must fail."""
    with pytest.raises(automation.CommandError) as caught:
        workspace.program(program).preview()
    return str(caught.value)


def test_standard_output_comes_in_the_order_in_which_it_was_said(workspace: Workspace) -> None:
    said = workspace.program('for i in range(50): print(f"line {i}")\n').preview().output
    places = [said.index(f"line {i}\n") for i in range(50)]
    assert places == sorted(places)


def test_standard_error_comes_among_standard_output_when_it_was_said(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    # Two pipes lead to the CLI, so that only what has a pause between it has an order. Nothing is flushed: Python
    # would keep standard output to the end, and let standard error go ahead.
    program = """
import sys, time
for i in range(5):  # slowly: what is written at once would come in order by chance
    print(f"line {2 * i}")
    time.sleep(0.1)
    print(f"line {2 * i + 1}", file=sys.stderr)
    time.sleep(0.1)
sys.stdout.write("no end of line")
"""
    said = [message for message in workspace.program(program).preview().messages if message.startswith("info")]
    lines = [message.split(": ", 1)[1].strip() for message in said]
    assert [line for line in lines if line.startswith("line")] == [f"line {i}" for i in range(10)]
    assert lines[-1] == "no end of line"
    assert {message.split(":")[0] for message in said} == {"info#err", "info"}


def test_a_run_error_is_shown_without_a_traceback(workspace: Workspace) -> None:
    said = fails(workspace, 'import pulumi\nraise pulumi.RunError("nodes: none. Add one.")\n')
    assert "error: nodes: none. Add one." in said
    assert "Traceback" not in said
    assert "runner.py" not in said


def test_an_exception_is_shown_with_the_programs_own_traceback(workspace: Workspace) -> None:
    said = fails(workspace, 'def broken():\n    raise ValueError("x")\n\nbroken()\n')
    assert "error: Program failed with an unhandled exception:" in said
    assert f'File "{workspace.folder / "__main__.py"}", line 4, in <module>' in said
    assert "ValueError: x" in said
    assert "runner.py" not in said
    assert "non-zero exit code" not in said


def test_an_exception_in_what_is_applied_fails_the_program_too(workspace: Workspace) -> None:
    applied = 'def broken(value):\n    raise ValueError("x")\n\npulumi.Output.from_input(1).apply(broken)\n'
    said = fails(workspace, f"import pulumi\n{applied}")
    # In about half of all runs the SDK loses the program's own lines, with the official runner too.
    assert "error: Program failed with an unhandled exception:" in said
    assert "ValueError: x" in said


def test_a_syntax_error_is_shown_with_its_place(workspace: Workspace) -> None:
    said = fails(workspace, "a = 1\nb = = 2\n")
    assert f'File "{workspace.folder / "__main__.py"}", line 2' in said
    assert "SyntaxError: invalid syntax" in said


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit(3)", "program exited with non-zero exit code: 3"),
        ("import sys; sys.exit('no disk')", "program exited with non-zero exit code: 1"),
        # As the kernel ends a program that takes too much memory.
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
            "program exited with non-zero exit code: -1 (ended by signal 9)",
        ),
    ],
)
def test_a_program_that_ends_itself_is_told_by_its_exit_code(workspace: Workspace, program: str, reason: str) -> None:
    said = fails(workspace, program)
    assert f"error: an unhandled error occurred: {reason}" in said
    assert "no disk" in said or "no disk" not in program


def test_a_program_that_is_not_there_is_said(workspace: Workspace) -> None:
    (workspace.folder / "__main__.py").unlink()
    with pytest.raises(automation.CommandError, match=r"unable to find main python program `__main__\.py`"):
        workspace.preview()
