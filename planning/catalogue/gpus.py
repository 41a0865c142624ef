"""One model of GPU."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.base import StrictModel

_FP8_CAPABILITY = (8, 9)
"""The first compute capability with FP8 tensor cores (Ada; CUDA C++ Programming Guide, compute capabilities)."""


class GpuModel(StrictModel):
    """What is known of one model of GPU. Figures of the whole card, without MIG."""

    memory_mib: Annotated[int, Field(alias="memoryMiB", gt=0)]
    """What its driver reports as total (`nvidia-smi`), in MiB; with ECC on where the card comes so."""

    compute_capability: tuple[int, int]
    bandwidth_gb_per_second: Annotated[float, Field(alias="bandwidthGBPerSecond", gt=0)]
    """Of its memory, as the data sheet says, in GB (10^9 bytes) per second."""

    products: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names as GPU feature discovery writes them to `nvidia.com/gpu.product`: the driver's, with '-' for ' '."""

    source: str
    nvlink: bool = False
    """Whether several can be linked by NVLink, be it by a bridge that has to be bought."""

    @property
    def fp8(self) -> bool:
        """Whether its tensor cores compute in FP8."""
        return self.compute_capability >= _FP8_CAPABILITY
