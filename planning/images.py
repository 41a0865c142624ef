"""Where container images come from."""

from __future__ import annotations

from typing import TypeVar

from settings.base import StrictModel

_Images = TypeVar("_Images", bound=StrictModel)


def mirrored(image: str, mirror: str | None) -> str:
    """`image` at the registry `mirror`, with the same path, tag and digest; as it is where there is no mirror.

    As containerd has it, an image without a registry is Docker Hub's, and one without an owner is in `library` there.
    """
    if mirror is None:
        return image
    first, slash, rest = image.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        return f"{mirror}/{rest}"
    return f"{mirror}/{image}" if slash else f"{mirror}/library/{image}"


def all_mirrored(images: _Images, mirror: str | None) -> _Images:
    """`images`, whose every setting is an image, at the registry `mirror`."""
    moved = {name: mirrored(getattr(images, name), mirror) for name in type(images).model_fields}
    return images.model_copy(update=moved)
