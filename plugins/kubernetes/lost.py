"""Objects whose creation was never answered: they may be there or not.

They are kept in the state without a uid, so that no run forgets them: the next one finds the object or makes it.
"""

from __future__ import annotations

from plugins._provider import Failure
from plugins.kubernetes.cluster import ApiError
from plugins.kubernetes.objects import Object, identifier, name_of, pluck
from plugins.kubernetes.operations import ALREADY_EXISTS, Operations
from plugins.kubernetes.ownership import CREATOR, managed_fields

REASON = "The connection was lost while it was created: it may be there. The next update finds it or makes it."


def is_uncertain(live: Object) -> bool:
    """Whether the state's object has never been seen in the cluster."""
    return not pluck(live, "metadata", "uid")


def is_ours(found: Object, manager: str) -> bool:
    """Whether an object that is there was created by this provider, and not by someone else under the same name."""
    return any(entry.get("manager") in (CREATOR, manager) for entry in managed_fields(found))


def found(operations: Operations, inputs: Object, was: Object, manager: str) -> Object | None:
    """The object as it is; None if its creation was never answered, and it is not there.

    Args:
        operations: of the cluster.
        inputs: the new inputs.
        was: the state's object.
        manager: the resource's field manager.

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
    if is_uncertain(was) and not is_ours(there, manager):
        raise Failure(ALREADY_EXISTS.format(error=f'{there["kind"]} "{identifier(there)}" already exists'))
    return there
