"""The flags that extraArgs may hold: what an engine's own parser would refuse is told, and nothing that it takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from planning import llamacpp_flags, tgi
from planning.engine_flags import Argument, FlagTable, Value, extra_arguments, flag_table

LLAMA, TGI = flag_table("llama-server"), flag_table("text-generation-launcher")
PATH = "models.small.extraArgs"


def told(table: FlagTable, **flags: Value) -> tuple[list[str], list[str]]:
    """Words that are written, and problems, for `flags` with `_` for '-'."""
    problems: list[str] = []
    asked = {name.replace("_", "-"): value for name, value in flags.items()}
    found = extra_arguments(
        PATH, asked, table, settings={"--ctx-size": "Write contextLength instead."}, refused={}, problems=problems
    )
    return [word for a in found for word in (a.name, a.value) if word is not None], problems


@pytest.mark.parametrize("table", [LLAMA, TGI], ids=lambda table: table.engine)
def test_no_two_flags_have_a_name_in_common(table: FlagTable) -> None:
    names = [name for flag in table.flags for name in flag.names]
    assert len(names) == len(set(names)) > 50


@pytest.mark.parametrize(
    ("table", "named"),
    [
        (LLAMA, {**llamacpp_flags.SETTINGS, **llamacpp_flags.REFUSED}),
        (TGI, {**tgi.SETTINGS, **tgi.REFUSED}),
    ],
    ids=["llama-server", "tgi"],
)
def test_what_may_not_be_set_is_a_flag_by_its_first_name(table: FlagTable, named: dict[str, str]) -> None:
    """Under another name it would be looked up in vain, and so could be set."""
    assert set(named) <= {flag.names[0] for flag in table.flags}


def test_values_and_switches_are_written_as_the_engine_takes_them() -> None:
    words, problems = told(LLAMA, cache_reuse=256, warmup=False, swa_full=True, temp=0.7, rope_scaling="yarn")
    assert problems == []
    assert words == ["--cache-reuse", "256", "--no-warmup", "--swa-full", "--temp", "0.7", "--rope-scaling", "yarn"]


def test_the_negation_of_a_switch_is_a_switch_of_its_own() -> None:
    assert told(LLAMA, no_warmup=True) == (["--no-warmup"], [])
    assert told(LLAMA, no_warmup=False) == (["--warmup"], [])


@pytest.mark.parametrize(
    ("flags", "problem"),
    [
        ({"cache_reus": 1}, "--cache-reus, so it would refuse to start; did you mean 'cache-reuse'?"),
        ({"draft_max": 4}, "--draft-max is gone, so llama-server b10434 would refuse to start. Write --spec-draft-n"),
        ({"version": True}, "--version prints something and ends, so nothing would be served. Take it out."),
        ({"ctx_size": 4096}, "--ctx-size is written by the plan, which would not know of this. Write contextLength"),
        ({"cache_reuse": "many"}, "'many' is not a whole number, as --cache-reuse takes it."),
        ({"temp": "hot"}, "'hot' is not a number, as --temp takes it."),
        ({"cache_reuse": True}, "--cache-reuse takes a value, got true. Write the value."),
        ({"warmup": 1}, "--warmup takes no value, got 1. Write true or false."),
        ({"swa_full": False}, "--swa-full can only be switched on, and is off by default. Take it out."),
        ({"rope_scaling": "yarm"}, "'yarm' is not one of none, linear, yarn; did you mean 'yarn'?"),
        ({"samplers": ""}, "is empty, and --samplers takes a value."),
        ({"warmup": True, "no_warmup": True}, "is the same flag as 'warmup', and the last would hold. Keep one"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_engine_would_refuse_is_told_with_its_path(flags: dict[str, Value], problem: str) -> None:
    words, [line] = told(LLAMA, **flags)
    key = list(flags)[-1].replace("_", "-")
    assert line.startswith(f"{PATH}.{key}: ")
    assert problem in line
    assert f"--{key}" not in words


_NAMES = st.sampled_from(sorted(name.removeprefix("--") for name in LLAMA.by_name if name.startswith("--")))
_VALUES = (
    st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.sampled_from(["on", "q8_0", "7", "", "a,b", "none"])
)


@given(st.dictionaries(_NAMES | st.from_regex(r"[a-z][a-z-]{0,9}", fullmatch=True), _VALUES, max_size=6))
def test_every_flag_is_either_written_or_told(asked: dict[str, Value]) -> None:
    problems: list[str] = []
    found: tuple[Argument, ...] = extra_arguments(PATH, asked, LLAMA, settings={}, refused={}, problems=problems)
    assert len(found) + len(problems) == len(asked)
    for argument in found:
        flag = LLAMA.by_name[argument.name]
        assert (argument.value is None) == (flag.kind == "switch")
        assert not flag.choices or argument.value in flag.choices
