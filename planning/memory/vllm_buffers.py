"""What vLLM takes beside weights and KV cache: activations, CUDA graphs, communication, slots for adapters.

vLLM measures its activations at start, by a forward pass of the largest batch. Here they are computed, by formulas
whose terms are the tensors of that pass and whose constants were fitted to runs of vLLM 0.19.0 on H100s whose logs are
public (docs/memory.md): estimates.
"""

from __future__ import annotations

from planning.memory.gpu_memory import MIB
from planning.memory.layers import Attention, Layer, Part, layers_of
from settings.architecture import Architecture

_SAMPLER_BYTES = 14.3
"""Bytes for each logit of a full batch: 16-bit logits, their copy in 32 bits, sorted, with 64-bit indices."""

_SMALL_MIB = 48
"""Tensors of a batch that depend on nothing else: positions, block tables, masks."""

_GRAPH_MIB = 0.5
"""Driver memory of one layer in the graphs of one batch size, with and without attention in them."""

_LARGEST_GRAPH = 512
"""Largest batch size that graphs are captured for (max_cudagraph_capture_size)."""

_ELEMENT_BYTES = 2


def activations_mib(
    shape: Architecture, *, batched_tokens: int, sequences: int, tensor_parallel: int, stages: int, last: bool
) -> int:
    """Peak of the intermediate results of a batch, in MiB.

    It is reached in the sampler, which is on the last stage and whose logits every GPU has of the whole vocabulary, or
    in the widest layer, of which each GPU has its part. Workspaces of experts are kept, so they come on top.
    """
    hidden = batched_tokens * shape.hidden_size * _ELEMENT_BYTES
    sampler = min(sequences, batched_tokens) * shape.vocabulary_size * _SAMPLER_BYTES + 2 * hidden
    kinds = set(layers_of(shape))
    widest = max(_inside(layer, shape, tensor_parallel) for layer in kinds)
    # Between stages, hidden state and residual are sent and received.
    forward = batched_tokens * widest * _ELEMENT_BYTES + 4 * hidden + (2 * hidden if stages > 1 else 0)
    experts = batched_tokens * _experts(shape, tensor_parallel) * _ELEMENT_BYTES
    samples = last and any(layer.attention is not Attention.ENCODER for layer in kinds)
    return _SMALL_MIB + -(-round(experts + max(forward, sampler if samples else 0)) // MIB)


def _inside(layer: Layer, shape: Architecture, tensor_parallel: int) -> float:
    """Elements for each token inside one layer: inputs of its widest part, and what they are made to."""
    ups = sum(m.outputs * m.copies for m in layer.matrices if m.part in (Part.GATE, Part.UP) and not m.expert)
    mlp = ups * 1.5 if shape.gated_mlp else ups * 2
    if layer.attention is Attention.LATENT and (latent := shape.latent_attention):
        # For prompts, keys and values of all heads are made of the latent vectors.
        key = latent.qk_nope_head_dim + latent.qk_rope_head_dim
        attention = shape.attention_heads * (2 * key + 2 * latent.v_head_dim)
    else:
        made = (Part.QUERY, Part.KEY, Part.VALUE, Part.LINEAR_INPUT)
        attention = sum(m.outputs for m in layer.matrices if m.part in made)
        attention += sum(m.inputs for m in layer.matrices if m.part in (Part.ATTENTION_OUTPUT, Part.LINEAR_OUTPUT))
    return max(mlp, attention) / tensor_parallel


def _experts(shape: Architecture, tensor_parallel: int) -> float:
    """Elements for each token of the fused experts' three workspaces."""
    if (experts := shape.experts) is None:
        return 0
    return experts.active * (3 * experts.intermediate_size / tensor_parallel + shape.hidden_size)


def graphs_mib(layers: int, *, sequences: int, batched_tokens: int) -> int:
    """CUDA graphs of all batch sizes, in MiB; vLLM captures them up to twice the sequences, at most 512."""
    largest = min(2 * sequences, _LARGEST_GRAPH, batched_tokens)
    sizes = sum(1 for size in (1, 2, 4) if size <= largest)
    sizes += max(0, min(largest, 255) // 8) + max(0, (largest - 256) // 16 + 1 if largest >= 256 else 0)
    return round(sizes * layers * _GRAPH_MIB)


def adapters_bytes(
    shape: Architecture, layers: tuple[Layer, ...], *, count: int, rank: int, tensor_parallel: int
) -> int:
    """Slots of LoRA adapters on one GPU (vllm/lora/layers): for every matrix, one that goes down to the rank and one
    that goes up from it, in 16 bits. Of those that a GPU has a part of, the smaller side stays whole.
    """
    held = 2.0 * (shape.vocabulary_size + shape.hidden_size)
    kinds: dict[Layer, float] = {}
    for layer in layers:
        if layer not in kinds:
            kinds[layer] = sum(
                m.copies * (m.inputs + m.outputs / tensor_parallel)
                if m.part not in (Part.ATTENTION_OUTPUT, Part.DOWN, Part.LINEAR_OUTPUT)
                else m.copies * (m.inputs / tensor_parallel + m.outputs)
                for m in layer.matrices
                if m.part not in (Part.ROUTER, Part.CONVOLUTION)
            )
        held += kinds[layer]
    return round(count * rank * held * _ELEMENT_BYTES)
