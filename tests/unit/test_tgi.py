"""Text Generation Inference: its command line is one that the launcher takes, and it goes only where it can start."""

from __future__ import annotations

import json
import re

import pytest
from on_mocks import Raw, settings_of
from small_stacks import AWQ, LLAMA_8B, LLAMA_70B, node, planned, problems

from planning.engine_flags import flag_table
from planning.tgi import TgiPlan
from settings.problems import SettingsError
from toolchain.paths import REPOSITORY

FLAGS = flag_table("text-generation-launcher").by_name


def tgi(model: str = AWQ, **more: object) -> Raw:
    return {"engine": "tgi", "model": model, **more}


def server(nodes: Raw | None = None, **settings: object) -> TgiPlan:
    found = planned(nodes or {"a": node()}, {"chat": tgi(**settings)}).servers["chat"]  # type: ignore[arg-type]  # `model` is a text in every test
    assert isinstance(found, TgiPlan)
    return found


def told(nodes: Raw | None = None, **settings: object) -> str:
    [line] = problems(nodes or {"a": node()}, {"chat": tgi(**settings)})  # type: ignore[arg-type]  # `model` is a text in every test
    return line


def values(plan: TgiPlan) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for argument in plan.arguments:
        name, equals, value = argument.partition("=")
        assert name in FLAGS, f"{name} is no flag of the launcher"
        assert name not in found, f"{name} is written twice"
        found[name] = value if equals else None
    return found


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"gpus": 2, "shm": "4Gi", "cache": "40Gi"},
        {"quantize": "awq", "kvCacheDtype": "fp8_e5m2", "revision": "v1.0"},
        {"dtype": "bfloat16", "model": LLAMA_8B},
        {"maxTotalTokens": 4096, "maxInputTokens": 3000, "maxBatchPrefillTokens": 2048, "maxConcurrentRequests": 8},
        {"cudaMemoryFraction": 0.875, "cudaGraphs": False},
        {"extraArgs": {"max-best-of": 4, "disable-grammar-support": True, "rope-scaling": "dynamic"}},
    ],
    ids=str,
)
def test_every_flag_that_is_written_is_one_of_the_release(settings: dict[str, object]) -> None:
    for name, value in values(server({"a": node(count=2)}, **settings)).items():
        flag = FLAGS[name]
        assert (value is None) == (flag.kind == "switch")
        assert not flag.choices or value in flag.choices
        assert flag.kind != "int" or re.fullmatch(r"\d+", str(value))
        assert flag.kind != "float" or re.fullmatch(r"0\.\d+|1", str(value))


def test_the_labs_stand_in_refuses_by_the_same_table() -> None:
    one, other = ("planning/engine_flags/text-generation-launcher.json", "lab/standins/tgi/launcher_flags.json")
    assert json.loads((REPOSITORY / one).read_text()) == json.loads((REPOSITORY / other).read_text())


def test_it_listens_everywhere_whatever_kubernetes_calls_the_pod() -> None:
    """The launcher takes HOSTNAME, which every container has, for the address to listen on."""
    assert values(server())["--hostname"] == "0.0.0.0"  # noqa: S104  # what is tested


def test_nothing_is_told_to_anybody_outside() -> None:
    assert values(server())["--usage-stats"] == "off"


def test_shards_are_the_gpus_and_have_room_to_talk() -> None:
    plan = server({"a": node("a100-80gb", 4)}, model=LLAMA_70B, gpus=4)
    assert values(plan)["--num-shard"] == "4"
    assert plan.shm_bytes == 4 * 2**30


def test_it_takes_a_twentieth_less_than_the_fraction_says() -> None:
    """TGI_WIGGLE_ROOM: what TGI leaves free of what it may take."""
    memory = server(cudaMemoryFraction=0.8).memory
    assert memory is not None
    assert memory.limit_mib == int(24564 * 0.8 * 0.95)


def test_a_maintained_engine_is_named() -> None:
    [warning] = [line for line in planned({"a": node()}, {"chat": tgi()}).warnings if line.startswith("models.chat")]
    assert warning.startswith("models.chat.engine: tgi gets small repairs only")


def test_a_gated_model_needs_a_token_as_under_vllm() -> None:
    warned = planned({"a": node()}, {"chat": tgi(LLAMA_8B)}).warnings
    assert any(line.startswith("models.chat.model: ") and "is gated" in line for line in warned)


def test_it_does_not_share_a_gpu_by_time_slicing() -> None:
    assert "takes a neighbour's memory for its own" in told({"a": node(slices=2)})
    both = {"a": node(slices=2), "b": node()}
    assert planned(both, {"chat": tgi()}).servers["chat"].nodes == ("b",)


@pytest.mark.parametrize("tag", ["3.1.1", "3.3.7"])
def test_an_image_that_only_root_can_start_is_told(tag: str) -> None:
    line = told(image=f"ghcr.io/huggingface/text-generation-inference:{tag}")
    assert line.startswith("models.chat.image: ")
    assert "below /root" in line


def test_an_image_of_ones_own_is_taken() -> None:
    assert server(image="registry.example.com/tgi:3.3.7").image == "registry.example.com/tgi:3.3.7"
    assert server(image="ghcr.io/huggingface/text-generation-inference:3.1.0")


def test_what_does_not_fit_is_told() -> None:
    assert "so it would run out of memory while it loads" in told(model=LLAMA_70B)
    assert "The largest that fits is" in told(
        {"a": node("rtx-4060-ti-16gb")}, model=LLAMA_8B, quantize="eetq", maxTotalTokens=131072
    )


def test_a_model_that_makes_embeddings_is_for_another_engine() -> None:
    assert "Serve it with engine: vllm or llamacpp" in told(model="Qwen/Qwen3-Embedding-0.6B")


@pytest.mark.parametrize(
    ("extra", "reason"),
    [
        ({"api-key": "x"}, "is the edge's"),
        ({"num-shard": 2}, "Write gpus instead."),
        ({"ngrok": True}, "opens a way in past the edge"),
        ({"otlp-endpoint": "http://a b"}, "has a space, at which the image's entry point would cut it in two"),
        ({"graceful-termination-timeout": 10}, "has no flag --graceful-termination-timeout"),
    ],
    ids=str,
)
def test_further_flags_are_held_to_what_others_have_decided(extra: dict[str, object], reason: str) -> None:
    line = told(extraArgs=extra)
    assert line.startswith(f"models.chat.extraArgs.{next(iter(extra))}: ")
    assert reason in line


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"maxInputTokens": 8192}, "there would be no room for an answer"),
        ({"quantize": "awq", "dtype": "float16"}, "TGI takes one of them"),
        ({"quantize": "exl2", "gpus": 2}, "TGI cannot divide such a model"),
        ({"quantize": "int4"}, "is not one of awq, compressed-tensors"),
        ({"autoscale": {"max": 2, "runningRequests": 4}}, "there is no such setting"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_told(settings: dict[str, object], problem: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of({"nodes": {"a": node(count=2)}, "models": {"chat": tgi(**settings)}})  # type: ignore[arg-type]  # `model` is a text in every test
    assert problem in caught.value.problems[0]
