"""Memory under llama.cpp, alone or inside Ollama: what does not fit stays in host memory, layer by layer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from math import ceil

from planning.catalogue import LanguageModel
from planning.memory.gguf_weights import gguf_weights
from planning.memory.gpu_memory import CUDA_MIB, MIB, GpuMemory
from planning.memory.layers import Attention, Layer, layers_of
from settings.architecture import Architecture

_DECODING_MIB = 82
"""What the first decoding adds: kernels that are loaded when they are first called, CUDA graphs. What is left of the
rows of llamacpp-memory-h200.csv after cache and compute buffer: 80 to 83 MiB."""

_CUBLAS_MIB = 104
"""cuBLAS and its workspace, which matrices of 16 bits are multiplied with (the F16 rows of the same file)."""

_CELLS = 256
"""llama.cpp rounds a cache up to so many tokens (llama-context.cpp, llama-kv-cache-iswa.cpp)."""

_PIPELINE_COPIES = 4
"""Copies of a graph's inputs, where several GPUs work on several batches at once (GGML_SCHED_MAX_COPIES)."""


@dataclass(frozen=True, kw_only=True)
class LlamaCppLoad:
    """How one model is loaded, as far as its memory depends on it."""

    context_tokens: int
    """Tokens of the whole cache; parallel sequences share them (n_ctx)."""

    key_bits: float = 16
    value_bits: float = 16
    """Bits of one element of the cache, with its share of scales (--cache-type-k, --cache-type-v)."""

    ubatch_tokens: int = 512
    """Tokens that are computed at once (--ubatch-size)."""

    gpus: int = 1
    """GPUs over which layers are divided."""

    gpu_parts: tuple[float, ...] = ()
    """What each GPU gets of the layers, in relation to the others (--tensor-split); as many each where it is empty."""

    gpu_layers: int | None = None
    """Layers that may be on the GPU, the output layer counted as one (--n-gpu-layers); None for as many as fit."""

    sequences: int = 1
    """Requests at once (--parallel): each has its own window in layers that have one, and its own recurrent state."""

    unified_cache: bool = False
    """Whether requests share one cache (--kv-unified). With a --parallel that is written each has an equal part."""

    flash_attention: bool = True
    """Without it every head's scores of a batch over the whole cache are in memory at once."""

    full_window_cache: bool = False
    """Whether layers with a window keep the whole context all the same (--swa-full)."""

    output_tokens: int | None = None
    """Tokens of a batch that logits are kept for; None for all of them. A llama-server of 2026 keeps those of one a
    sequence (n_outputs_max), so that it takes less than is told here."""

    margin_mib: int = 1024
    """What llama.cpp wants to stay free of each GPU where it decides how many layers go there (--fit-target)."""


@dataclass(frozen=True, kw_only=True)
class LlamaCppMemory:
    """What a loaded model takes."""

    gpu: GpuMemory
    """Of the GPU that has least left."""

    spilled_layers: int
    """Layers that stay in host memory and are computed by the CPU; 0 where the model is all on the GPU."""

    host_mib: int
    """Host memory of what is not on a GPU: spilled layers with their cache, the token embedding."""

    largest_context: int
    """Most tokens of the whole cache with which nothing spills; 0 where the weights alone do."""


def llama_cpp_memory(model: LanguageModel, load: LlamaCppLoad, *, limit_mib: int) -> LlamaCppMemory:
    """Memory of one model that llama.cpp loads, where it may take `limit_mib` of each GPU.

    Layers go to the GPUs from the last to the first, the output layer before all (llama-model.cpp, load_tensors). Each
    GPU gets an equal number, as cards of one kind have equally much free.
    """
    loaded = _Loaded(model, load)
    asked = loaded.all_layers if load.gpu_layers is None else min(load.gpu_layers, loaded.all_layers)
    # Somebody who says how many is not asked again whether they fit.
    on_gpu = (
        asked if load.gpu_layers is not None else _most(asked, lambda n: loaded.fits(n, limit_mib, cells=loaded.cells))
    )
    fullest = max(loaded.gpus(on_gpu, cells=loaded.cells), key=lambda gpu: gpu.bytes)
    return LlamaCppMemory(
        gpu=GpuMemory(
            weights_mib=_mib(fullest.weights),
            kv_cache_mib=_mib(fullest.cache),
            other_mib=_mib(fullest.buffers),
            limit_mib=limit_mib,
        ),
        spilled_layers=loaded.all_layers - on_gpu,
        host_mib=_mib(loaded.host_bytes(on_gpu)),
        largest_context=_largest_context(loaded, load, model.architecture, asked, limit_mib),
    )


