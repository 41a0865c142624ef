"""One model of GPU."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from settings.base import StrictModel

_FP8_CAPABILITY = (8, 9)
"""The first compute capability with FP8 tensor cores (Ada; CUDA C++ Programming Guide, compute capabilities)."""

DRIVER_MIB = 480
"""What a card's driver reports as total and CUDA does not give away: 469 MiB on an H100 80GB, 350 to 470 on an RTX
4090, about 800 on an A100 80GB."""


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
    def cuda_mib(self) -> int:
        """What CUDA gives of its memory to all processes together, in MiB."""
        return self.memory_mib - DRIVER_MIB

    @property
    def fp8(self) -> bool:
        """Whether its tensor cores compute in FP8."""
        return self.compute_capability >= _FP8_CAPABILITY
