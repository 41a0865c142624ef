"""`llmctl advise`: what fits, in an order that is told, and what to write, which can be planned."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from cli.__main__ import app
from planning.advice import Advice, Fit, Need, Refusal, advise, answer, engines_of
from planning.advice_rules import RULES, assumptions, ranked
from planning.catalogue import gpu_models, language_models
from planning.languages import suffers_from_4_bits
from planning.plan import plan_source
from report.advice_document import advice_document
from report.advice_text import advice_text
from report.json_pages import PAGES
from settings.quantization import Quantization
from settings.stack_file import read_source

SCHEMA = next(page for page in PAGES if page.command == "advise").schema()


@cache
def advice_for(**changes: Any) -> Advice:
    """Advice for one 24 GB card, one user, English, chat, but for `changes`."""
    return advise(need_of(**changes))


def need_of(**changes: Any) -> Need:
    asked: dict[str, Any] = {
        "gpu": "rtx-4090",
        "count": 1,
        "context_tokens": 8192,
        "users": 1,
        "language": "en",
        "use": "chat",
        **changes,
    }
    asked["languages"] = tuple(asked.pop("language").split())
    return Need(**{"average_tokens": asked["context_tokens"], **asked})


def fit_of(name: str, **changes: Any) -> Fit:
    """What is advised of one model alone."""
    model = language_models()[name]
    found = answer(model, engines_of(model)[0], need_of(**changes))
    assert isinstance(found, Fit), found
    return found


def names(**changes: Any) -> list[str]:
    """What fits, best first."""
    return [fit.model.name for fit in ranked(advice_for(**changes))]


def kind_of(name: str, **changes: Any) -> str:
    return next(refusal.kind for refusal in advice_for(**changes).refusals if refusal.model.name == name)


# --- what fits ---

NEEDS: list[dict[str, Any]] = [
    {},
    {"language": "ko", "users": 10, "context_tokens": 16384},
    {"gpu": "rtx-3060-12gb", "context_tokens": 4096, "engine": "ollama", "users": 3},
    {"gpu": "a100-80gb", "count": 4, "users": 64, "use": "code"},
    {"gpu": "a100-80gb", "count": 2, "users": 100, "average_tokens": 1024},
    {"use": "embedding", "context_tokens": 512, "users": 8},
    {"use": "longDocuments", "context_tokens": 131072, "gpu": "h100-80gb"},
    {"use": "vision", "users": 4},
    {"use": "reasoning", "language": "zh"},
    {"language": "ko en", "platform": "wsl2"},
    {"use": "rag", "gated": False, "commercial": True},
    {"engine": "llamacpp", "users": 3, "language": "ko"},
]


@pytest.mark.parametrize("need", NEEDS, ids=str)
def test_what_is_advised_is_a_stack_file_that_can_be_planned(need: dict[str, Any], tmp_path: Path) -> None:
    advice = advice_for(**need)
    document = advice_document(advice, limit=20)
    assert len(document.fits) == min(20, len(advice.fits)) > 0
    for told in document.fits:
        file = tmp_path / "Pulumi.advised.yaml"
        file.write_text(told.stack_file)
        planned = plan_source(read_source(file))
        [server] = planned.servers.values()
        assert planned.ingress is not None, "what nobody can reach is of no use"
        assert not any(line.startswith(("ingress", f"models.{server.name}: no route")) for line in planned.warnings)
        assert server.replicas == told.replicas
        assert server.gpus == told.gpus
        memory = server.memory
        assert memory is not None
        assert memory.total_mib == told.gpu_memory_mib.total <= told.gpu_memory_mib.limit
        each = server.concurrent_full_length_requests
        if told.concurrent_full_length_requests is not None:
            assert each is not None
            assert told.concurrent_full_length_requests == each * told.replicas
        assert server.max_model_len == advice.need.context_tokens
        assert not any(getattr(load, "spilled_layers", 0) for load in getattr(server, "loads", {}).values())


@pytest.mark.parametrize("need", NEEDS, ids=str)
def test_every_model_of_the_catalogue_is_answered_once(need: dict[str, Any]) -> None:
    advice = advice_for(**need)
    found: list[Fit | Refusal] = [*advice.fits, *advice.refusals]
    answered = [name for each in found for name in (each.model.name, *each.others)]
    wanted = {need["engine"]} if "engine" in need else {"vllm", "ollama"}
    assert sorted(answered) == sorted(n for n, m in language_models().items() if wanted & set(engines_of(m)))
    assert all(refusal.text for refusal in advice.refusals)


def test_no_more_gpus_are_used_than_there_are_and_no_more_than_are_needed() -> None:
    names = ("Qwen/Qwen2.5-7B-Instruct", "meta-llama/Llama-3.3-70B-Instruct", "qwen3:4b", "llama3.3:70b")
    for users in (1, 40, 1000):
        for name in names:
            fit = fit_of(name, gpu="a100-80gb", count=4, users=users)
            assert fit.gpus * fit.replicas <= 4
    small = "Qwen/Qwen2.5-7B-Instruct"
    assert (fit_of(small, gpu="a100-80gb", count=4).gpus, fit_of(small, gpu="a100-80gb", count=4).replicas) == (1, 1)
    many = fit_of(small, gpu="a100-80gb", count=4, users=1000)
    assert many.gpus * many.replicas == 4


@pytest.mark.parametrize(
    ("name", "kind", "need"),
    [
        ("meta-llama/Llama-3.3-70B-Instruct", "tooLarge", {}),
        ("llama3.3:70b", "tooLarge", {}),
        ("Qwen/Qwen3-32B-AWQ", "noRoom", {"context_tokens": 40960}),
        ("google/gemma-2-9b-it", "context", {"context_tokens": 16384}),
        ("mistralai/Mistral-7B-Instruct-v0.3", "language", {"language": "ko"}),
        ("BAAI/bge-m3", "use", {}),
        ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "engine", {}),
        ("Qwen/Qwen3-8B-AWQ", "use", {"use": "vision"}),
        ("meta-llama/Llama-3.1-8B-Instruct", "gated", {"gated": False}),
        ("LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct-AWQ", "licence", {"commercial": True}),
    ],
)
def test_why_not_is_told_by_the_reason_that_holds(name: str, kind: str, need: dict[str, Any]) -> None:
    assert kind_of(name, **need) == kind


def test_what_is_too_large_says_by_how_much() -> None:
    over = next(r for r in advice_for().refusals if r.model.name == "meta-llama/Llama-3.3-70B-Instruct")
    assert over.over_mib == -(-over.model.files_bytes // 2**20) - gpu_models()["rtx-4090"].memory_mib
    assert f"{over.over_mib:,} MiB" in over.text


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(language_models())),
    gpu=st.sampled_from(sorted(gpu_models())),
    context=st.sampled_from([512, 1024, 4096, 16384]),
    users=st.integers(1, 30),
)
def test_who_asks_for_more_is_not_offered_more(name: str, gpu: str, context: int, users: int) -> None:
    """With a longer context, or for more users, a model never comes to fit, and none has more room for users."""
    model = language_models()[name]

    def room(**more: Any) -> int:
        need = need_of(**{"gpu": gpu, "context_tokens": context, "users": users, "use": model.uses[-1], **more})
        found = answer(model, engines_of(model)[-1], need)
        if isinstance(found, Refusal):
            return 0
        return users if found.full_length_requests is None else min(users, found.full_length_requests)

    base = room()
    assert room(context_tokens=2 * context) <= base
    assert (room(users=2 * users) > 0) == (base > 0), "that some wait is no reason to refuse a model"
    assert room(count=2) >= base


# --- the order ---


@pytest.mark.parametrize("need", NEEDS, ids=str)
def test_the_order_is_that_of_the_rules_and_every_place_has_its_reasons(need: dict[str, Any]) -> None:
    advice = advice_for(**need)
    places = [tuple(rule.order(fit, advice.need) for rule in RULES) for fit in ranked(advice)]
    assert places == sorted(places)
    for fit in advice.fits:
        assert all(rule.reason(fit, advice.need) for rule in RULES)


def test_korean_wants_more_than_4_bits_or_a_model_made_for_it() -> None:
    def rule(name: str, language: str) -> float:
        advice = advice_for(language=language)
        fit = next(fit for fit in advice.fits if fit.model.name == name)
        return next(r for r in RULES if r.name == "language").order(fit, advice.need)

    for language, expected in {"ko": 1, "en": 0, "de": 0, "ja": 1}.items():
        assert rule("Qwen/Qwen3-8B-AWQ", language) == expected, language
    assert rule("Qwen/Qwen3-8B-FP8", "ko") == 0
    assert rule("LGAI-EXAONE/EXAONE-3.5-7.8B-Instruct-AWQ", "ko") == 0, "its card names Korean first"
    korean = names(language="ko")
    assert korean.index("Qwen/Qwen3-8B-FP8") < korean.index("Qwen/Qwen3-14B-AWQ")
    english = names()
    assert english.index("Qwen/Qwen3-8B-FP8") > english.index("Qwen/Qwen3-14B-AWQ")


def test_q5_k_m_itself_is_enough() -> None:
    assert Quantization.Q5_K_M.bits_per_weight > Quantization.Q5_K_S.bits_per_weight
    assert not suffers_from_4_bits("fr")


@pytest.mark.parametrize("gpu", ["rtx-3060-12gb", "rtx-4090"])
def test_fewer_than_4_bits_come_after_what_else_is_for_the_same(gpu: str) -> None:
    fits = [fit for fit in ranked(advice_for(gpu=gpu)) if fit.model.uses == ("chat",)]
    few = [fit.model.quantization in (Quantization.Q2_K, Quantization.Q3_K_S) for fit in fits]
    assert few == sorted(few)
    assert {True, False} <= set(few)


def test_code_is_for_coders_and_chat_is_not() -> None:
    coder, general = "Qwen/Qwen2.5-Coder-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct"
    code, chat = names(use="code"), names(use="chat")
    assert code.index(coder) < code.index(general)
    assert chat.index(coder) > chat.index(general)


def test_who_has_room_for_all_comes_before_who_has_not() -> None:
    advice = advice_for(users=10, context_tokens=16384)
    rooms = [(fit.requests_at_once or 0) >= 10 for fit in ranked(advice)]
    assert rooms == sorted(rooms, reverse=True)
    assert {True, False} <= set(rooms)


def test_short_requests_leave_room_under_vllm() -> None:
    name = "Qwen/Qwen3-8B-FP8"
    long, short = (fit_of(name, users=50, average_tokens=tokens) for tokens in (8192, 1024))
    assert short.full_length_requests == long.full_length_requests == long.requests_at_once
    assert long.full_length_requests is not None
    assert short.requests_at_once == 8 * long.full_length_requests


def test_who_asks_for_many_users_is_given_as_many_sequences() -> None:
    """Beside a profile's 128 sequences the cache has room for more, and they would lie in it for nobody."""
    name = "Qwen/Qwen2.5-7B-Instruct"
    for count, users in ((1, 500), (4, 3000)):
        fit = fit_of(name, gpu="h200", count=count, users=users, context_tokens=4096, average_tokens=512)
        server = fit.stack["models"]["chat"]
        assert server["maxNumSeqs"] == -(-users // fit.replicas)
        assert fit.requests_at_once == fit.replicas * server["maxNumSeqs"] >= users
    assert "maxNumSeqs" not in fit_of(name, gpu="h200", users=128).stack["models"]["chat"]
    crowded = fit_of(name, users=5000, context_tokens=16384)
    assert crowded.requests_at_once == crowded.full_length_requests
    assert "maxNumSeqs" not in crowded.stack["models"]["chat"], "the cache has room for fewer"


# --- figures ---


def test_the_bound_of_speed_is_bandwidth_through_bytes_of_weights() -> None:
    """Llama 3.1 8B in 16 bits: 8.03 B parameters without the 0.525 B of the embedding, 15.01 GB; an RTX 4090 reads
    1008 GB/s.
    """
    bound = fit_of("meta-llama/Llama-3.1-8B-Instruct").tokens_per_second_bound
    assert bound == pytest.approx(1008 / 15.01, rel=0.001)
    split = fit_of("meta-llama/Llama-3.1-70B-Instruct", gpu="a100-80gb", count=4)
    bandwidth = gpu_models()["a100-80gb"].bandwidth_gb_per_second
    assert split.gpus > 1
    assert split.tokens_per_second_bound == pytest.approx(split.gpus * bandwidth / (2 * (70.5537 - 1.0507)), rel=0.001)


def test_what_is_assumed_is_told() -> None:
    told = " ".join(assumptions(advice_for(users=7).need))
    assert "7 requests" in told
    assert "vLLM takes 0.90 of each GPU" in told
    assert "1,024 tokens on average" in " ".join(assumptions(advice_for(users=7, average_tokens=1024).need))


def test_every_language_must_be_named_and_one_alone_decides_on_bits() -> None:
    both = set(names(language="ko en"))
    assert both == set(names(language="ko")) & set(names(language="en"))
    assert both < set(names(language="en"))
    wanted = fit_of("Qwen/Qwen3-8B-AWQ", language="en ko")
    [rule] = [rule for rule in RULES if rule.name == "language"]
    assert rule.order(wanted, need_of(language="en ko")) == 1
    assert "costs ko more than English" in rule.reason(wanted, need_of(language="en ko"))


def test_under_wsl2_it_is_planned_without_cuda_graphs() -> None:
    name = "Qwen/Qwen3-8B-AWQ"
    linux, windows = fit_of(name), fit_of(name, platform="wsl2")
    assert windows.stack["nodes"]["workstation"]["platform"] == "wsl2"
    assert windows.memory.other_mib < linux.memory.other_mib


def test_one_request_is_told_as_one() -> None:
    told = advice_text(advice_document(advice_for(), limit=3), width=None)
    assert "1 request at once" in told
    assert not re.search(r"\b1 (requests|layers)\b", told)


def test_who_does_not_say_commercial_is_told_of_the_licences() -> None:
    assert "--commercial leaves them out" in " ".join(assumptions(need_of()))
    assert "--commercial" not in " ".join(assumptions(need_of(commercial=True)))


# --- the command ---


def llmctl(*arguments: str, columns: int = 200) -> Result:
    environment = {"COLUMNS": str(columns), "TERM": "dumb"}
    return CliRunner(env=environment).invoke(app, ["advise", *arguments])


def test_a_person_reads_models_reasons_refusals_and_a_stack_file() -> None:
    done = llmctl(
        "--gpu", "rtx-4090", "--context", "16k", "--users", "10", "--language", "ko", "--limit", "2", columns=80
    )
    assert (done.exit_code, done.stderr) == (0, "")
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert "\n1. " in done.stdout
    assert "\n2. " in done.stdout
    assert "\n3. " not in done.stdout
    for rule in RULES:
        assert f"   {rule.name}: " in done.stdout
    assert "Why not the other" in done.stdout
    assert "  Too large (" in done.stdout
    assert "llm-serving:models:" in done.stdout


def test_a_program_reads_what_the_schema_says() -> None:
    done = llmctl("--gpu", "a100-80gb", "--count", "2", "--context", "32k", "--users", "4", "--json", "--limit", "3")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    jsonschema.validate(told, SCHEMA)
    assert told["need"]["contextTokens"] == 32768
    assert len(told["fits"]) == 3 <= told["fitting"]
    assert list(told["order"]) == [rule.name for rule in RULES]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--gpu", "rtx-409"], "did you mean 'rtx-4090'?"),
        (["--gpu", "rtx-4090", "--context", "16kb"], "write e.g. 16384 or 16k"),
        (["--gpu", "rtx-4090", "--context", "0"], "128 or more"),
        (["--gpu", "rtx-4090", "--language", "korean"], "is no language of ISO 639-1"),
        (["--gpu", "rtx-4090", "--language", "kr"], "did you mean 'ko'?"),
        (["--gpu", "rtx-4090", "--language", "jp"], "did you mean 'ja'?"),
        (["--gpu", "rtx-4090", "--language", "ko,korean"], "'korean' is no language of ISO 639-1"),
        (["--gpu", "rtx-4090", "--count", "2", "--platform", "wsl2"], "advertises all cards as one"),
        (["--gpu", "rtx-4090", "--use", "poetry"], "'longDocuments'"),
        (["--gpu", "rtx-4090", "--engine", "tgi"], "'llamacpp'"),
        (["--gpu", "rtx-4090", "--users", "0"], "--users"),
        (["--gpu", "rtx-4090", "--context", "4k", "--average", "8k"], "more than the context"),
        ([], "--gpu"),
    ],
)
def test_a_wrong_question_ends_with_2_and_says_what_is_right(arguments: list[str], told: str) -> None:
    done = llmctl(*arguments)
    assert done.exit_code == 2, done.stderr
    assert told in done.stderr
    assert done.stdout == ""


def test_where_nothing_fits_the_command_ends_with_1_and_says_why() -> None:
    done = llmctl("--gpu", "rtx-3060-12gb", "--context", "1m", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert told["fits"] == []
    assert {"context", "tooLarge"} & {refusal["reason"] for refusal in told["refused"]}


def test_llama_cpp_is_advised_for_what_the_catalogue_has_for_it() -> None:
    assert {fit.engine for fit in advice_for(engine="llamacpp").fits} == {"llamacpp"}
    assert "llamacpp" not in {fit.engine for fit in advice_for().fits}, "Ollama has the same files"


def test_lines_of_a_pipe_are_whole() -> None:
    document = advice_document(advice_for(), limit=1)
    whole, narrow = advice_text(document, width=None), advice_text(document, width=60)
    assert " ".join(whole.split()) == " ".join(narrow.split()), "nothing is lost by wrapping"
    assert document.fits[0].stack_file.rstrip() in narrow, "what is pasted is never wrapped"
