"""Property values between the engine's protobuf structs and plain Python.

Plain means: dict, list, str, bool, int, float, None, plus two wrappers, `Secret` and `UNKNOWN`. Protobuf knows only
floats, Kubernetes tells `1` from `1.0`: whole numbers come out as int.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]  # stubs lie in a namespace package

# As in pulumi.runtime.rpc, which would bring the whole SDK into a plugin.
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Key that marks a struct as a secret, an asset, an archive, a resource or an output."""

ASSET = "c44067f5952c0a294b673a41bacd8c17"
ARCHIVE = "0def7320c3a5731c473e5ecbe6d01bc7"
"""Marks of a file or text, and of a folder or several files."""

SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 # no password: a mark
RESOURCE = "5cf8f73096256a8f31e491e813e4eb8e"
OUTPUT = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
"""Marks of a secret, of a reference to a resource, and of an output that says itself whether it is known and secret."""

UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
"""Stands for a value that a preview cannot know yet."""

_LARGEST_EXACT = 2**53


class _Unknown:
    """The type of `UNKNOWN`."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()
"""A value that a preview cannot know yet."""


@dataclass(frozen=True)
class Secret:
    """A value that must not be shown; what is inside may hold secrets again."""

    value: Any


class UnsupportedValue(Exception):
    """A kind of value that the stand-in does not take, e.g. a resource; the message names it and its path."""


def from_struct(properties: struct_pb2.Struct, *, assets: bool = False) -> dict[str, Any]:
    """Properties as the engine sent them, with secrets and unknowns wrapped.

    Args:
        properties: the engine's.
        assets: take assets and archives, too, as maps with the mark of their kind under `SIGNATURE`. So they go into
            the state as they came, and what differs between two of them is their path, text or hash.

    Raises:
        UnsupportedValue: a resource reference is among them, or an asset or archive that is not asked for.
    """
    return {name: _from_value(value, name, assets) for name, value in properties.fields.items()}


def _from_value(value: struct_pb2.Value, path: str, assets: bool) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return UNKNOWN if value.string_value == UNKNOWN_TEXT else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= _LARGEST_EXACT else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_from_value(item, f"{path}[{index}]", assets) for index, item in enumerate(value.list_value.values)]
    if kind != "struct_value":
        return None
    fields = value.struct_value.fields
    if SIGNATURE not in fields:
        return {name: _from_value(item, f"{path}.{name}", assets) for name, item in fields.items()}
    signature = fields[SIGNATURE].string_value
    if assets and signature in (ASSET, ARCHIVE):
        return json_format.MessageToDict(value)
    if signature == SECRET:
        return Secret(_from_value(fields["value"], path, assets))
    if signature == OUTPUT:
        inner = _from_value(fields["value"], path, assets) if "value" in fields else UNKNOWN
        return Secret(inner) if fields["secret"].bool_value else inner
    names = {
        ASSET: "an asset",
        ARCHIVE: "an archive",
        RESOURCE: "a reference to a resource",
    }
    raise UnsupportedValue(
        f"{path} is {names.get(signature, 'a value of an unknown kind')}: this plugin, a stand-in for the official "
        "one, does not take it. Use the official plugin."
    )


def to_struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Plain properties as the engine wants them."""
    result = struct_pb2.Struct()
    for name, value in properties.items():
        result.fields[name].CopyFrom(_to_value(value))
    return result


def _to_value(value: Any) -> struct_pb2.Value:
    if value is None:
        return struct_pb2.Value(null_value=struct_pb2.NULL_VALUE)
    if value is UNKNOWN:
        return struct_pb2.Value(string_value=UNKNOWN_TEXT)
    if isinstance(value, Secret):
        marked = {SIGNATURE: SECRET, "value": value.value}
        return struct_pb2.Value(struct_value=to_struct(marked))
    if isinstance(value, bool):  # before int: a bool is one
        return struct_pb2.Value(bool_value=value)
    if isinstance(value, int | float):
        return struct_pb2.Value(number_value=value)
    if isinstance(value, str):
        return struct_pb2.Value(string_value=value)
    if isinstance(value, Mapping):
        return struct_pb2.Value(struct_value=to_struct(value))
    if isinstance(value, list | tuple):
        return struct_pb2.Value(list_value=struct_pb2.ListValue(values=[_to_value(item) for item in value]))
    raise TypeError(f"a {type(value).__name__} is no property value")


def reveal(value: Any) -> Any:
    """`value` with its secrets laid open: for requests and comparisons, never for messages."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, dict):
        return {name: reveal(item) for name, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Whether `value` is or holds something that is not known yet."""
    return _holds(value, lambda item: item is UNKNOWN)


def has_secret(value: Any) -> bool:
    """Whether `value` is or holds a secret."""
    return _holds(value, lambda item: isinstance(item, Secret))


def _holds(value: Any, wanted: Callable[[Any], bool]) -> bool:
    if wanted(value):
        return True
    if isinstance(value, Secret):
        return _holds(value.value, wanted)
    if isinstance(value, dict):
        return any(_holds(item, wanted) for item in value.values())
    return isinstance(value, list) and any(_holds(item, wanted) for item in value)


def conceal(plain: dict[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """`plain` with those values made secret that are secret in `like`.

    Maps are gone through; anything else that holds a secret in `like`, a list too, becomes secret as a whole: a list
    may come back in another order, and a secret must not get out by that.
    """
    result = dict(plain)
    for name, model in like.items():
        if name not in result:
            continue
        if isinstance(result[name], dict) and isinstance(model, Mapping):
            result[name] = conceal(result[name], model)
        elif has_secret(model) and not isinstance(result[name], Secret):
            result[name] = Secret(result[name])
    return result
