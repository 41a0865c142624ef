"""What is wrong with a stack file, told in its own words: path, value, consequence, repair."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


class _Hidden:
    """Stands for a value that may be a secret."""

    def __repr__(self) -> str:
        return "a value that is not shown here"


_HIDDEN = _Hidden()


class SettingsError(Exception):
    """A stack file that cannot be followed; the message lists every problem, one a line."""

    def __init__(self, source: str, problems: Iterable[str]) -> None:
        self.source = source
        self.problems = tuple(problems)
        count = f"{len(self.problems)} problem{'s' if len(self.problems) != 1 else ''}"
        super().__init__("\n".join([f"{source} has {count}:", *(f"  {problem}" for problem in self.problems)]))


def problems_of(error: ValidationError, model: type[BaseModel], *, hidden: Collection[str] = ()) -> list[str]:
    """One line for each problem that pydantic found while it validated `model`.

    `hidden`: top-level keys that may hold secrets, so that no value is quoted from them.
    """
    return [
        _problem(
            {**details, "input": _HIDDEN} if details["loc"][:1] and details["loc"][0] in hidden else details, model
        )
        for details in error.errors(include_url=False)
    ]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `known`, or nothing where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]!r}?" if near else ""


def _problem(details: ErrorDetails, model: type[BaseModel]) -> str:
    path, fields = _follow(details["loc"], model)
    value = details["input"]
    context: Mapping[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            key = str(details["loc"][-1])
            return f"{path}: there is no such setting{did_you_mean(key, fields)}"
        case "missing":
            return f"{path}: is required, and there is no default for it."
        case "literal_error" | "union_tag_invalid":
            expected = str(context.get("expected") or context.get("expected_tags"))
            words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
            given = value if details["type"] == "literal_error" else context.get("tag")
            where = path if details["type"] == "literal_error" else f"{path}.engine"
            return f"{where}: {given!r} is not one of {', '.join(words)}{did_you_mean(str(given), words)}"
        case "union_tag_not_found":
            return f"{path}.engine: is required; it says which engine serves the model."
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{path}: expected a mapping keyed by name, got {_kind(value)}; write 'key: value' pairs."
        case "value_error":
            return f"{path}: {context['error']}"
        case "too_short":
            return f"{path}: at least one is required."
        case _:
            return f"{path}: {details['msg'][0].lower()}{details['msg'][1:]}, got {value!r}."


def _kind(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case list():
            return "a list"
        case _:
            return repr(value)


def _follow(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, list[str]]:
    """The path as the file has it, and the settings that are known where it leads.

    pydantic puts the tag of a union (`vllm`) and the marker `[key]` between the keys of the file; both are left out.
    """
    keys: list[str] = []
    known: list[str] = []
    here: Any = model
    for part in loc:
        if part == "[key]":
            continue
        if isinstance(here, dict) and part in here:  # the members of a union, by tag
            here = here[part]
            continue
        keys.append(str(part))
        if isinstance(here, type) and issubclass(here, BaseModel):
            known = [field.alias or name for name, field in here.model_fields.items()]
            found = next((f for n, f in here.model_fields.items() if part in (n, f.alias)), None)
            here = _unwrap(found.annotation) if found else None
        elif isinstance(here, tuple):  # the values of a mapping
            here = here[0]
    return ".".join(keys) or "(the file)", known


def _unwrap(annotation: Any) -> Any:
    """`annotation` reduced to what `_follow` walks: a model, {tag: model} for a union, (value,) for a mapping."""
    origin = getattr(annotation, "__origin__", None)
    if hasattr(annotation, "__metadata__"):
        return _unwrap(origin)
    if origin is dict:
        return (_unwrap(annotation.__args__[1]),)
    members = [_unwrap(member) for member in getattr(annotation, "__args__", ())]
    models = [m for m in members if isinstance(m, type) and issubclass(m, BaseModel)]
    if len(models) > 1:
        return {m.model_fields["engine"].annotation.__args__[0]: m for m in models}  # type: ignore[union-attr]  # every engine's model is tagged by a Literal
    return models[0] if models else annotation
