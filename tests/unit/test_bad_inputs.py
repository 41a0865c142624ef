"""Mistakes that people make come back at the preview: all at once, each with path, value, consequence and repair."""

from __future__ import annotations

import contextvars
import json
import runpy
from pathlib import Path

import pulumi
import pytest
import yaml
from on_mocks import Raw, Recorder, event_loop
from pulumi.runtime.mocks import set_mocks

from planning.plan import plan_source
from settings.loader import PROJECT
from settings.problems import StackError
from settings.stack_file import read_source
from toolchain.paths import REPOSITORY

CASES: list[Raw] = yaml.safe_load(Path(__file__).with_name("bad_inputs.yaml").read_text())
_ABOUT = {"id", "path", "says", "warns"}


def stack(case: Raw) -> Raw:
    """The stack file of a case, by top-level key."""
    smallest: Raw = {"nodes": {"a": {"gpus": {"model": "rtx-4090"}}}}
    if "ingress" not in case:
        smallest["security"] = {"clientNamespaces": ["apps"]}
    return smallest | {key: value for key, value in case.items() if key not in _ABOUT}


def told(raw: Raw, folder: Path) -> list[str]:
    """All problems of a stack file with `raw`, or the warnings of its plan."""
    file = folder / "Pulumi.test.yaml"
    config = {f"{PROJECT}:{key}": value for key, value in raw.items()}
    file.write_text(yaml.safe_dump({"config": config}, allow_unicode=True))
    try:
        return list(plan_source(read_source(file)).warnings)
    except StackError as error:
        return list(error.problems)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_mistake_is_told_where_it_is_with_its_repair(case: Raw, tmp_path: Path) -> None:
    found = [line for line in told(stack(case), tmp_path) if line.startswith(f"{case['path']}: ")]
    assert any(all(text in line for text in case["says"]) for line in found), told(stack(case), tmp_path)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_mistake_alone_is_one_problem(case: Raw, tmp_path: Path) -> None:
    """What follows from it is not told as well: that would be another thing to repair."""
    assert len(told(stack(case), tmp_path)) == 1


def test_the_mistakes_of_all_models_come_at_once(tmp_path: Path) -> None:
    """One model for each case, in one file with all of their GPUs."""
    alone = [case for case in CASES if set(case) - _ABOUT == {"models"} and not case.get("warns")]
    alone = [case for case in alone if isinstance(case["models"], dict) and set(case["models"]) == {"chat"}]
    assert len(alone) > 10
    nodes = {"a": {"gpus": {"model": "rtx-4090", "count": 16}}, "b": {"gpus": {"model": "rtx-4090", "count": 16}}}
    raw: Raw = {"nodes": nodes, "models": {f"m{n}": case["models"]["chat"] for n, case in enumerate(alone)}}
    found = told(raw, tmp_path)
    for n, case in enumerate(alone):
        path = case["path"].replace("models.chat", f"models.m{n}")
        assert any(line.startswith(f"{path}: ") for line in found), f"{case['id']} is not among {found}"


def test_nothing_is_registered_of_a_stack_with_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The program as Pulumi runs it ends with the message; what a preview would show is empty."""
    raw = stack(CASES[1])
    monkeypatch.chdir(tmp_path)
    recorder = Recorder()

    def program() -> None:
        set_mocks(recorder.mocks, project=PROJECT, stack="test", preview=True, monitor=recorder)
        pulumi.runtime.set_all_config({f"{PROJECT}:{key}": json.dumps(value) for key, value in raw.items()})
        runpy.run_path(str(REPOSITORY / "__main__.py"), run_name="__main__")

    with (
        event_loop(),
        pytest.raises(pulumi.RunError, match=r"^Pulumi\.test\.yaml has 1 problem:\n  models\.chat\.gpus: "),
    ):
        contextvars.copy_context().run(program)
    assert recorder.seen == []
