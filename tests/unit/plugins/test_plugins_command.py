"""Commands: what is run, with which input and environment, and what becomes of its output."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from plugins._engine import Engine, Status
from plugins._provider import Failure
from plugins._values import UNKNOWN, Secret
from plugins.command.local import execute
from plugins.command.process import CommandFailed, run
from plugins.command.properties import COMMAND, RUN, environment, problems


def execute_quietly(command: str, before: dict[str, Any] | None = None, **properties: Any) -> dict[str, Any]:
    status = Status(Engine(""), "")
    return execute(command, properties, before or {}, status=status, cancelled=threading.Event())


def test_output_comes_back_without_its_last_lines_end() -> None:
    assert execute_quietly("echo out; echo; echo err >&2") == {"stdout": "out\n", "stderr": "err"}


def test_input_environment_folder_and_interpreter_are_as_asked(tmp_path: Path) -> None:
    written = execute_quietly('cat; printf "%s %s" "$A" "$PWD"', stdin="in ", environment={"A": "b"}, dir=str(tmp_path))
    assert written["stdout"] == f"in b {tmp_path}"
    assert execute_quietly("print(1)", interpreter=["python3", "-c"])["stdout"] == "1"


def test_the_last_runs_output_is_in_the_environment_unless_switched_off() -> None:
    before = {"stdout": Secret("made"), "stderr": ""}
    show = 'printf %s "$PULUMI_COMMAND_STDOUT"'
    assert execute_quietly(show, before)["stdout"] == "made"
    assert execute_quietly(show, before, addPreviousOutputInEnv=False)["stdout"] == ""


def test_output_is_plain_whatever_the_inputs_are() -> None:
    written = execute_quietly("cat; echo $A", stdin=Secret("s"), environment={"A": Secret("e")}, assetPaths=["no"])
    assert written == {"stdout": "se", "stderr": "", "assets": {}}


@pytest.mark.parametrize(
    "command", ["sleep 60 & sleep 61", "setsid sleep 8 & sleep 9"], ids=["in its group", "in a session of its own"]
)
def test_a_command_that_takes_too_long_is_ended_and_nothing_that_it_has_started_is_waited_for(command: str) -> None:
    start = time.monotonic()
    with pytest.raises(CommandFailed, match=rf'^ended after 0\.5 s, the limit of customTimeouts: running "{command}'):
        run(
            command,
            interpreter=[],
            folder=None,
            environment={},
            stdin="",
            on_line={},
            cancelled=threading.Event(),
            seconds=0.5,
        )
    assert time.monotonic() - start < 5


def test_a_failure_tells_the_code_the_command_and_all_it_wrote() -> None:
    with pytest.raises(Failure) as caught:
        execute_quietly("echo out; exit 3")
    assert str(caught.value) == 'exit status 3: running "echo out; exit 3":\nout\n'


@pytest.mark.parametrize("inputs", [{"environment": {"A": "\0"}}, {"environment": {"A=B": "x"}}])
def test_what_no_process_can_be_given_is_a_failure_of_the_command(inputs: dict[str, Any]) -> None:
    with pytest.raises(Failure, match='running "true"'):
        execute_quietly("true", **inputs)


def test_a_folder_that_is_not_there_is_said() -> None:
    with pytest.raises(Failure, match="/no/such/folder"):
        execute_quietly("true", dir="/no/such/folder")


def test_a_cancelled_command_takes_along_what_it_has_started_even_if_that_does_not_listen(tmp_path: Path) -> None:
    cancelled = threading.Event()
    threading.Timer(0.3, cancelled.set).start()
    start = time.monotonic()
    with pytest.raises(CommandFailed, match=r"^cancelled"):
        run(
            f"trap '' TERM; (sleep 3; touch {tmp_path}/late) & sleep 60",
            interpreter=[],
            folder=None,
            environment={},
            stdin="",
            on_line={},
            cancelled=cancelled,
        )
    assert time.monotonic() - start < 3
    time.sleep(max(0.0, 3.5 - (time.monotonic() - start)))
    assert not (tmp_path / "late").exists()


def test_lines_are_shown_as_they_come_by_stream() -> None:
    lines: dict[str, list[str]] = {"stdout": [], "stderr": []}
    run(
        "echo a; echo b >&2",
        interpreter=[],
        folder=None,
        environment={},
        stdin="",
        on_line={name: said.append for name, said in lines.items()},
        cancelled=threading.Event(),
    )
    assert lines == {"stdout": ["a"], "stderr": ["b"]}


def test_properties_that_are_not_there_or_of_another_type_are_said() -> None:
    assert [name for name, _ in problems(COMMAND, {"creat": "x", "dir": 1, "triggers": [1], "create": UNKNOWN})] == [
        "creat",
        "dir",
    ]
    assert [name for name, _ in problems(COMMAND, {"logging": "loud"})] == ["logging"]
    assert [name for name, _ in problems(RUN, {})] == ["command"]


@pytest.mark.parametrize("value", [[1], ["*", None, True]])
@pytest.mark.parametrize("name", ["interpreter", "assetPaths", "archivePaths"])
def test_what_is_in_a_list_of_strings_is_one(name: str, value: list[Any]) -> None:
    assert [path for path, _ in problems(COMMAND, {name: value})] == [f"{name}[{len(value) - 1}]"]


def test_variables_are_strings_or_left_out() -> None:
    given = {"environment": {"A": Secret("a"), "B": None, "C": UNKNOWN, "D": 1}}
    assert problems(COMMAND, given) == [("environment.D", "environment.D must be a string")]
    assert environment({"environment": {"A": "a", "B": None}}) == {"A": "a"}
