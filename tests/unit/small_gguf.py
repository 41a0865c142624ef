"""Small GGUF files, written as llama.cpp's own tools write them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import gguf
import numpy

GGUF_TENSORS = {
    "token_embd.weight": (256, 64),
    **{f"blk.{n}.attn_{p}.weight": (64, 64) for n in range(2) for p in ("q", "output")},
    **{f"blk.{n}.attn_{p}.weight": (32, 64) for n in range(2) for p in "kv"},
    **{f"blk.{n}.ffn_{p}.weight": (128, 64) for n in range(2) for p in ("gate", "up", "down")},
}


def write_gguf(
    file: Path,
    *,
    family: str = "llama",
    file_type: int = 1,
    tensors: Mapping[str, tuple[int, ...]] = GGUF_TENSORS,
    more: Mapping[str, int | str | list[int] | list[str]] = MappingProxyType({}),
) -> None:
    writer = gguf.GGUFWriter(file, family)
    writer.add_file_type(file_type)
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_context_length(512)
    writer.add_token_list([f"<{n}>" for n in range(256)])
    writer.add_license("apache-2.0")
    for key, value in more.items():
        if isinstance(value, int):
            writer.add_uint32(key, value)
        elif isinstance(value, str):
            writer.add_string(key, value)
        else:
            writer.add_array(key, value)
    for name, shape in tensors.items():
        writer.add_tensor(name, numpy.zeros(shape, dtype=numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
