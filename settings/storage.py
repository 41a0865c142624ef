"""How fast models come to a node and into memory; start-up budgets are made of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from settings.base import StrictModel, Subdomain

AccessMode = Literal["ReadWriteOnce", "ReadWriteMany"]


class StorageSettings(StrictModel):
    """Speeds of the site, and the class of its volumes."""

    class_name: Subdomain | None = Field(
        default=None, description="StorageClass of all volumes; the cluster's default by default."
    )
    access_mode: AccessMode = Field(
        default="ReadWriteOnce",
        description="What the class can do: ReadWriteOnce keeps all replicas of a server on one node.",
    )
    # 140 GB in about 5 minutes from SSD (mission.md's published table).
    read_megabytes_per_second: Annotated[int, Field(ge=1)] = Field(
        default=450, description="Speed at which weights are read from a node's disk, in MB/s."
    )
    download_megabytes_per_second: Annotated[int, Field(ge=1)] = Field(
        default=25, description="Speed at which models are downloaded, in MB/s."
    )
