"""How long a rollout may take: by Kubernetes itself, and by Pulumi, which waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from llm_policies.objects import Object

_PROGRESS_SECONDS = 600
"""Kubernetes' own progressDeadlineSeconds."""

_PULUMI_SECONDS = 600
"""How long Pulumi waits for a Deployment where nothing is said."""

_TIMEOUT = "pulumi.com/timeoutSeconds"
_SKIP = "pulumi.com/skipAwait"
_MOST_DIGITS = 9


class Wait(NamedTuple):
    """One that gives up at some time."""

    name: str
    seconds: int
    repair: str
    """What to set, to have it longer."""


def progress_seconds(item: Object) -> int:
    """Seconds without progress after which a Deployment's rollout has failed."""
    written = item.properties.get("spec", "progressDeadlineSeconds").integer(least=0)
    return _PROGRESS_SECONDS if written is None else written


def waits(item: Object) -> Iterator[Wait]:
    """Everyone that waits for a Deployment; custom_timeouts are seen from Pulumi's engine only.

    Raises:
        Doubt: a number is not known yet, or none.
    """
    yield Wait("progressDeadlineSeconds", progress_seconds(item), "progressDeadlineSeconds")
    annotations = item.properties.get("metadata", "annotations")
    if annotations.get(_SKIP).text() == "true":
        return  # Pulumi does not wait
    if item.timeouts:
        # These go before the annotation.
        for name, seconds in sorted(item.timeouts.items()):
            yield Wait(f"custom_timeouts.{name}", int(seconds), f"custom_timeouts.{name}")
    elif (told := annotations.get(_TIMEOUT).text()) is not None:
        if not told.isdecimal() or len(told) > _MOST_DIGITS:
            raise annotations.get(_TIMEOUT).malformed("a number of seconds")
        yield Wait(_TIMEOUT, int(told), _TIMEOUT)
    elif item.timeouts is not None:
        yield Wait("Pulumi's own wait", _PULUMI_SECONDS, f"{_TIMEOUT}, or custom_timeouts,")
