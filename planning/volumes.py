"""What the site's volumes are, and whether they hold what is to be on them."""

from __future__ import annotations

from dataclasses import dataclass

from settings.base import quantity_bytes
from settings.storage import AccessMode, StorageSettings


@dataclass(frozen=True, kw_only=True)
class VolumeClass:
    """What every PersistentVolumeClaim asks for."""

    storage_class: str | None
    """None for the cluster's default class."""

    access_mode: AccessMode


def volume_class(storage: StorageSettings) -> VolumeClass:
    """The volumes of a site with `storage`."""
    return VolumeClass(storage_class=storage.class_name, access_mode=storage.access_mode)


def check_cache(name: str, written: str | None, files_bytes: int | None, problems: list[str]) -> None:
    """A volume that is smaller than the model's files is added to `problems`.

    Args:
        name: of the server.
        written: size of the volume as the stack file has it; None where it follows the model.
        files_bytes: of the model; None where they are not known.
    """
    if written is not None and files_bytes is not None and quantity_bytes(written) < files_bytes:
        problems.append(
            f"models.{name}.cache: {written} is {quantity_bytes(written) / 10**9:.1f} GB, but the model's files are "
            f"{files_bytes / 10**9:.1f} GB, so the download would end when the volume is full. Write "
            f"{files_bytes * 6 // 5 // 2**30 + 1}Gi or more, or leave it out."
        )
