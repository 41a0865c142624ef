"""Our memory under llama.cpp against the estimate of gguf-parser-go, of files with the tensors of real models.

It reads headers alone, so the files have no weights in them. Weights may differ by a hundredth: the files have no norms
and routers of the quantized type; caches by the MiB that they are rounded to. Its compute buffers are not compared: it
counts no logits, and what was measured on a GPU has them (tests/unit/test_memory_llama_cpp.py).
"""

from __future__ import annotations

import json
import math
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy
import pytest

from planning.catalogue import Architecture, LanguageModel, Quantization, architectures
from planning.memory import MIB, LlamaCppLoad, llama_cpp_memory
from toolchain import gobuild

Ask = Callable[[dict[str, Any]], dict[str, int]]

FAMILIES = {
    "llama-3.1-8b": "llama",
    "llama-3.1-70b": "llama",
    "qwen2.5-7b": "qwen2",
    "qwen3-4b": "qwen3",
    "qwen3-32b": "qwen3",
    "mistral-nemo-12b": "llama",
    "mixtral-8x7b": "llama",
    "qwen3-30b-a3b": "qwen3moe",
    "gemma-3-27b": "gemma3",
}
"""By architecture of the catalogue, llama.cpp's name of its family."""

TYPES = {
    Quantization.F16: gguf.GGMLQuantizationType.F16,
    Quantization.Q8_0: gguf.GGMLQuantizationType.Q8_0,
    Quantization.Q4_K: gguf.GGMLQuantizationType.Q4_K,
}
"""Types that all matrices have, but for the output layer beside Q4_K."""

CACHES = {"f16": 16.0, "q8_0": 8.5, "q4_0": 4.5}


@pytest.fixture(scope="session")
def ask() -> Iterator[Ask]:
    """Asks gguf-parser-go, which runs as a program of its own."""
    program = str(gobuild.build(["gguf-parser"])["gguf-parser"])
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        questions, answers = running.stdin, running.stdout

        def answer(question: dict[str, Any]) -> dict[str, int]:
            questions.write(json.dumps(question) + "\n")
            questions.flush()
            found: dict[str, int] = json.loads(answers.readline())
            return found

        yield answer
        questions.close()


def write_header(file: Path, name: str, quantization: Quantization) -> None:
    """A GGUF file of the catalogue's architecture `name`, without its weights."""
    shape, family, kind = architectures()[name].shape, FAMILIES[name], TYPES[quantization]
    writer = gguf.GGUFWriter(file, family)
    writer.add_block_count(shape.layers)
    writer.add_embedding_length(shape.hidden_size)
    writer.add_feed_forward_length(shape.intermediate_size)
    writer.add_head_count(shape.attention_heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_key_length(shape.head_dim)
    writer.add_value_length(shape.head_dim)
    writer.add_context_length(shape.context_tokens)
    writer.add_vocab_size(shape.vocabulary_size)
    if shape.sliding_window is not None:
        writer.add_sliding_window(shape.sliding_window.tokens)
    if shape.experts is not None:
        writer.add_expert_count(shape.experts.count)
        writer.add_expert_used_count(shape.experts.active)
        writer.add_expert_feed_forward_length(shape.experts.intermediate_size)
    for tensor, dimensions in tensors(shape).items():
        _add(writer, tensor, dimensions, kind)
    if not shape.tied_embeddings:
        output = gguf.GGMLQuantizationType.Q6_K if quantization is Quantization.Q4_K else kind
        _add(writer, "output.weight", (shape.vocabulary_size, shape.hidden_size), output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def tensors(shape: Architecture) -> dict[str, tuple[int, ...]]:
    """Matrices by name, rows before columns."""
    hidden, queries, keys = shape.hidden_size, shape.attention_heads * shape.head_dim, shape.kv_heads * shape.head_dim
    width, suffix, experts = shape.intermediate_size, "", tuple[int, ...]()
    if shape.experts is not None:
        width, experts, suffix = shape.experts.intermediate_size, (shape.experts.count,), "_exps"
    found: dict[str, tuple[int, ...]] = {"token_embd.weight": (shape.vocabulary_size, hidden)}
    for n in range(shape.layers):
        found |= {
            f"blk.{n}.attn_q.weight": (queries, hidden),
            f"blk.{n}.attn_k.weight": (keys, hidden),
            f"blk.{n}.attn_v.weight": (keys, hidden),
            f"blk.{n}.attn_output.weight": (hidden, queries),
            f"blk.{n}.ffn_gate{suffix}.weight": (*experts, width, hidden),
            f"blk.{n}.ffn_up{suffix}.weight": (*experts, width, hidden),
            f"blk.{n}.ffn_down{suffix}.weight": (*experts, hidden, width),
        }
        if experts:
            found[f"blk.{n}.ffn_gate_inp.weight"] = (*experts, hidden)
    return found


def _add(writer: gguf.GGUFWriter, name: str, shape: tuple[int, ...], kind: gguf.GGMLQuantizationType) -> None:
    block, size = gguf.GGML_QUANT_SIZES[kind]
    stored = (*shape[:-1], shape[-1] // block * size)  # the writer counts bytes of quantized rows
    elements = math.prod(shape)
    writer.add_tensor_info(
        name,
        shape if kind is gguf.GGMLQuantizationType.F16 else stored,
        numpy.dtype(numpy.float16 if kind is gguf.GGMLQuantizationType.F16 else numpy.uint8),
        elements // block * size,
        raw_dtype=kind,
    )


@pytest.mark.parametrize("quantization", TYPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_weights_and_cache_are_what_gguf_parser_says(
    ask: Ask, tmp_path: Path, name: str, quantization: Quantization
) -> None:
    write_header(tmp_path / "model.gguf", name, quantization)
    shape = architectures()[name].shape
    model = LanguageModel(
        name=name,
        architecture=shape.model_copy(update={"other_parameters": 0}),
        quantization=quantization,
        measured_bytes=None,
        gated=False,
        licence="unknown",
        languages=(),
        uses=("chat",),
        source="a test",
    )
    for cache, context in (("f16", 8192), ("q8_0", 32768)):
        theirs = ask({"path": str(tmp_path / "model.gguf"), "context": context, "key": cache, "value": cache})
        load = LlamaCppLoad(context_tokens=context, key_bits=CACHES[cache], value_bits=CACHES[cache])
        ours = llama_cpp_memory(model, load, limit_mib=10**7).gpu
        assert ours.weights_mib == pytest.approx(theirs["weights"] / MIB, rel=0.01, abs=2)
        assert ours.kv_cache_mib == pytest.approx(theirs["cache"] / MIB, abs=2)
