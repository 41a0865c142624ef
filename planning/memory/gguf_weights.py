"""Sizes of the tensors of a GGUF file: llama-quantize gives some of them more bits than the file's name says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

from planning.catalogue import LanguageModel
from planning.memory.layers import Part, layers_of
from settings.architecture import Architecture
from settings.quantization import Quantization

_BITS = {
    "Q2_K": 2.625,
    "Q3_K": 3.4375,
    "Q4_K": 4.5,
    "Q5_K": 5.5,
    "Q6_K": 6.5625,
    "Q4_0": 4.5,
    "Q5_0": 5.5,
    "Q5_1": 6.0,
    "Q8_0": 8.5,
    "IQ4_XS": 4.25,
    "IQ4_NL": 4.5,
    "MXFP4": 4.25,
    "16": 16.0,
    "32": 32.0,
}
"""Bits of one weight by tensor type, with its share of scales: bytes of a block over its weights (ggml-common.h)."""

_DEFAULT = {
    Quantization.FP32: "32",
    Quantization.Q8_0: "Q8_0",
    Quantization.Q6_K: "Q6_K",
    Quantization.Q5_K_M: "Q5_K",
    Quantization.Q5_K_S: "Q5_K",
    Quantization.Q5_0: "Q5_0",
    Quantization.Q4_K_M: "Q4_K",
    Quantization.Q4_K_S: "Q4_K",
    Quantization.Q4_K: "Q4_K",
    Quantization.Q4_0: "Q4_0",
    Quantization.IQ4_XS: "IQ4_XS",
    Quantization.Q3_K_L: "Q3_K",
    Quantization.Q3_K_M: "Q3_K",
    Quantization.Q3_K_S: "Q3_K",
    Quantization.Q2_K: "Q2_K",
}
"""Type of what no rule speaks of; 16 bits for whatever is not a GGUF type."""

_NARROW = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "IQ4_XS": "IQ4_NL", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What becomes of types with blocks of 256 where rows are no multiple of that (tensor_type_fallback)."""


@dataclass(frozen=True)
class GgufWeights:
    """Bytes of a file's tensors."""

    layers: tuple[int, ...]
    output: int
    """Output layer: of its own, or the embedding once more where both are one."""

    embedding: int
    """Token embedding, which stays in host memory."""

    largest_tensor: int
    """Of the layers."""

    others: int
    """Vision tower and its projector, which are on the first GPU."""

    tied: bool
    sixteen_bits: bool
    """Whether most matrices are of 16 bits."""

    @property
    def file(self) -> int:
        """All of it, the embedding once."""
        return sum(self.layers) + self.embedding + self.others + (0 if self.tied else self.output)


def gguf_weights(model: LanguageModel) -> GgufWeights:
    """Tensors of `model`'s file; where the file was measured, scaled to what was measured.

    A checkpoint that is no GGUF file is counted as if it were converted to one of 16 bits.
    """
    if model.measured_bytes is None:
        return _derived(model.architecture, model.quantization)
    return _scaled(model.architecture, model.quantization, model.measured_bytes)


@lru_cache(maxsize=4096)
def _scaled(shape: Architecture, quantization: Quantization, measured_bytes: int) -> GgufWeights:
    derived = _derived(shape, quantization)
    if abs(measured_bytes - (derived.file - derived.others)) < abs(measured_bytes - derived.file):
        # The vision tower is in a file of its own (mmproj), which a text model is served without.
        derived = replace(derived, others=0)
    ratio = measured_bytes / derived.file
    return GgufWeights(
        layers=tuple(round(each * ratio) for each in derived.layers),
        output=round(derived.output * ratio),
        embedding=round(derived.embedding * ratio),
        largest_tensor=round(derived.largest_tensor * ratio),
        others=round(derived.others * ratio),
        tied=derived.tied,
        sixteen_bits=derived.sixteen_bits,
    )


@lru_cache(maxsize=4096)
def _derived(shape: Architecture, quantization: Quantization) -> GgufWeights:
    layers = layers_of(shape)
    rows = shape.vocabulary_size * shape.hidden_size
    # Norms and biases, which stay in 32 bits, are what the matrices leave of the parameters.
    small = max(0, shape.parameters - shape.other_parameters - shape.derived_parameters)
    small_each = 4 * small // len(layers) if small < shape.parameters // 100 else 0
    default = _DEFAULT.get(quantization, "16")
    pure, mxfp4 = quantization is Quantization.Q4_K, quantization is Quantization.MXFP4
    output = default if default in ("16", "32", "Q8_0") or (pure and shape.tied_embeddings) else "Q6_K"
    output_bytes = _bytes(rows, output, shape.hidden_size)
    sizes: dict[tuple[int, str, str], tuple[int, int]] = {}
    found = []
    for index, layer in enumerate(layers):
        special = _value_type(shape, quantization, index, default), _down_type(shape, quantization, index, default)
        key = (id(layer), *special)
        if key not in sizes:
            types = {Part.VALUE: special[0], Part.DOWN: special[1]} | _same_in_all(shape, quantization, default)
            each = [
                _bytes(m.elements, "MXFP4" if mxfp4 and m.expert else types.get(m.part, default), m.inputs)
                for m in layer.matrices
            ]
            sizes[key] = (sum(each) + small_each, max(each))
        found.append(sizes[key])
    return GgufWeights(
        layers=tuple(whole for whole, _ in found),
        output=output_bytes,
        embedding=(output_bytes if shape.tied_embeddings else _bytes(rows, default, shape.hidden_size))
        + _bytes(shape.learned_positions * shape.hidden_size, "32", 1),
        largest_tensor=max(largest for _, largest in found),
        others=2 * shape.other_parameters,
        tied=shape.tied_embeddings,
        sixteen_bits=default == "16" and not mxfp4,
    )


