"""Keys that are no settings where they stand: what was meant by them, and where it is written."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from settings.other_words import ENGINE_NAMES, concept_of
from settings.problems import did_you_mean, plain
from settings.shapes import Choice, Items, Place, Shape, fields, key_text, shape_of

_MOST_PLACES = 3
_FEW = 12
"""Settings that a message may list."""


def unknown_key(key: str, place: Place, model: type[BaseModel]) -> str:
    """The problem of a key that is no setting at `place`, in a file of `model`."""
    path = place.path
    if len(place.outer) == 1 and "." in key:
        first = key_text(key.partition(".")[0])
        return f"{path}: a dot is no path here, so there is no such setting; write mappings below '{first}:'."
    misspelt = plain(key) in map(plain, place.known)
    if not misspelt and (meant := _of_an_engine(key, place, model)):
        return f"{path}: there is no such setting{meant}"
    if near := did_you_mean(key, place.known):
        return f"{path}: there is no such setting{near}"
    if elsewhere := places_of(key, model):
        return f"{path}: there is no such setting here; it is one of {' and '.join(elsewhere)}. Write it there."
    return f"{path}: there is no such setting{_all_of(place.known)}"


def likely_engine(written: Mapping[str, object], model: type[BaseModel]) -> str | None:
    """The only engine that has most of the settings that a model is `written` with; None where several have them."""
    known = {name: len(written.keys() & fields(settings).keys()) for name, settings in _engines(model).items()}
    most = [name for name, count in known.items() if count == max(known.values())]
    return most[0] if len(most) == 1 else None


def _of_an_engine(key: str, place: Place, model: type[BaseModel]) -> str | None:
    """What is meant by a key of a model that another engine or another tool has; None for any other key."""
    engines = _engines(model)
    here = place.outer[0][1] if place.outer else None
    engine = next((name for name, settings in engines.items() if settings is here), None)
    if engine is None:
        return None
    owners = [ENGINE_NAMES[name] for name, settings in engines.items() if key in fields(settings)]
    concept = concept_of(key)
    if concept is None and not owners:
        return None
    whose = f" of {ENGINE_NAMES[engine]}; it is {' and '.join(f'''{owner}'s''' for owner in owners)}" if owners else ""
    if concept is None:
        return f"{whose}. Take it out."
    if (ours := concept.ours.get(engine)) is not None:
        return f"{whose}. Write {ours}." if owners else f"; write {ours}."
    repair = concept.without
    return f"{whose}. {repair[0].upper()}{repair[1:]}." if owners else f"; {repair}."


def _engines(shape: Shape) -> dict[str, type[BaseModel]]:
    """The settings of each engine, wherever they are in the tree."""
    match shape:
        case Items():
            return _engines(shape.shape)
        case Choice(tag="engine"):
            members = shape.members.items()
            return {
                name: member for name, member in members if isinstance(member, type) and issubclass(member, BaseModel)
            }
        case type() if issubclass(shape, BaseModel):
            below = (_engines(shape_of(field.annotation)) for field in fields(shape).values())
            return next((found for found in below if found), {})
    return {}


def _all_of(known: tuple[str, ...]) -> str:
    return f"; there are {', '.join(known)}." if 0 < len(known) <= _FEW else "."


def places_of(key: str, model: type[BaseModel]) -> list[str]:
    """Where in a file of `model` there is a setting of that name: the first few places."""
    return _places(key, shape_of(model), "")[:_MOST_PLACES]


def _places(key: str, shape: Shape, path: str) -> list[str]:
    """Where in the tree there is a setting of that name."""
    match shape:
        case Items():
            return _places(key, shape.shape, f"{path}.<name>" if shape.keyed else path)
        case Choice():
            found = [where for member in shape.members.values() for where in _places(key, member, path)]
            return list(dict.fromkeys(found))
        case type() if issubclass(shape, BaseModel):
            here = [path or "the file itself"] if key in fields(shape) else []
            return here + [
                where
                for name, field in fields(shape).items()
                for where in _places(key, shape_of(field.annotation), f"{path}.{name}" if path else name)
            ]
    return []


def settings_of(shape: Shape) -> frozenset[str]:
    """Every setting that may stand directly in a value of that shape."""
    match shape:
        case Choice():
            return frozenset().union(*(settings_of(member) for member in shape.members.values()))
        case type() if issubclass(shape, BaseModel):
            return frozenset(fields(shape))
    return frozenset()


def one_level_up(place: Place) -> str | None:
    """For a key that is no name but a setting of what is around the mapping."""
    around, _, key = place.path.rpartition(".")
    for path, outer in place.outer:
        if key in fields(outer):
            return (
                f"{place.path}: {key!r} is a setting of {path or 'the file itself'}, and {around} holds names alone. "
                f"Write it at {f'{path}.{key}' if path else key}."
            )
    return None
