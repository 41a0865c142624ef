"""What the site's volumes are."""

from __future__ import annotations

from dataclasses import dataclass

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
