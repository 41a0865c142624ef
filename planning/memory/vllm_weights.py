"""Weights of one GPU under vLLM, which divides some matrices over tensor-parallel GPUs and gives others to each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

from planning.catalogue import LanguageModel
from planning.memory.layers import Attention, Layer, Matrix, Part, layers_of
from settings.architecture import Architecture
from settings.quantization import Quantization

_ROWS = 64
"""The vocabulary is rounded up to so many rows before it is divided (vocab_parallel_embedding.py)."""

_SIXTEEN = 16.0
_WHOLE = {Part.LATENT_DOWN, Part.ROUTER}
"""Every GPU has all of these (ReplicatedLinear)."""

_KEPT = {Part.ROUTER, Part.CONVOLUTION}
"""Not quantized."""


@dataclass(frozen=True)
class VllmWeights:
    """Bytes that one GPU of a tensor-parallel group holds."""

    layers: tuple[int, ...]
    embedding: int
    output: int
    """Output layer: 0 where it is the embedding itself, on the same GPU."""

    others: int
    """Vision tower and its projector, and whatever else is outside the language model; each GPU has it whole."""

    made: tuple[int, ...]
    """What is made of the weights of each layer when they are loaded, on top of what the checkpoint has."""

    def of_stage(self, start: int, end: int) -> int:
        """Weights of layers `start` to `end`, with the embedding where they are the first, and the output layer where
        they are the last.
        """
        held = sum(self.layers[start:end]) + sum(self.made[start:end])
        if start == 0:
            held += self.embedding + self.others
        if end == len(self.layers):
            # A tied output layer needs the embedding on the last stage too.
            held += self.output or (self.embedding if start else 0)
        return held


def vllm_weights(model: LanguageModel, tensor_parallel: int, quantized_at_load: Quantization | None) -> VllmWeights:
    """Weights of `model` on each of `tensor_parallel` GPUs.

    Where the checkpoint was measured, the quantized matrices are scaled so that all of it is as large as measured:
    with group scales and zero points there is more than bits and parameters say.
    """
    if quantized_at_load and model.quantization.is_sixteen_bits:
        return _derived(model.architecture, quantized_at_load, tensor_parallel)
    if model.measured_bytes is None:
        return _derived(model.architecture, model.quantization, tensor_parallel)
    return _scaled(model.architecture, model.quantization, tensor_parallel, model.measured_bytes)


@lru_cache(maxsize=4096)
def _scaled(shape: Architecture, kind: Quantization, tensor_parallel: int, measured_bytes: int) -> VllmWeights:
    derived, whole = _derived(shape, kind, tensor_parallel), _derived(shape, kind, 1)
    kept = whole.embedding + whole.output + whole.others
    ratio = max(0.5, (measured_bytes - kept) / sum(whole.layers))
    return VllmWeights(
        layers=tuple(round(each * ratio) for each in derived.layers),
        embedding=derived.embedding,
        output=derived.output,
        others=derived.others,
        made=derived.made,
    )


@lru_cache(maxsize=4096)
def _derived(shape: Architecture, kind: Quantization, tensor_parallel: int) -> VllmWeights:
    # Norms and biases: what the matrices leave of the parameters, whole on each GPU.
    small = max(0, shape.parameters - shape.other_parameters - shape.derived_parameters)
    small_each = 2 * small // shape.layers if small < shape.parameters // 100 else 0
    layers = layers_of(shape)
    bytes_of = {layer: _layer(layer, kind, tensor_parallel) + small_each for layer in set(layers)}
    made = {
        layer: _copies(layer, shape, tensor_parallel) + _padding(layer, kind, tensor_parallel) for layer in set(layers)
    }
    bits = _SIXTEEN if kind.keeps_embeddings else kind.bits_per_weight
    rows = -(-shape.vocabulary_size // _ROWS) * _ROWS
    embedding = round(-(-rows // tensor_parallel) * shape.hidden_size * bits / 8)
    return VllmWeights(
        layers=tuple(bytes_of[layer] for layer in layers),
        embedding=embedding + 2 * shape.learned_positions * shape.hidden_size,
        output=0 if shape.tied_embeddings else embedding,
        others=2 * shape.other_parameters,
        made=tuple(made[layer] for layer in layers),
    )


def _layer(layer: Layer, kind: Quantization, tensor_parallel: int) -> int:
    bits = 0.0
    for matrix in layer.matrices:
        quantized = matrix.part not in _KEPT and (matrix.expert or kind is not Quantization.MXFP4)
        held = matrix.elements / _shards(matrix, layer, tensor_parallel)
        bits += held * (kind.bits_per_weight if quantized else _SIXTEEN)
    return round(bits / 8)


def _copies(layer: Layer, shape: Architecture, tensor_parallel: int) -> int:
    """Beside the matrix that keys and values are made with, which prompts need, its two halves in 16 bits, which
    decoding needs (W_UK_T and W_UV of mla_attention.py).
    """
    if layer.attention is not Attention.LATENT or shape.latent_attention is None:
        return 0
    rank = shape.latent_attention.kv_lora_rank
    return sum(2 * m.elements // tensor_parallel for m in layer.matrices if m.inputs == rank)


def _padding(layer: Layer, kind: Quantization, tensor_parallel: int) -> int:
    """Rows and columns that experts in MXFP4 are filled up with (oracle/mxfp4.py: widths of a part to multiples of 128,
    the model's width to one of 256, as most of its kernels want).
    """
    if kind is not Quantization.MXFP4:
        return 0
    more = 0.0
    for matrix in layer.matrices:
        if matrix.expert:
            inner, outer = matrix.inputs, matrix.outputs
            if matrix.part is Part.DOWN:
                inner, outer = outer, inner
            part = outer / tensor_parallel
            more += matrix.copies * (_up(inner, 256) * _up(part, 128) - inner * part)
    return round(more * kind.bits_per_weight / 8)


def _up(size: float, multiple: int) -> int:
    return -(-math.ceil(size) // multiple) * multiple


def _shards(matrix: Matrix, layer: Layer, tensor_parallel: int) -> int:
    if matrix.part in _WHOLE:
        return 1
    if matrix.part in (Part.KEY, Part.VALUE) and layer.kv_heads:
        # With more GPUs than heads, several have the same head (QKVParallelLinear).
        return min(tensor_parallel, layer.kv_heads)
    return tensor_parallel


def stages(layers: int, pipeline_parallel: int) -> list[tuple[int, int]]:
    """First layer and the one after the last of each pipeline stage, as vLLM's get_pp_indices divides them.

    Layers that are left over go to the stages before the last, from back to front.
    """
    each, more = divmod(layers, pipeline_parallel)
    counts = [each] * pipeline_parallel
    for index in range(2, more + 2):
        counts[-index] += 1
    return list(pairwise(accumulate(counts, initial=0)))
