"""What pydantic finds wrong, in the words of the stack file."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from settings.meant import mapping_meant, number_meant, part_meant, text_meant
from settings.other_words import ENGINE_NAMES
from settings.problems import SeveralErrors, did_you_mean, set_secret
from settings.secret import SET_HERE
from settings.secret_texts import API_KEY, named_as_secret
from settings.shapes import Place, fields, follow, key_text, shape_of
from settings.unknown import one_level_up, settings_of, unknown_key

_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}
_LONGEST_VALUE = 120
_NAMES_OF_ENGINES = ("extraArgs", "extraEnvironment", "hfOverrides")
"""Mappings by names that are not ours."""

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "none_required": "nothing",
}
"""What the members of a union want, by pydantic's error."""


class _Hidden:
    """Stands for a value that may be a secret."""

    def __repr__(self) -> str:
        return "a value that is not shown here"


_HIDDEN = _Hidden()


def problems_of(error: ValidationError, model: type[BaseModel], *, hidden: Collection[str] = ()) -> list[str]:
    """One line for each problem that pydantic found while it validated `model`.

    `hidden`: top-level keys that may hold secrets, so that no value is quoted from them.
    """
    found = error.errors(include_url=False)
    places = [follow(details["loc"], model) for details in found]
    told: list[str] = []
    for details, place in zip(found, places, strict=True):
        if place.choice is not None:
            beside = [d for d, p in zip(found, places, strict=True) if p.choice == place.choice]
            if _is_passed_over(details, beside):
                continue
            if details["type"] in _KINDS and len(beside) > 1:
                wanted = list(dict.fromkeys(_KINDS[other["type"]] for other in beside))
                value = _HIDDEN if _is_hidden(details, hidden) else details["input"]
                told.append(f"{place.path}: {_shown(value)} is neither {', nor '.join(wanted)}.")
                continue
        told += _problems(details, place, model, hidden=_is_hidden(details, hidden))
    return list(dict.fromkeys(told))


def _is_hidden(details: ErrorDetails, hidden: Collection[str]) -> bool:
    """Whether what is wrong may be a secret, be it where none belongs: by its place, or a flag's or variable's name."""
    place = [str(part) for part in details["loc"]]
    named = [name for mapping, name in pairwise(place) if mapping in _NAMES_OF_ENGINES]
    return place[:1] != [] and (place[0] in hidden or any(named_as_secret(name) for name in named))


def _is_passed_over(details: ErrorDetails, beside: list[ErrorDetails]) -> bool:
    """Whether another member of the same union is nearer to what was meant: it takes the value's type at least."""
    return details["type"] in _KINDS and any(other["type"] not in _KINDS for other in beside)


def _problems(details: ErrorDetails, place: Place, model: type[BaseModel], *, hidden: bool) -> list[str]:
    value = _HIDDEN if hidden else details["input"]
    if not isinstance(failed := details.get("ctx", {}).get("error"), ValueError | AssertionError):
        return [_problem(details, place, model, value)]
    several = failed.problems if isinstance(failed, SeveralErrors) else (("", str(failed)),)
    if details["loc"][-1:] == ("[key]",) and (up := one_level_up(place)):
        return [up]
    lines = [
        f"{'.'.join([place.path, *map(key_text, filter(None, below.split('.')))])}: {told}" for below, told in several
    ]
    lines = [line.replace(SET_HERE, set_secret(place.path)) for line in lines]
    # Validators quote what they got, or a part of it, whatever it is.
    quoted = [(repr(details["input"]), _shown(value)), *((repr(text), _shown(text)) for text in _long_texts(value))]
    for written, shown in quoted:
        lines = [line.replace(written, shown) for line in lines]
    return lines


