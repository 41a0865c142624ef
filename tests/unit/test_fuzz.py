"""Whatever stands in a stack file: a plan or a message comes of it, in our own words, never another exception."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import VALUES, mutated, places
from on_mocks import STACK_FILES, Raw
from test_injection import RICH

from planning.plan import plan_source
from settings import wording
from settings.loader import PROJECT
from settings.problems import SettingsError, StackError
from settings.source import Source
from settings.stack_file import read_source

pytestmark = pytest.mark.timeout(300)  # what never ends fails


@pytest.fixture(autouse=True)
def _in_our_own_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mistake falls through to pydantic's own text, which knows neither consequence nor repair."""

    def untold(details: Any, *_: object) -> str:
        raise AssertionError(f"nobody has words for {details['type']}: {details}")

    monkeypatch.setattr(wording, "_as_pydantic_says", untold)


def problems(source: Source) -> list[str]:
    """What is wrong with a source; each problem is told as all are."""
    try:
        plan_source(source)
    except StackError as error:
        for problem in error.problems:
            path, colon, told = problem.partition(": ")
            assert path, f"no path: {problem!r}"
            assert colon, f"no path: {problem!r}"
            assert told, f"nothing but a path: {problem!r}"
            assert "\n" not in problem, f"more than a line: {problem!r}"
            assert len(problem) < 2_000, f"too long to be read: {problem!r}"
        return list(error.problems)
    return []


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(sorted(RICH)))
def test_anything_at_any_place_gives_a_plan_or_a_message(data: st.DataObject, name: str) -> None:
    problems(Source(name="F", raw=mutated(data.draw, RICH[name])))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(raw=st.dictionaries(st.sampled_from(["nodes", "models", "ingress", "monitoring", "storage", "x"]), VALUES))
def test_anything_instead_of_a_stack_gives_a_message(raw: Raw) -> None:
    assert problems(Source(name="F", raw=raw))


EACH_KIND: list[Any] = [None, True, 0, -1, 3, 10**30, 0.5, 1e300, float("nan"), "", "x", "\n", "a b", [], ["x"], {}]
EACH_KIND += [{"secure": "v1:abc"}, {"x": 1}, [[]], "x" * 10_000]


def replaced(raw: Raw) -> Iterator[tuple[str, Raw]]:
    """`raw` with a value of each kind at each of its places."""
    for place in places(raw)[1:]:
        for value in EACH_KIND:
            result = copy.deepcopy(raw)
            holder: Any = result
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = value
            yield f"{place} = {str(value)[:40]!r}", result


@pytest.mark.parametrize("raw", [RICH[file.name] for file in STACK_FILES], ids=[file.name for file in STACK_FILES])
def test_a_value_of_each_kind_at_each_place_of_a_committed_stack_is_told_or_planned(raw: Raw) -> None:
    for what, changed in replaced(raw):
        assert all(len(problem) < 2_000 for problem in Source(name="F", raw=changed).problems()), what


_YAML = st.text(st.characters(codec="utf-8"), max_size=60) | st.lists(
    st.sampled_from(
        [*"{}[]:,&*!|>'\"#%@`-?~ \n\t", "<<: ", "&a ", "*a", "---\n", "config:\n", "  ", "1", f"{PROJECT}:a", "é"]
    )
).map("".join)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=_YAML, below=st.booleans())
def test_any_text_in_a_file_gives_a_plan_or_a_message(tmp_path: Path, text: str, below: bool) -> None:
    file = tmp_path / "Pulumi.test.yaml"
    file.write_bytes((f"config:\n  {PROJECT}:models: {text}\n" if below else text).encode())
    try:
        source = read_source(file)
    except SettingsError:
        return
    assert problems(source)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), name=st.sampled_from(sorted(RICH)))
def test_a_file_says_the_same_as_its_data(tmp_path: Path, data: st.DataObject, name: str) -> None:
    """Through YAML and back the same problems come, with their lines."""
    raw = json.loads(json.dumps(mutated(data.draw, RICH[name])))
    file = tmp_path / "Pulumi.test.yaml"
    config = {f"{PROJECT}:{key}": value for key, value in raw.items()}
    file.write_text(json.dumps({"config": config}, ensure_ascii=True, allow_nan=True))
    if any(word in file.read_text() for word in ("NaN", "Infinity", "\\u")) or any(":" in key for key in raw):
        return  # JSON that is not YAML
    source = read_source(file)
    if not any(isinstance(value, bool | int | float | None) for value in raw.values()):  # texts, when Pulumi gives them
        assert sorted(problems(source)) == sorted(problems(Source(name=source.name, raw=raw)))


def test_values_of_any_length_are_cut_in_messages() -> None:
    long = "x" * 10_000
    model = {"engine": "vllm", "model": long, "shm": long, long: 1, "gpus": [long] * 1000, "profile": long}
    raw: Raw = {"nodes": {"a": {"gpus": {"model": "rtx-4090"}}}, "models": {long: model, "chat": model}}
    with pytest.raises(StackError) as caught:
        plan_source(Source(name="F", raw=raw))
    assert max(map(len, str(caught.value).splitlines())) < 1_600
    assert sum(map(len, caught.value.problems)) < 10_000


def test_of_very_many_problems_the_first_are_shown() -> None:
    raw: Raw = {"nodes": {f"N{n}": {} for n in range(1_000)}, "models": {}}
    with pytest.raises(StackError) as caught:
        plan_source(Source(name="F", raw=raw))
    assert len(str(caught.value).splitlines()) == 102
    assert str(caught.value).splitlines()[-1] == "  ... and 1901 more."
