"""vLLM's own parser takes every command line that the planner makes, and refuses what the planner refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from conftest import RealParser
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import Raw, settings_of
from small_stacks import AWQ, LLAMA_8B, LLAMA_70B, every_stack

from planning.plan import plan
from planning.problems import PlanError
from planning.vllm import VllmPlan
from planning.vllm_flags import _ELSEWHERE, _SETTINGS, GONE, extra_arguments
from planning.vllm_load import RANKS
from planning.vllm_release import FILE, Flag, release
from settings.problems import SettingsError
from settings.vllm import (
    CHECKPOINT_QUANTIZATIONS,
    LOAD_QUANTIZATIONS,
    Dtype,
    KvCacheDtype,
    Profile,
    VllmSettings,
)
from settings.vllm_speculative import SpeculativeMethod
from settings.vllm_structured_outputs import StructuredOutputsSettings

RELEASE = release()


def planned_arguments(raw: Raw) -> list[tuple[str, ...]]:
    """Command lines of the vLLM servers of a stack file."""
    return [server.arguments for server in plan(settings_of(raw)).servers.values() if isinstance(server, VllmPlan)]


def test_what_is_known_of_the_release_is_what_its_parser_says(parser: RealParser) -> None:
    known = json.loads(FILE.read_text())
    assert known.pop("vllm") == Path(__file__).with_name("vllm-source.txt").read_text().split()[0].partition("==")[2]
    assert known == parser.describe()


@every_stack
def test_the_parser_takes_what_is_planned_for_every_stack(parser: RealParser, raw: Raw) -> None:
    assert [(told, words) for words in planned_arguments(raw) if (told := parser.refusal(words))] == []


optional: dict[Any, Any] = {
    "profile": st.sampled_from(get_args(Profile)),
    "maxModelLen": st.integers(128, 8192),
    "maxNumSeqs": st.integers(1, 1024),
    "maxNumBatchedTokens": st.integers(8192, 32768),
    "maxNumQueuedReqs": st.integers(1, 1000),
    "prefixCaching": st.booleans(),
    "chunkedPrefill": st.booleans(),
    "enforceEager": st.booleans(),
    "attentionBackend": st.sampled_from(["FLASH_ATTN", "FLASHINFER", "TRITON_ATTN"]),
    "gpuMemoryUtilization": st.floats(0.5, 0.95),
    "dtype": st.sampled_from(["auto", "bfloat16", "float16"]),
    "kvCacheDtype": st.sampled_from(get_args(KvCacheDtype)),
    "loraAdapters": st.dictionaries(
        st.from_regex(r"\A[A-Za-z0-9][\w./:-]{0,20}\Z").filter(str.isascii),
        st.fixed_dictionaries({"source": st.just("owner/name")}, optional={"rank": st.integers(1, 512)}),
        max_size=3,
    ),
    "speculative": st.fixed_dictionaries(
        {"method": st.just("ngram"), "numSpeculativeTokens": st.integers(1, 8)},
        optional={"promptLookupMax": st.integers(4, 9), "promptLookupMin": st.integers(1, 4)},
    ),
    "structuredOutputs": st.fixed_dictionaries(
        {}, optional={"backend": st.sampled_from(["xgrammar", "guidance"]), "enableInReasoning": st.booleans()}
    ),
    "toolCallParser": st.sampled_from(RELEASE.tool_call_parsers),
    "reasoningParser": st.sampled_from(RELEASE.reasoning_parsers),
    "chatTemplate": st.text(min_size=1).map(lambda text: f"{{% for m in messages %}}{text}{{% endfor %}}"),
    "runner": st.sampled_from(["auto", "generate", "pooling"]),
    "trustRemoteCode": st.booleans(),
    "revision": st.from_regex(r"\A[0-9a-f]{40}\Z"),
    "hfOverrides": st.dictionaries(st.text(), st.integers() | st.text() | st.dictionaries(st.text(), st.floats(0, 9))),
    "seed": st.integers(0, 2**32 - 1),
    "extraEnvironment": st.just({"VLLM_LOGGING_LEVEL": "DEBUG"}),
}


@given(
    st.sampled_from([(AWQ, 1, 1), (LLAMA_8B, 1, 1), (LLAMA_8B, 4, 2), (LLAMA_70B, 8, 1)]),
    st.fixed_dictionaries({}, optional=optional),
)
def test_the_parser_takes_what_is_planned_for_any_settings(
    parser: RealParser, model: tuple[str, int, int], settings: Raw
) -> None:
    name, gpus, stages = model
    chat = {"engine": "vllm", "model": name, "gpus": gpus, "pipelineParallel": stages, **settings}
    raw = {"nodes": {"a": {"gpus": {"model": "h200", "count": 8}}}, "models": {"chat": chat}}
    try:
        [words] = planned_arguments(raw)
    except (SettingsError, PlanError):
        return
    assert parser.refusal(words) is None, words


def test_settings_together_are_planned_and_taken(parser: RealParser) -> None:
    chat: Raw = {
        "engine": "vllm",
        "model": LLAMA_8B,
        "gpus": 4,
        "pipelineParallel": 2,
        "loraAdapters": {"legal": {"source": "owner/name", "rank": 20}, "own": {"source": "/cache/own"}},
        "speculative": {"method": "ngram", "numSpeculativeTokens": 3},
        "structuredOutputs": {"backend": "xgrammar"},
        "toolCallParser": "llama3_json",
        "kvCacheDtype": "fp8",
        "chatTemplate": "{{ messages }}\n$(HOME)",
        "extraArgs": {"max-cudagraph-capture-size": 512, "limit-mm-per-prompt": {"image": 0}},
    }
    [words] = planned_arguments({"nodes": {"a": {"gpus": {"model": "h200", "count": 8}}}, "models": {"chat": chat}})
    assert len(words) > 20
    assert parser.refusal(words) is None


# --- extraArgs: our check and the parser say the same ---

RIGHT: dict[str, list[Any]] = {
    "bool": [True, False],
    "switch": [True],
    "int": [1],
    "float": [0.5, 1],
    "size": [1, "8k", "1.5k", "4K"],
    "sizeOrAuto": [1, "8k", "auto"],
    "json": [{}],
    "mapping": [{}],
    "mappingOrText": [{"a": 1}, "text"],
    "text": ["text"],
}
WRONG: dict[str, list[Any]] = {
    "bool": ["True", 1, "yes"],
    "switch": ["True", 1],
    "int": ["many", 1.5, "8k"],
    "float": ["90%", "half"],
    "size": ["8x", "1.5K", "auto"],
    "sizeOrAuto": ["8x", "max"],
    "json": ["{", "text"],
    "mapping": ["{", "text", [1]],
    "mappingOrText": [],
    "text": [],
}
NEED_OTHERS = {
    "enable-log-outputs": {"enable-log-requests": True},
}
"""Flags that vLLM takes beside others alone."""


def owned(name: str) -> bool:
    """Whether the flag is another setting's or the plan's."""
    return name in _SETTINGS or any(name == key or (key.endswith("-") and name.startswith(key)) for key in _ELSEWHERE)


FREE = {name: flag for name, flag in RELEASE.flags.items() if not owned(name)}


def checked(flags: Raw) -> tuple[list[str], list[str]]:
    """Arguments and problems that our check makes of `flags`."""
    problems: list[str] = []
    return extra_arguments("extraArgs", flags, RELEASE, problems=problems, warnings=[]), problems


def right_values(flag: Flag) -> list[Any]:
    """Values that the flag takes."""
    values = list(flag.choices) or RIGHT[flag.kind]
    return [*values, values[:2]] if flag.many else values


@pytest.mark.parametrize("name", FREE)
def test_a_right_value_is_right_to_both(parser: RealParser, name: str) -> None:
    for value in right_values(FREE[name]):
        arguments, problems = checked({name: value, **NEED_OTHERS.get(name, {})})
        assert problems == []
        assert parser.refusal(["m", *arguments]) is None, arguments


@pytest.mark.parametrize("name", [name for name, flag in FREE.items() if WRONG[flag.kind] or flag.choices])
def test_a_wrong_value_is_wrong_to_both(parser: RealParser, name: str) -> None:
    flag = FREE[name]
    for value in WRONG[flag.kind] + (["no-such-choice"] if flag.choices else []):
        assert checked({name: value})[1], f"{value!r} is taken by our check"
        written = json.dumps(value) if isinstance(value, list) else str(value)
        assert parser.refusal(["m", f"--{name}={written}"]), f"{written} is taken by vLLM"


@pytest.mark.parametrize("name", GONE)
def test_a_flag_that_is_gone_is_gone_from_vllm(parser: RealParser, name: str) -> None:
    assert name not in RELEASE.names
    assert GONE[name] in checked({name: 1})[1][0]
    assert parser.refusal(["m", f"--{name}=1"])


@pytest.mark.parametrize("name", [*_SETTINGS, *(name for name in _ELSEWHERE if not name.endswith("-"))])
def test_a_flag_that_is_set_elsewhere_is_one_of_vllms(name: str) -> None:
    assert name in RELEASE.flags
    assert checked({name: 1})[1]


@given(st.from_regex(r"\A[a-z]+(-[a-z]+){0,3}\Z").filter(lambda name: name not in RELEASE.names))
def test_an_unknown_flag_is_unknown_to_both(parser: RealParser, name: str) -> None:
    assert checked({name: "1"})[1]
    assert parser.refusal(["m", f"--{name}=1"])


def test_words_that_settings_take_are_the_engines_own(parser: RealParser) -> None:
    literals = parser.literals()
    assert set(get_args(KvCacheDtype)) <= set(literals["CacheDType"])
    assert set(get_args(Dtype)) <= set(literals["ModelDType"])
    assert {*CHECKPOINT_QUANTIZATIONS, *LOAD_QUANTIZATIONS} <= set(literals["QuantizationMethods"])
    assert set(get_args(SpeculativeMethod)) <= set(literals["SpeculativeMethod"])
    backends = get_args(StructuredOutputsSettings.model_fields["backend"].annotation)
    assert set(backends) <= set(literals["StructuredOutputsBackend"])


def test_ranks_are_those_that_the_parser_takes() -> None:
    assert RELEASE.flags["max-lora-rank"].choices == RANKS


def test_every_setting_of_vllm_that_is_a_flag_is_said_so() -> None:
    """A setting that is named in the table of flags is one."""
    aliases = {field.alias for field in VllmSettings.model_fields.values()}
    assert {setting.partition(".")[0] for setting in _SETTINGS.values()} <= aliases
