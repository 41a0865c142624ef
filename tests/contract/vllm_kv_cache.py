"""The planner of vLLM's KV cache, from vLLM's own source, without PyTorch: a program of its own, which the test starts.

The few modules that plan the cache are imported as they are; everything that they import from elsewhere is a stand-in.
Each line of standard input is a question in JSON, which a line of standard output answers:

    {"layers": [{"kind": "full"|"window"|"latent"|"state", "heads": 8, "head_dim": 128, "element_bytes": 2,
                 "window": 4096, "state": [[...], [...]], "state_bytes": [2, 4]}, ...],
     "block_tokens": 16, "state_page_bytes": null, "max_model_len": 8192, "in_flight_tokens": 16384,
     "available_bytes": 10**10}
        -> {"blocks": N, "block_bytes": N, "concurrency": N}
    {"layers": 80, "stages": 3} -> [[first, one after the last], ...]

Usage: python vllm_kv_cache.py SOURCE, the unpacked source distribution.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

REAL = {
    "vllm.utils.math_utils",
    "vllm.v1.kv_cache_layout",
    "vllm.v1.kv_cache_spec_registry",
    "vllm.v1.kv_cache_interface",
    "vllm.v1.core.kv_cache_planning",
    "vllm.v1.core.kv_cache_utils",
    "vllm.v1.core.single_type_kv_cache_manager",
    "vllm.distributed.utils",
}
"""Modules of vLLM that are what is tested."""

STAND_INS = {"vllm", "torch", "msgspec", "cbor2", "regex"}


class _Any(type):
    """The type of stand-ins for classes and enumerations: whatever is asked of one is there."""

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


class _StandIn(types.ModuleType):
    __path__: list[str] = []  # noqa: RUF012  # what the import system looks for in a package

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = _Any(name, (), {}) if name[0].isupper() else MagicMock(name=name)
        setattr(self, name, made)
        return made


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, source: Path) -> None:
        self._source = source

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if name in REAL:
            return importlib.util.spec_from_file_location(
                name, self._source.joinpath(*name.split(".")).with_suffix(".py")
            )
        return importlib.machinery.ModuleSpec(name, self) if name.split(".")[0] in STAND_INS else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


class _Type:
    """A type of torch's, as far as its size goes."""

    def __init__(self, size: float) -> None:
        self.itemsize = size

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Type) and other.itemsize == self.itemsize

    def __hash__(self) -> int:
        return hash(self.itemsize)


def main() -> None:
    """Answer what standard input asks, until it ends."""
    sys.meta_path.insert(0, _Finder(Path(sys.argv[1])))
    sizes: Any = importlib.import_module("vllm.utils.torch_utils")
    sizes.get_dtype_size = lambda kind: kind.itemsize
    interface: Any = importlib.import_module("vllm.v1.kv_cache_interface")
    planning: Any = importlib.import_module("vllm.v1.core.kv_cache_planning")
    utils: Any = importlib.import_module("vllm.v1.core.kv_cache_utils")
    importlib.import_module("vllm.v1.core.single_type_kv_cache_manager")  # registers the kinds of caches
    planning.get_hisparse_kv_cache_groups = MagicMock(return_value=None)
    divide: Any = importlib.import_module("vllm.distributed.utils")
    divide.envs.VLLM_PP_LAYER_PARTITION = None
    for line in sys.stdin:
        asked = json.loads(line)
        if "stages" in asked:
            answer: Any = [divide.get_pp_indices(asked["layers"], n, asked["stages"]) for n in range(asked["stages"])]
        else:
            answer = _planned(asked, interface, planning, utils)
        print(json.dumps(answer), flush=True)


def _planned(asked: dict[str, Any], interface: Any, planning: Any, utils: Any) -> dict[str, Any]:
    config = MagicMock()
    config.model_config.max_model_len = asked["max_model_len"]
    config.max_in_flight_tokens = asked["in_flight_tokens"]
    config.parallel_config.decode_context_parallel_size = 1
    config.scheduler_config.disable_hybrid_kv_cache_manager = False
    config.cache_config.mamba_cache_mode = "align"
    config.cache_config.num_gpu_blocks_override = None
    config.attention_config.hisparse_config = None
    layout = interface.KVCacheLayout.LBNHC  # the one that vLLM prefers (v1/attention/backends/utils.py)
    config.cache_config.get_resolved_kv_cache_layout = lambda: layout
    specs = {f"layer.{n}": _spec(layer, asked, interface) for n, layer in enumerate(asked["layers"])}
    groups = planning.get_kv_cache_groups(config, dict(specs))
    block_bytes = planning._pool_bytes_per_block(config, groups)
    made = planning.get_kv_cache_config_from_groups(config, groups, asked["available_bytes"])
    return {
        "blocks": made.num_blocks,
        "block_bytes": block_bytes,
        "concurrency": utils.get_max_concurrency_for_kv_cache_config(config, made),
    }


def _spec(layer: dict[str, Any], asked: dict[str, Any], interface: Any) -> Any:
    block = asked["block_tokens"]
    if layer["kind"] == "state":
        return interface.MambaSpec(
            block_size=block,
            shapes=tuple(tuple(shape) for shape in layer["state"]),
            dtypes=tuple(_Type(size) for size in layer["state_bytes"]),
            page_size_padded=asked["state_page_bytes"],
            mamba_cache_mode="align",
        )
    common = {"block_size": block, "head_size": layer["head_dim"], "dtype": _Type(layer["element_bytes"])}
    if layer["kind"] == "latent":
        return interface.MLAAttentionSpec(num_kv_heads=1, **common)
    if layer["kind"] == "window":
        return interface.SlidingWindowSpec(num_kv_heads=layer["heads"], sliding_window=layer["window"], **common)
    return interface.FullAttentionSpec(num_kv_heads=layer["heads"], **common)


if __name__ == "__main__":
    main()