def _same_in_all(shape: Architecture, quantization: Quantization, default: str) -> dict[Part, str]:
    """Types of the parts that have one in all layers, where it is not the default (llama_tensor_get_type_impl)."""
    types = {Part.ROUTER: "32", Part.CONVOLUTION: "32"}
    if quantization is Quantization.MXFP4:
        return types
    eight = shape.experts is not None and shape.experts.count == 8
    if eight and default not in ("16", "32") and quantization is not Quantization.Q4_K:
        types[Part.KEY] = "Q8_0"
        if quantization in _MORE_FOR_EIGHT_EXPERTS:
            types[Part.ATTENTION_OUTPUT] = "Q5_K"
    elif output := _ATTENTION_OUTPUT.get(quantization):
        types[Part.ATTENTION_OUTPUT] = output
    # llama.cpp has queries, keys and values of linear attention in one tensor.
    if fused := _FUSED.get(quantization):
        types[Part.LINEAR_INPUT] = fused
    return types


_MORE_FOR_EIGHT_EXPERTS = {
    Quantization.Q2_K,
    Quantization.Q3_K_S,
    Quantization.Q3_K_M,
    Quantization.Q4_K_S,
    Quantization.Q4_K_M,
    Quantization.IQ4_XS,
}
_ATTENTION_OUTPUT = {Quantization.Q2_K: "Q3_K", Quantization.Q3_K_M: "Q4_K", Quantization.Q3_K_L: "Q5_K"}
_FUSED = {
    Quantization.Q3_K_M: "Q4_K",
    Quantization.Q3_K_L: "Q4_K",
    Quantization.Q4_K_M: "Q5_K",
    Quantization.Q5_K_M: "Q6_K",
}


def _value_type(shape: Architecture, quantization: Quantization, index: int, default: str) -> str:
    """Type of attn_v of one layer (llama_tensor_get_type_impl)."""
    if quantization is Quantization.Q4_K or default in ("16", "32"):
        return default
    if shape.experts is not None and shape.experts.count == 8:
        return "Q8_0"
    grouped = shape.attention_heads >= 4 * shape.kv_heads
    found = default
    if quantization is Quantization.Q2_K:
        found = "Q4_K" if grouped else "Q3_K"
    elif quantization is Quantization.Q3_K_M:
        found = "Q5_K" if index < 2 else "Q4_K"
    elif quantization is Quantization.Q3_K_L or (quantization is Quantization.IQ4_XS and grouped):
        found = "Q5_K"
    elif quantization in (Quantization.Q4_K_M, Quantization.Q5_K_M) and _more_bits(index, shape.layers):
        found = "Q6_K"
    elif quantization is Quantization.Q4_K_S and index < 4:
        found = "Q5_K"
    # It takes any model of 80 layers for Llama's 70B.
    return "Q5_K" if shape.layers == 80 and found in ("Q3_K", "Q4_K") else found


def _down_type(shape: Architecture, quantization: Quantization, index: int, default: str) -> str:
    """Type of ffn_down of one layer (llama_tensor_get_type_impl)."""
    first_eighth = index < shape.layers // 8
    if quantization is Quantization.Q2_K:
        return "Q3_K"
    if quantization is Quantization.Q3_K_M:
        return "Q5_K" if index < shape.layers // 16 else "Q4_K"
    if quantization is Quantization.Q3_K_L or (
        first_eighth and quantization in (Quantization.Q4_K_S, Quantization.IQ4_XS)
    ):
        return "Q5_K"
    if quantization in (Quantization.Q4_K_M, Quantization.Q5_K_M) and _more_bits(index, shape.layers):
        return "Q6_K"
    return default


def _more_bits(index: int, layers: int) -> bool:
    """llama-quantize's use_more_bits: the first and last eighth of the layers, and every third between."""
    return index < layers // 8 or index >= 7 * layers // 8 or (index - layers // 8) % 3 == 2


def _bytes(elements: int, kind: str, row: int) -> int:
    """Bytes of a tensor with rows of `row` elements."""
    return round(elements * _BITS[kind if row % 256 == 0 else _NARROW.get(kind, kind)] / 8)
