"""Our KV cache of vLLM against the planner of vLLM's own source."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from vllm_source import vllm_source

from planning.catalogue import Architecture, GlobalAttention, SlidingWindow, architectures
from planning.memory.layers import Attention, Layer, layers_of
from planning.memory.vllm_kv_cache import KvCache, kv_cache
from planning.memory.vllm_weights import stages

Ask = Callable[[dict[str, Any]], Any]

KINDS = {
    Attention.FULL: "full",
    Attention.WINDOW: "window",
    Attention.LATENT: "latent",
    Attention.LINEAR: "state",
}
GENERATING = [
    name for name, base in architectures().items() if any(x.attention in KINDS for x in layers_of(base.shape))
]


@pytest.fixture(scope="session")
def ask() -> Iterator[Ask]:
    """Asks vLLM's planner, which runs as a program of its own."""
    source, _ = vllm_source()
    command = [sys.executable, str(Path(__file__).with_name("vllm_kv_cache.py")), str(source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        ends, answers = program.stdin, program.stdout

        def answer(question: dict[str, Any]) -> Any:
            ends.write(json.dumps(question) + "\n")
            ends.flush()
            line = answers.readline()
            assert line, "vLLM's planner has ended; what it said stands above"
            return json.loads(line)

        yield answer
        ends.close()


def question(shape: Architecture, tensor_parallel: int, element_bytes: int, **more: Any) -> dict[str, Any]:
    """What vLLM's planner is asked of a model: its layers, as vLLM's models declare them."""
    layers = layers_of(shape)
    ours = kv_cache(shape, (0, shape.layers), tensor_parallel=tensor_parallel, bits=8 * element_bytes)
    assert ours is not None
    asked: dict[str, Any] = {
        "layers": [_declared(layer, shape, tensor_parallel, element_bytes) for layer in layers],
        "block_tokens": min(group.block_tokens for group in ours.groups),
        "state_page_bytes": None,
    }
    if shape.linear_attention is not None:
        # The platform makes pages of both kinds equally large before the planner sees them.
        asked["state_page_bytes"] = ours.block_bytes // _group_size(layers)
    return asked | more


def _group_size(layers: tuple[Layer, ...]) -> int:
    seeing = sum(layer.attention is Attention.FULL for layer in layers)
    return min(seeing, len(layers) - seeing)


def _declared(layer: Layer, shape: Architecture, tensor_parallel: int, element_bytes: int) -> dict[str, Any]:
    declared: dict[str, Any] = {"kind": KINDS[layer.attention], "element_bytes": element_bytes}
    if layer.attention is Attention.LATENT and (latent := shape.latent_attention):
        declared["head_dim"] = latent.kv_lora_rank + latent.qk_rope_head_dim
    elif layer.attention is Attention.LINEAR and (linear := shape.linear_attention):
        keys, values = linear.key_heads * linear.key_head_dim, linear.value_heads * linear.value_head_dim
        declared["state"] = [
            [linear.convolution_tokens - 1, (2 * keys + values) // tensor_parallel],
            [linear.value_heads // tensor_parallel, linear.value_head_dim, linear.key_head_dim],
        ]
        declared["state_bytes"] = [2, 4]
    else:
        declared |= {"heads": max(1, layer.kv_heads // tensor_parallel), "head_dim": layer.head_dim}
        if layer.attention is Attention.WINDOW and shape.sliding_window:
            declared["window"] = shape.sliding_window.tokens
    return declared


def planned(shape: Architecture, tensor_parallel: int, element_bytes: int) -> KvCache:
    made = kv_cache(shape, (0, shape.layers), tensor_parallel=tensor_parallel, bits=8 * element_bytes)
    assert made is not None
    return made


@pytest.mark.parametrize("element_bytes", [2, 1])
@pytest.mark.parametrize("tensor_parallel", [1, 2])
@pytest.mark.parametrize("name", GENERATING)
def test_blocks_and_requests_are_those_of_vllms_planner(
    ask: Ask, name: str, tensor_parallel: int, element_bytes: int
) -> None:
    shape = architectures()[name].shape
    ours, available = planned(shape, tensor_parallel, element_bytes), 20 * 2**30
    for max_model_len, in_flight in ((2048, 4096), (8192, 16384), (min(131072, shape.context_tokens), 4096)):
        theirs = ask(
            question(
                shape,
                tensor_parallel,
                element_bytes,
                max_model_len=max_model_len,
                in_flight_tokens=in_flight,
                available_bytes=available,
            )
        )
        assert ours.block_bytes == theirs["block_bytes"]
        assert available // ours.block_bytes == theirs["blocks"]
        needed = ours.blocks_per_request(max_model_len, in_flight_tokens=in_flight)
        assert theirs["blocks"] / needed == pytest.approx(theirs["concurrency"])


@given(layers=st.integers(1, 200), parts=st.integers(1, 16))
def test_layers_are_divided_over_stages_as_vllm_divides_them(ask: Ask, layers: int, parts: int) -> None:
    if parts <= layers:
        assert [list(stage) for stage in stages(layers, parts)] == ask({"layers": layers, "stages": parts})


@st.composite
def windowed(draw: st.DrawFn) -> Architecture:
    """A model whose layers partly have a window, and partly other heads where they have none."""
    layers = draw(st.integers(2, 80))
    llama = architectures()["llama-3.1-8b"].shape
    other = draw(st.sampled_from([None, (2, 256), (4, 512), (3, 160), (8, 64)]))
    return llama.model_copy(
        update={
            "layers": layers,
            "kv_heads": draw(st.sampled_from([1, 4, 8])),
            "sliding_window": SlidingWindow(tokens=draw(st.integers(1, 9000)), layers=draw(st.integers(1, layers - 1))),
            "global_attention": other and GlobalAttention(kv_heads=other[0], head_dim=other[1]),
        }
    )


@given(shape=windowed(), max_model_len=st.integers(1, 200_000), in_flight=st.integers(16, 40_000))
def test_any_mixture_of_windows_comes_to_what_vllms_planner_makes_of_it(
    ask: Ask, shape: Architecture, max_model_len: int, in_flight: int
) -> None:
    ours = planned(shape, 1, 2)
    theirs = ask(
        question(
            shape, 1, 2, max_model_len=max_model_len, in_flight_tokens=in_flight, available_bytes=50 * ours.block_bytes
        )
    )
    assert (ours.block_bytes, 50) == (theirs["block_bytes"], theirs["blocks"])
    assert 50 / ours.blocks_per_request(max_model_len, in_flight_tokens=in_flight) == pytest.approx(
        theirs["concurrency"]
    )
