"""What is wrong with a stack file, told in its own words: path, value, consequence, repair."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails


class _Hidden:
    """Stands for a value that may be a secret."""

    def __repr__(self) -> str:
        return "a value that is not shown here"


_HIDDEN = _Hidden()

# Letters, digits, '-' and '_' alone: whatever a key is written into, none of them has a meaning there.
API_KEY = re.compile(r"[A-Za-z0-9_-]{20,200}")
"""A client's key, as settings.ingress takes it."""
_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]+)?")
_EXACT = 2**53
_NEAR = 0.72
"""So near that `vlm` means vllm, and `llama.cpp` not ollama."""

_SHORTEST_PREFIX = 3
_BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


class SeveralErrors(ValueError):
    """What a validator finds wrong in several places of one value."""

    def __init__(self, problems: Iterable[tuple[str, str]]) -> None:
        """`problems`: path below the value, '' for the value itself, and what is wrong there."""
        self.problems = tuple(problems)
        super().__init__("; ".join(f"{below}: {told}" if below else told for below, told in self.problems))


class StackError(Exception):
    """A stack that cannot be followed; the message lists every problem, one a line, as they stand in the file."""

    def __init__(self, heading: str, problems: Iterable[str], lines: Mapping[str, int] | None = None) -> None:
        """What is wrong.

        Args:
            heading: what has the problems, e.g. `Pulumi.dev.yaml has`.
            problems: lines of `path: fact, consequence, repair`.
            lines: line in the file by path, where there is a file.
        """
        found = [(line_of(problem, lines or {}), problem) for problem in problems]
        found.sort(key=lambda item: item[0] or 0)  # stable: what is in no line comes first, as it was found
        self.problems = tuple(problem for _, problem in found)
        self.lines = tuple(line for line, _ in found)
        """Of each of the problems; None for what is in no line."""
        count = f"{len(found)} problem{'s' if len(found) != 1 else ''}"
        told = [f"  line {line}: {problem}" if line else f"  {problem}" for line, problem in found]
        super().__init__("\n".join([f"{heading} {count}:", *told]))


class SettingsError(StackError):
    """A stack file that says what it may not."""

    def __init__(self, source: str, problems: Iterable[str], lines: Mapping[str, int] | None = None) -> None:
        """`source` is the file's name; the rest as for StackError."""
        self.source = source
        super().__init__(f"{source} has", problems, lines)


def line_of(problem: str, lines: Mapping[str, int]) -> int | None:
    """The line of what `problem` begins with, or of the nearest thing around it that is written."""
    path = problem.partition(": ")[0]
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return lines.get(path)


def problems_of(error: ValidationError, model: type[BaseModel], *, hidden: Collection[str] = ()) -> list[str]:
    """One line for each problem that pydantic found while it validated `model`.

    `hidden`: top-level keys that may hold secrets, so that no value is quoted from them.
    """
    return [
        problem
        for details in error.errors(include_url=False)
        for problem in _problems(
            {**details, "input": _HIDDEN} if details["loc"][:1] and details["loc"][0] in hidden else details, model
        )
    ]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The nearest of `known`, or None where none is near. Neither case nor separators make a difference."""
    candidates = {_plain(name): name for name in known}
    plain = _plain(word)
    near = difflib.get_close_matches(plain, candidates, n=1, cutoff=_NEAR)
    if not near and len(plain) >= _SHORTEST_PREFIX:
        near = sorted((name for name in candidates if name.startswith(plain)), key=len)[:1]
    return candidates[near[0]] if near else None


def _plain(word: str) -> str:
    return re.sub(r"[^a-z0-9]", "", word.lower())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` for the nearest of `known`, or nothing where none is near."""
    near = nearest(word, known)
    return f"; did you mean {near!r}?" if near else ""


def _problems(details: ErrorDetails, model: type[BaseModel]) -> list[str]:
    if isinstance(several := details.get("ctx", {}).get("error"), SeveralErrors):
        path = _follow(details["loc"], model)[0]
        return [f"{path}.{below}: {told}" if below else f"{path}: {told}" for below, told in several.problems]
    return [_problem(details, model)]


