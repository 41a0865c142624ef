"""Extended resources that are GPUs."""

from __future__ import annotations

GPU_RESOURCES = ("nvidia.com/gpu", "nvidia.com/gpu.shared", "amd.com/gpu", "gpu.intel.com/i915", "gpu.intel.com/xe")
"""Extended resources that stand for GPUs, or for time slices of one; a node's are counted by them."""

_GPU_PARTS = ("nvidia.com/mig-", "amd.com/cpx_", "amd.com/dpx_", "amd.com/qpx_", "amd.com/spx_")
"""How resources begin that stand for a part of a GPU with a memory of its own, by its profile."""


def is_gpu(resource: str) -> bool:
    """Whether an extended resource is a GPU or a part of one; `nvidia.com/gpumem`, a share of memory, is none."""
    return resource in GPU_RESOURCES or resource.startswith(_GPU_PARTS)
