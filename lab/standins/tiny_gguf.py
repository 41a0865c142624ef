"""Makes a GGUF model of about 300 kB that llama.cpp and Ollama load: random weights, so its text means nothing.

The text is well formed all the same: letters, spaces and an end. The first of the model's dimensions is held
constant, so that the weights which lead from it to the vocabulary act as a bias for or against each token.
"""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
from numpy.typing import NDArray

# Heads of 32, so that the cache can be quantized: that is done in blocks of so many elements of a head.
_EMBEDDING, _HEADS, _KEY_VALUE_HEADS, _FEED_FORWARD, _CONTEXT, _LAYERS = 64, 2, 1, 128, 4096, 2
_HEAD_SIZE = _EMBEDDING // _HEADS
_WANTED, _END, _UNWANTED = 0.0, 0.2, -20.0
"""Biases: for letters, for the end of the text, against everything else."""
_LETTERS = "etaoinshrdlcumwfgypbvkjxqzETAOINSHRDLCUMWFGYPBVKJXQZ0123456789.,!?:;'\"-()"
_SPACE = "\u2581"
_CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)

Weights = NDArray[np.float16]


def _vocabulary() -> tuple[list[bytes], list[float], list[int], list[float]]:
    """Tokens in SentencePiece's style with every byte: their text, scores, types, and biases."""
    kinds = gguf.TokenType
    rows: list[tuple[bytes, float, int, float]] = [
        (b"<unk>", 0.0, kinds.UNKNOWN, _UNWANTED),
        (b"<s>", 0.0, kinds.CONTROL, _UNWANTED),
        (b"</s>", 0.0, kinds.CONTROL, _END),
    ]
    rows += [(f"<0x{value:02X}>".encode(), 0.0, kinds.BYTE, _UNWANTED) for value in range(256)]
    pieces = [_SPACE, *_LETTERS, *(_SPACE + letter for letter in "taoiswbcmfdph")]
    rows += [(piece.encode(), -float(rank), kinds.NORMAL, _WANTED) for rank, piece in enumerate(pieces, start=1)]
    while len(rows) % 32:  # a whole number of quantization blocks
        rows.append((f"<unused{len(rows)}>".encode(), -1000.0, kinds.UNUSED, _UNWANTED))
    texts, scores, types, biases = zip(*rows, strict=True)
    return list(texts), list(scores), [int(kind) for kind in types], list(biases)


def write(path: Path, name: str, seed: int) -> None:
    """Write the model to `path`: the same bytes for the same `name` and `seed`."""
    random = np.random.default_rng(seed)
    tokens, scores, types, biases = _vocabulary()

    def matrix(rows: int, columns: int) -> Weights:
        weights: Weights = (random.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float16)
        return weights

    def residual(columns: int) -> Weights:
        """A matrix that adds nothing to the constant dimension."""
        weights = matrix(_EMBEDDING, columns)
        weights[0, :] = 0
        return weights

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_type("model")
    writer.add_name(name)
    writer.add_license("cc0-1.0")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_vocab_size(len(tokens))
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_EMBEDDING)
    writer.add_block_count(_LAYERS)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_head_count_kv(_KEY_VALUE_HEADS)
    writer.add_rope_dimension_count(_HEAD_SIZE)
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores(scores)
    writer.add_token_types(types)
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(True)
    writer.add_chat_template(_CHAT_TEMPLATE)

    ones = np.ones(_EMBEDDING, dtype=np.float32)
    embedding = matrix(len(tokens), _EMBEDDING)
    embedding[:, 0] = 1
    writer.add_tensor("token_embd.weight", embedding)
    for layer in range(_LAYERS):
        block = f"blk.{layer}."
        writer.add_tensor(f"{block}attn_norm.weight", ones)
        writer.add_tensor(f"{block}attn_q.weight", matrix(_HEADS * _HEAD_SIZE, _EMBEDDING))
        writer.add_tensor(f"{block}attn_k.weight", matrix(_KEY_VALUE_HEADS * _HEAD_SIZE, _EMBEDDING))
        writer.add_tensor(f"{block}attn_v.weight", matrix(_KEY_VALUE_HEADS * _HEAD_SIZE, _EMBEDDING))
        writer.add_tensor(f"{block}attn_output.weight", residual(_HEADS * _HEAD_SIZE))
        writer.add_tensor(f"{block}ffn_norm.weight", ones)
        writer.add_tensor(f"{block}ffn_gate.weight", matrix(_FEED_FORWARD, _EMBEDDING))
        writer.add_tensor(f"{block}ffn_up.weight", matrix(_FEED_FORWARD, _EMBEDDING))
        writer.add_tensor(f"{block}ffn_down.weight", residual(_FEED_FORWARD))
    writer.add_tensor("output_norm.weight", ones)
    output = matrix(len(tokens), _EMBEDDING)
    output[:, 0] = np.array(biases, dtype=np.float16)
    writer.add_tensor("output.weight", output)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