def _problem(details: ErrorDetails, model: type[BaseModel]) -> str:
    if details["loc"][:2] == ("ingress", "apiKeys") and any(
        API_KEY.fullmatch(str(part)) for part in details["loc"][2:]
    ):
        return (
            "ingress.apiKeys: has a key where the name of its client should be, so it stands in the file as plain "
            "text. Write 'client: generated', and take the key for known."
        )
    path, fields, field = _follow(details["loc"], model)
    described = f" ({field.description.rstrip('.')})" if field and field.description else ""
    value = details["input"]
    context: Mapping[str, Any] = details.get("ctx", {})
    match details["type"]:
        case "extra_forbidden":
            key = str(details["loc"][-1])
            if len(details["loc"]) == 1 and "." in key:
                first = key.partition(".")[0]
                return f"{path}: a dot is no path here, so there is no such setting; write mappings below '{first}:'."
            return f"{path}: there is no such setting{did_you_mean(key, fields)}"
        case "missing":
            return f"{path}: is required, and there is no default for it."
        case "literal_error" | "union_tag_invalid":
            expected = str(context.get("expected") or context.get("expected_tags"))
            words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
            given = value if details["type"] == "literal_error" else context.get("tag")
            where = path if details["type"] == "literal_error" else f"{path}.engine"
            return f"{where}: {_shown(given)} is not one of {', '.join(words)}{did_you_mean(str(given), words)}"
        case "union_tag_not_found":
            return f"{path}.engine: is required; it says which engine serves the model."
        case "model_type" | "model_attributes_type" | "dict_type":
            return (
                f"{path}: expected a mapping keyed by name, got {_kind(value, shown=False)}; write 'key: value' pairs."
            )
        case "list_type":
            example = f"; write [{value}]" if isinstance(value, str) else ""
            return f"{path}: expected a list, got {_kind(value)}{example}."
        case "value_error":
            return f"{path}: {context['error']}"
        case "too_short":
            return f"{path}: at least one is required."
        case "int_type" | "int_from_float":
            return f"{path}: {_shown(value)} is not a whole number{_number_meant(value)}{described}."
        case "float_type":
            return f"{path}: {_shown(value)} is not a number{_number_meant(value)}{described}."
        case "bool_type":
            meant = {"yes": "true", "on": "true", "no": "false", "off": "false"}.get(str(value).lower())
            hint = f"write {meant}: in YAML 1.2 {_shown(value)} is a text" if meant else "write true or false"
            return f"{path}: {_shown(value)} is neither true nor false; {hint}."
        case "string_type":
            quoted = isinstance(value, int | float)
            hint = f"; write it in quotes: '{_shown(value)}'" if quoted else ""
            return f"{path}: {_kind(value) if not quoted else _shown(value)} is not a text{hint}."
        case "greater_than_equal" | "greater_than" | "less_than_equal" | "less_than":
            bound, limit = next((words, context[key]) for key, words in _BOUNDS.items() if key in context)
            return f"{path}: must be {bound} {limit:g}, got {_shown(value)}{described}."
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
            return f"{path}: {details['msg'][0].lower()}{details['msg'][1:]}, got {_shown(value)}."


def _shown(value: object) -> str:
    """`value` as YAML has it."""
    match value:
        case None:
            return "nothing"
        case True:
            return "true"
        case False:
            return "false"
        case _:
            return repr(value)


def _number_meant(value: object) -> str:
    """How to write the number that a text or a fraction stands for."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return f" but a text; write {value} without quotes"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return f"; write {int(value)}"
    return ""


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


def _follow(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, list[str], FieldInfo | None]:
    """The path as the file has it, the settings that are known where it leads, and the last one of them.

    pydantic puts the tag of a union (`vllm`) and the marker `[key]` between the keys of the file; both are left out.
    """
    keys: list[str] = []
    known: list[str] = []
    field: FieldInfo | None = None
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
            field = next((f for n, f in here.model_fields.items() if part in (n, f.alias)), None)
            here = _unwrap(field.annotation) if field else None
        elif isinstance(here, tuple):  # the values of a mapping
            here = here[0]
    return ".".join(keys) or "(the file)", known, field


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
