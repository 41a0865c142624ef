"""extraArgs: whatever is written, it becomes an argument or a problem, and never both or neither."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from planning.vllm_flags import extra_arguments
from planning.vllm_release import release

NAMES = st.sampled_from(sorted(release().names)) | st.text(max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def made(flags: dict[str, JsonValue], *, known: bool = True) -> tuple[list[str], list[str]]:
    problems: list[str] = []
    found = extra_arguments("x", flags, release() if known else None, problems=problems, warnings=[])
    return found, problems


@given(NAMES, VALUES, st.booleans())
def test_a_flag_becomes_an_argument_or_one_problem(name: str, value: JsonValue, known: bool) -> None:
    arguments, problems = made({name: value}, known=known)
    assert bool(arguments) != bool(problems)
    assert len(problems) <= 1
    assert all(told.startswith(f"x.{name}: ") for told in problems)


@given(st.sampled_from(sorted(release().flags)), VALUES)
def test_what_is_taken_is_one_word_that_names_its_flag_exactly(name: str, value: JsonValue) -> None:
    arguments, problems = made({name: value})
    if not problems:
        option, *rest = arguments
        assert release().names[option.partition("=")[0].removeprefix("--")] == name
        assert not rest or release().flags[name].many
        assert not any(word.startswith("-") for word in rest)


@given(st.dictionaries(st.sampled_from(sorted(release().flags)), VALUES, max_size=6))
def test_every_problem_of_every_flag_is_told_at_once(flags: dict[str, JsonValue]) -> None:
    alone = [told for name, value in flags.items() for told in made({name: value})[1]]
    assert made(flags)[1] == alone


@given(st.dictionaries(st.text(), st.integers() | st.text(), max_size=3))
def test_a_mapping_is_written_as_json(value: dict[str, JsonValue]) -> None:
    [argument], _ = made({"limit-mm-per-prompt": value})
    assert json.loads(argument.partition("=")[2]) == value


def test_of_another_release_the_form_of_the_value_decides() -> None:
    flags: dict[str, JsonValue] = {"a": True, "b": False, "c": 3, "d": ["x", "y"], "e": {"f": 1}, "g": "h"}
    assert made(flags, known=False) == (["--a", "--no-b", "--c=3", "--d", "x", "y", '--e={"f":1}', "--g=h"], [])


def test_of_another_release_too_the_plan_sets_what_is_the_plans() -> None:
    assert made({"port": 1, "ssl-keyfile": "x", "max-model-len": 1}, known=False)[0] == []
