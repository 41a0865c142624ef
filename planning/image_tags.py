"""Tags of images under which tomorrow may be another image than today."""

from __future__ import annotations

from collections.abc import Iterator

from settings.stack import Settings

MOVING_TAGS = ("", "latest", "nightly", "main")
"""As the policy pack refuses them; no tag is `latest`."""


def moving_images(settings: Settings) -> Iterator[str]:
    """A warning for each image of an engine or the gateway that is not the same tomorrow."""
    images = {f"models.{name}.image": server.image for name, server in settings.models.items()}
    if settings.ingress is not None:
        images["ingress.image"] = settings.ingress.image
    for path, image in images.items():
        tag = image.rpartition("/")[2].partition(":")[2]
        if "@sha256:" not in image and tag in MOVING_TAGS:
            called = f"the tag '{tag}' moves" if tag else "no tag means 'latest', which moves"
            yield (
                f"{path}: {image!r}: {called}, so another release may start with the next pod, with other flags and "
                "metrics; the policy pack refuses it. Write a release tag or a digest."
            )
