"""Objects whose creation was never answered: they may be there or not.

They are kept in the state without a uid, so that no run forgets them: the next one finds the object or makes it. In
place of the server's creationTimestamp stands when the attempt was given up, which tells its object from a later one.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from plugins._provider import Failure
from plugins.kubernetes.cluster import READ_SECONDS, ApiError
from plugins.kubernetes.objects import Object, identifier, name_of, pluck
from plugins.kubernetes.operations import ALREADY_EXISTS, Operations
from plugins.kubernetes.ownership import CREATOR, managed_fields

REASON = "It is not known whether it was created: it may be there. The next update finds it or makes it."

_SKEW = timedelta(seconds=60)
"""By how much the clocks here and on the server may differ."""


def uncertain(inputs: Object) -> Object:
    """What is kept of an object that may have been created from `inputs` until now."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {**inputs, "metadata": {**inputs["metadata"], "creationTimestamp": stamp}}


def is_uncertain(live: Object) -> bool:
    """Whether the state's object has never been seen in the cluster."""
    return not pluck(live, "metadata", "uid")


def is_ours(found: Object, was: Object, manager: str, retry_seconds: float) -> bool:
    """Whether an object that is there was created for this resource, and not for another one of the same name.

    Args:
        found: the object.
        was: the state's, which is uncertain.
        manager: the resource's field manager, which is its own: what bears it is ours at any time.
        retry_seconds: for how long its creation was tried. Every stack's creations bear the same manager, so that
            only the time tells them apart. An empty state is that of a run that was killed: who has put it there
            for a refresh looks at the time afterwards.
    """
    managers = [entry.get("manager") for entry in managed_fields(found)]
    if manager in managers and manager != CREATOR:
        return True
    if CREATOR not in managers:
        return False
    given_up, created = (_time(pluck(item, "metadata", "creationTimestamp")) for item in (was, found))
    if given_up is None or created is None:
        return not was
    longest = timedelta(seconds=retry_seconds + READ_SECONDS)  # the last try may begin when the time is over
    return given_up - longest - _SKEW <= created <= given_up + _SKEW


def _time(stamp: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(stamp))
    except ValueError:
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def found(operations: Operations, inputs: Object, was: Object, manager: str, *, anyones: bool) -> Object | None:
    """The object as it is; None if its creation was never answered, and it is not there.

    Args:
        operations: of the cluster.
        inputs: the new inputs.
        was: the state's object.
        manager: the resource's field manager.
        anyones: whether somebody else's object is taken over too: upsert.

    Raises:
        Failure: its creation was never answered, and someone else's object has its name.
        ApiError, UnknownKind, Unreachable, Cancelled: as they are.
    """
    try:
        there = operations.read(inputs, name_of(was))
    except ApiError as error:
        if error.not_found and is_uncertain(was):
            return None
        raise
    if is_uncertain(was) and not anyones and not is_ours(there, was, manager, operations.cluster.retry_seconds):
        raise Failure(ALREADY_EXISTS.format(error=f'{there["kind"]} "{identifier(there)}" already exists'))
    return there