def _problem(details: ErrorDetails, place: Place, model: type[BaseModel], value: object) -> str:
    if details["loc"][:2] == ("ingress", "apiKeys") and any(
        API_KEY.fullmatch(str(part)) for part in details["loc"][2:]
    ):
        return (
            "ingress.apiKeys: has a key where the name of its client should be, so it stands in the file as plain "
            "text. Write 'client: generated', and take the key for known."
        )
    path, field = place.path, place.field
    described = f" ({field.description.rstrip('.')})" if field and field.description else ""
    context: Mapping[str, Any] = details.get("ctx", {})
    if value is None and (kind := _KINDS.get(details["type"])) and kind not in ("a mapping", "a list"):
        instead = "" if field is None or field.is_required() else ", or leave it out"
        return f"{path}: has nothing behind it; write {kind}{instead}{described}."
    match details["type"]:
        case "extra_forbidden":
            return unknown_key(str(details["loc"][-1]), place, model)
        case "missing":
            return f"{path}: is required, and there is no default for it."
        case "literal_error" | "enum" | "union_tag_invalid":
            expected = str(context.get("expected") or context.get("expected_tags"))
            words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
            by_tag = details["type"] == "union_tag_invalid"
            given = value if not by_tag or not isinstance(value, dict) else value.get("engine")
            where = f"{path}.engine" if by_tag else path
            alone = given[0] if isinstance(given, list) and len(given) == 1 else given
            hint = did_you_mean(alone, words) if isinstance(alone, str) else ""
            if by_tag and isinstance(alone, list):
                hint = "; one server has one engine, so write a server for each."
            told = f"is not one of {', '.join(words)}" if len(words) > 1 else f"can only be {words[0]}"
            return f"{where}: {_shown(given)} {told}{hint or '.'}"
        case "union_tag_not_found":
            *first, last = ENGINE_NAMES
            return f"{path}.engine: is required; write {', '.join(first)} or {last}, the engine that serves the model."
        case "model_type" | "model_attributes_type" | "dict_type":
            key = path.rpartition(".")[2]
            if key in settings_of(place.items_of):
                around = path.rpartition(".")[0]
                return (
                    f"{path}: {key!r} is a setting, and {around} holds a mapping of settings by name, so one level is "
                    f"missing. Write {around}: {{<name>: {{{key}: ...}}}}."
                )
            empty = (value is None or isinstance(value, bool)) and _may_be_empty(place)
            meant = mapping_meant(path, value) or "'key: value' pairs"
            write = "write {} for its defaults, or leave it out" if empty else f"write {meant}"
            return f"{path}: expected a mapping keyed by name, got {_kind(value, shown=False)}; {write}."
        case "list_type" | "tuple_type" | "set_type":
            example = f"; write [{_cut(value)}]" if isinstance(value, str) else ""
            return f"{path}: expected a list, got {_kind(value)}{example}."
        case "too_short":
            least = context["min_length"]
            return f"{path}: {'at least one is' if least == 1 else f'at least {least} are'} required."
        case "too_long":
            return f"{path}: at most {context['max_length']} are possible, got {context['actual_length']}{described}."
        case "int_type" | "int_from_float" | "int_parsing" | "int_parsing_size":
            return f"{path}: {_shown(value)} is not a whole number{number_meant(value)}{described}."
        case "float_type" | "finite_number":
            meant = number_meant(value, whole=False) if isinstance(value, str) else ""
            return f"{path}: {_shown(value)} is not a number{meant}{described}."
        case "bool_type":
            truth = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(str(value).lower())
            hint = f"write {truth}: in YAML 1.2 {_shown(value)} is a text" if truth else "write true or false"
            return f"{path}: {_shown(value)} is neither true nor false; {hint}{described}."
        case "string_type":
            quoted = isinstance(value, int | float)
            hint = f"; write it in quotes: '{_shown(value)}'" if quoted else ""
            return f"{path}: {_kind(value) if not quoted else _shown(value)} is not a text{hint}{described}."
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            bound, limit = next((words, context[key]) for key, words in _BOUNDS.items() if key in context)
            shown = f"{limit:g}" if isinstance(limit, float) else limit
            return f"{path}: must be {bound} {shown}, got {_shown(value)}{part_meant(value, limit)}{described}."
        case "multiple_of":
            return f"{path}: must be a multiple of {context['multiple_of']}, got {_shown(value)}{described}."
        case "string_pattern_mismatch" if repair := text_meant(path, value):
            return f"{path}: {_shown(value)} cannot be taken; {repair}{described}."
        case "string_pattern_mismatch":
            like = f"look like {field.default!r}" if field and isinstance(field.default, str) else "match"
            pattern = "" if like != "match" else f" the pattern {context['pattern']}"
            return f"{path}: must {like}{pattern}, got {_shown(value)}{described}."
        case "string_too_short" | "string_too_long":
            bound = (
                f"at least {context['min_length']}" if "min_length" in context else f"at most {context['max_length']}"
            )
            return f"{path}: must have {bound} characters, got {_shown(value)}{described}."
        case _:
            return _as_pydantic_says(details, path, value)


def _as_pydantic_says(details: ErrorDetails, path: str, value: object) -> str:
    """For what no setting of today can do wrong."""
    return f"{path}: {details['msg'][0].lower()}{details['msg'][1:]}, got {_shown(value)}."


def _may_be_empty(place: Place) -> bool:
    """Whether `{}` is enough there."""
    shape = shape_of(place.field.annotation) if place.field else None
    return (
        isinstance(shape, type)
        and issubclass(shape, BaseModel)
        and not any(field.is_required() for field in fields(shape).values())
    )


def _long_texts(value: object) -> Iterator[str]:
    match value:
        case str() if len(value) > _LONGEST_VALUE:
            yield value
        case list() | dict():
            for item in value.values() if isinstance(value, dict) else value:
                yield from _long_texts(item)


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE // 2]}..."


def _shown(value: object) -> str:
    """`value` as YAML has it; of a long one the beginning, and how long it is."""
    match value:
        case None:
            return "nothing"
        case True:
            return "true"
        case False:
            return "false"
        case list() | dict() if len(repr(value)) > _LONGEST_VALUE:
            return f"a {'list' if isinstance(value, list) else 'mapping'} of {len(value)}"
        case str() if len(value) > _LONGEST_VALUE:
            return f"{value[: _LONGEST_VALUE // 2]!r}... ({len(value)} characters)"
        case _:
            return _cut(repr(value))


def _kind(value: object, *, shown: bool = True) -> str:
    """What `value` is; a text itself is not told where a mapping with secrets may be meant."""
    match value:
        case None:
            return "nothing"
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case str() if not shown:
            return "a text"
        case _:
            return _shown(value)
