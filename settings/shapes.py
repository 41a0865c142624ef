"""Which setting stands where in the data of a stack file: the tree of models, walked by keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

_KEY_MARKER = "[key]"
_LONGEST_KEY = 80


@dataclass(frozen=True, kw_only=True)
class Items:
    """The values of a mapping, or the items of a list."""

    shape: Shape
    keyed: bool


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One of several shapes: by the value of the setting `tag`, or, without one, whichever fits."""

    tag: str | None
    members: Mapping[str, Shape]


Shape = type[BaseModel] | type[SecretStr] | Items | Choice | None
"""None is a single value, or one that is not looked into."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a path of keys leads."""

    path: str
    known: tuple[str, ...]
    """Settings that may stand beside the last key."""

    field: FieldInfo | None
    """The setting that the path leads to, or into."""

    outer: tuple[tuple[str, type[BaseModel]], ...]
    """The models on the way with their paths, the innermost first."""

    items_of: Shape
    """Shape of the values of the mapping in which the last key names one; None elsewhere."""

    choice: str | None
    """Path of the innermost choice without a tag that was gone through."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """One value of the data, with the setting that it is."""

    path: str
    key: str
    value: Any
    field: FieldInfo | None
    """None where it is an item of a mapping or a list, or where there is no such setting."""

    shape: Shape


def key_text(key: object) -> str:
    """`key` as part of a path in a message: on one line, visible, and not longer than a line."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(key))
    return text if len(text) <= _LONGEST_KEY else f"{text[:_LONGEST_KEY]}..."


def alias(name: str, field: FieldInfo) -> str:
    """The key of a setting in the file."""
    return field.alias or name


@cache
def fields(model: type[BaseModel]) -> Mapping[str, FieldInfo]:
    """The settings of `model` by their keys in the file."""
    return {alias(name, field): field for name, field in model.model_fields.items()}


@cache
def shapes(model: type[BaseModel]) -> Mapping[str, Shape]:
    """What is below each setting of `model`, by its key in the file."""
    return {key: shape_of(field.annotation) for key, field in fields(model).items()}


def shape_of(annotation: Any) -> Shape:
    """What can be found below a value that is annotated so."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return shape_of(arguments[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel | SecretStr):
        return annotation
    if origin in (dict, list, tuple):
        return Items(shape=shape_of(arguments[1 if origin is dict else 0]), keyed=origin is dict)
    if origin not in (Union, UnionType):
        return None
    members = [(member, shape_of(member)) for member in arguments if member is not NoneType]
    if any(shape is SecretStr for _, shape in members):
        return SecretStr
    if len(members) == 1:
        return members[0][1]
    models = [shape for _, shape in members if isinstance(shape, type) and issubclass(shape, BaseModel)]
    if len(models) == len(members) and (tag := _tag(models)):
        return Choice(tag=tag, members={_literal(model, tag): model for model in models})
    return Choice(tag=None, members={_label(member): shape for member, shape in members})


def follow(loc: tuple[int | str, ...], model: type[BaseModel]) -> Place:
    """Where pydantic's `loc` leads.

    pydantic puts the tag of a union (`vllm`), the label of its member (`int`) and the marker `[key]` between the keys
    of the file; all are left out.
    """
    keys: list[str] = []
    known: tuple[str, ...] = ()
    field: FieldInfo | None = None
    outer: list[tuple[str, type[BaseModel]]] = []
    items_of: Shape = None
    choice: str | None = None
    here: Shape = model
    for part in loc:
        if part == _KEY_MARKER:
            continue
        if isinstance(here, Choice):
            if here.tag is None:
                choice = ".".join(keys)
                here = _member(here, str(part))
                continue
            if part in here.members:
                here = here.members[str(part)]
                continue
        items_of = None
        if isinstance(here, type) and issubclass(here, BaseModel):
            outer.insert(0, (".".join(keys), here))
            known, field = tuple(fields(here)), _field(here, part)
            here = shape_of(field.annotation) if field else None
        elif isinstance(here, Items):
            items_of = here.shape if here.keyed else None
            here = here.shape
        elif isinstance(part, str):
            continue  # the label of a single value in a union
        keys.append(key_text(part))
    return Place(
        path=".".join(keys) or "(the file)",
        known=known,
        field=field,
        outer=tuple(outer),
        items_of=items_of,
        choice=choice,
    )


def walk(raw: Mapping[str, Any], model: type[BaseModel]) -> Iterator[Written]:
    """Every value of `raw`, with what it is; what there is no setting for as well."""
    yield from _within(raw, model, ())


def _within(value: Any, shape: Shape, path: tuple[str, ...]) -> Iterator[Written]:
    if isinstance(value, Mapping):
        if isinstance(shape, Choice):
            shape = _chosen(shape, value)
        for key, item in value.items():
            field: FieldInfo | None = None
            inner: Shape = None
            if isinstance(shape, type) and issubclass(shape, BaseModel):
                field = fields(shape).get(key)
                inner = shapes(shape).get(key)
            elif isinstance(shape, Items):
                inner = shape.shape
            elif shape is SecretStr:
                inner = SecretStr
            at = (*path, key_text(key))
            yield Written(path=".".join(at), key=str(key), value=item, field=field, shape=inner)
            yield from _within(item, inner, at)
    elif isinstance(value, list):
        if isinstance(shape, Choice):
            shape = next((member for member in shape.members.values() if isinstance(member, Items)), None)
        for index, item in enumerate(value):
            inner = shape.shape if isinstance(shape, Items) else (SecretStr if shape is SecretStr else None)
            at = (*path, str(index))
            yield Written(path=".".join(at), key="", value=item, field=None, shape=inner)
            yield from _within(item, inner, at)


def _field(model: type[BaseModel], key: int | str) -> FieldInfo | None:
    """By its key in the file, or by its name in Python, which pydantic tells where there is no alias."""
    return fields(model).get(str(key)) or model.model_fields.get(str(key))


def _chosen(choice: Choice, value: Mapping[str, Any]) -> Shape:
    if choice.tag is not None:
        tag = value.get(choice.tag)
        return choice.members.get(tag) if isinstance(tag, str) else None
    return next((shape for shape in choice.members.values() if _takes_mapping(shape)), None)


def _takes_mapping(shape: Shape) -> bool:
    return (isinstance(shape, Items) and shape.keyed) or isinstance(shape, type)


def _member(choice: Choice, label: str) -> Shape:
    """The member that pydantic calls `label`, e.g. `int`, `list[str]` or a model's name."""
    return choice.members.get(label) or next(
        (shape for name, shape in choice.members.items() if label.startswith(name)), None
    )


def _label(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        return _label(get_args(annotation)[0])
    return getattr(get_origin(annotation) or annotation, "__name__", str(annotation))


def _tag(models: list[type[BaseModel]]) -> str | None:
    """The setting by whose value the models can be told apart."""
    shared = (name for name in models[0].model_fields if all(_literal(model, name) for model in models))
    return next((name for name in shared if len({_literal(model, name) for model in models}) == len(models)), None)


def _literal(model: type[BaseModel], name: str) -> str:
    """The only value that the setting can have, or an empty text."""
    field = model.model_fields.get(name)
    values = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return str(values[0]) if len(values) == 1 else ""