@dataclass(frozen=True, slots=True)
class _Gpu:
    """Bytes of one GPU."""

    weights: int
    cache: int
    buffers: int

    @property
    def bytes(self) -> int:
        return self.weights + self.cache + self.buffers


class _Loaded:
    """A model that is loaded as `load` says, with more or fewer of its layers on GPUs."""

    def __init__(self, model: LanguageModel, load: LlamaCppLoad) -> None:
        self._load = load
        self._shape = shape = model.architecture
        self._weights = weights = gguf_weights(model)
        self._generates = shape.layers_without_kv_cache < shape.layers or shape.linear_attention is not None
        self.all_layers = shape.layers + 1
        # Sums up to each layer, the output layer last: what layers a to b take is a difference.
        output = weights.output if self._generates else 0
        self._weights_before = list(accumulate((*weights.layers, output), initial=0))
        self._kinds = _kinds(shape)
        # llama-server takes parts that are all 0 for none.
        parts = load.gpu_parts if any(load.gpu_parts) else (1,) * load.gpus
        self._parts_before = [part / sum(parts) for part in accumulate(parts, initial=0)]
        self.streams = _streams(load)
        # llama-context.cpp rounds the context, and then each request's part of it.
        self.cells = self.streams * _cells(_cells(load.context_tokens) // self.streams)

    def _cache(self, start: int, end: int, cells: int) -> int:
        return sum(
            (before[end] - before[start]) * cache_bytes(kind, self._shape, self._load, cells)
            for kind, before in self._kinds
        )

    def fits(self, on_gpu: int, limit_mib: int, *, cells: int) -> bool:
        """Whether llama.cpp would put so many layers on the GPUs, with a cache of `cells` tokens."""
        # It does not count what the first decoding adds, and has the margin for it.
        margin = self._load.margin_mib if self._load.gpu_layers is None else 0
        spare = max(0, margin - _DECODING_MIB) * MIB
        return all(gpu.bytes + spare <= limit_mib * MIB for gpu in self.gpus(on_gpu, cells=cells))

    def gpus(self, on_gpu: int, *, cells: int) -> list[_Gpu]:
        """Each GPU, with so many layers on all together, and a cache of `cells` tokens."""
        first = self.all_layers - on_gpu
        # Layer i, counted from the first on a GPU, is on the first GPU up to which parts are more than i of all layers.
        edges = [first + ceil(round(on_gpu * part, 6)) for part in self._parts_before]
        return [self._gpu(start, end, spilled=first, cells=cells) for start, end in pairwise(edges)]

    def _gpu(self, start: int, end: int, *, spilled: int, cells: int) -> _Gpu:
        weights = self._weights
        held = self._weights_before[end] - self._weights_before[start]
        if start == spilled < end:
            held += weights.others
        used_always = CUDA_MIB + _DECODING_MIB + (_CUBLAS_MIB if weights.sixteen_bits else 0)
        return _Gpu(
            weights=held,
            cache=self._cache(start, end, cells),
            buffers=used_always * MIB
            + self._compute_buffer(has_output=start < end == self.all_layers, spilled=spilled, cells=cells),
        )

    def _compute_buffer(self, *, has_output: bool, spilled: int, cells: int) -> int:
        """Bytes of the largest set of intermediate results that are alive at once (ggml's graph allocator).

        With small contexts these are the logits of a batch; with large ones the mask of a batch over the whole cache,
        beside what a layer computes. A layer in host memory lends its weights to the GPU for large batches, one tensor
        at a time.
        """
        shape, load = self._shape, self._load
        batch, hidden = load.ubatch_tokens, shape.hidden_size
        copies = _PIPELINE_COPIES if load.gpus > 1 and not spilled else 1
        made = 3 * shape.intermediate_size
        if (experts := shape.experts) is not None:
            made = max(made, 3 * experts.shared * experts.intermediate_size)
            made += experts.active * (3 * experts.intermediate_size + hidden)
        heads = shape.attention_heads * shape.head_dim
        if (latent := shape.latent_attention) is not None:
            heads = shape.attention_heads * (latent.kv_lora_rank + latent.qk_rope_head_dim)
        context = cells if self._generates else batch
        scores = 0 if load.flash_attention else 4 * batch * context * shape.attention_heads
        attention = scores + 4 * batch * (2 * hidden + 2 * heads)
        feed_forward = 4 * batch * (3 * hidden + made)
        inside = 2 * batch * context * copies + max(attention, feed_forward)
        logits = 4 * (batch * hidden + (load.output_tokens or batch) * shape.vocabulary_size)
        if not (has_output and self._generates):
            logits = 0
        inputs = 4 * batch * hidden * (copies - 1)
        return max(inside, logits) + inputs + (self._weights.largest_tensor if spilled else 0)

    def host_bytes(self, on_gpu: int) -> int:
        """Host memory of the model's weights, caches and inputs that are not on a GPU."""
        spilled = self.all_layers - on_gpu
        weights = self._weights
        output = weights.output if on_gpu == 0 and not weights.tied else 0
        inputs = self._load.ubatch_tokens * (2 * self.cells + 4 * self._shape.hidden_size)
        layers = self._weights_before[min(spilled, self.all_layers - 1)] + self._cache(0, spilled, self.cells)
        return layers + weights.embedding + output + inputs


@lru_cache(maxsize=4096)
def _kinds(shape: Architecture) -> tuple[tuple[Layer, tuple[int, ...]], ...]:
    """Each kind of layer, with how many there are before each layer, the output layer and the end."""
    layers = layers_of(shape)
    return tuple(
        (kind, tuple(accumulate((*(layer is kind for layer in layers), 0), initial=0))) for kind in set(layers)
    )


def cache_bytes(layer: Layer, shape: Architecture, load: LlamaCppLoad, cells: int) -> int:
    """What one layer keeps of all sequences, in a cache of `cells` tokens (llama_kv_cache, llama_kv_cache_iswa,
    llama_memory_recurrent).
    """
    if layer.attention is Attention.LINEAR and shape.linear_attention is not None:
        # The state is in 32 bits, whatever the type of the cache.
        return 4 * shape.linear_attention.state_elements * load.sequences
    if layer.attention is Attention.LATENT and shape.latent_attention is not None:
        # Values are a part of the keys, which one vector for all heads holds.
        latent = shape.latent_attention
        return round(cells * (latent.kv_lora_rank + latent.qk_rope_head_dim) * load.key_bits / 8)
    if layer.attention is Attention.WINDOW and shape.sliding_window is not None and not load.full_window_cache:
        streams = _streams(load)
        windows = shape.sliding_window.tokens * load.sequences // streams
        cells = streams * min(cells // streams, _cells(windows + load.ubatch_tokens))
    return round(cells * layer.kv_heads * layer.head_dim * (load.key_bits + load.value_bits) / 8)


def _streams(load: LlamaCppLoad) -> int:
    """Equal parts of the cache, each with a batch's tokens of its own beside its window."""
    return 1 if load.unified_cache else load.sequences


def _cells(tokens: int) -> int:
    return -(-tokens // _CELLS) * _CELLS


def _most(highest: int, fits: Callable[[int], bool]) -> int:
    """The largest of 0 to `highest` that fits, where with one all smaller ones do; 0 where none does."""
    if fits(highest):
        return highest
    low, high = 0, highest
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def _largest_context(loaded: _Loaded, load: LlamaCppLoad, shape: Architecture, on_gpu: int, limit_mib: int) -> int:
    """Most tokens for which so many layers fit on the GPUs: a multiple of 256 in each part of the cache.

    At most what the model was made for; every sequence may use the whole of that, so several have several times of it.
    """
    most = shape.context_tokens * load.sequences
    block = _CELLS * loaded.streams
    blocks = _most(-(-most // block), lambda n: loaded.fits(on_gpu, limit_mib, cells=n * block))
    return min(most, blocks * block)


def _mib(size: int) -> int:
    return -(-size // MIB)
