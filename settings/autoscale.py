"""How many replicas a server has where the load decides it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from settings.base import StrictModel


class AutoscaleSettings(StrictModel):
    """How the number of replicas follows the requests that run (a HorizontalPodAutoscaler)."""

    min: Annotated[int, Field(ge=1, le=1000)] = Field(default=1, description="Fewest pods.")
    max: Annotated[int, Field(ge=1, le=1000)] = Field(
        description="Most pods; the plan keeps GPUs for so many, so that none stays Pending."
    )
    running_requests: Annotated[int, Field(ge=1)] = Field(
        description="Running requests a pod, on average, above which there is one more (vllm_num_requests_running)."
    )
    # 300 s is Kubernetes' own default.
    scale_down_window_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        default=300, description="Seconds for which fewer pods must have sufficed before one goes."
    )

    @model_validator(mode="after")
    def _max_not_below_min(self) -> AutoscaleSettings:
        if self.max < self.min:
            raise ValueError(
                f"max {self.max} is below min {self.min}, so Kubernetes would refuse the autoscaler. Write {self.min} "
                "or more."
            )
        return self
