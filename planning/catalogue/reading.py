"""Reading the catalogue's YAML files: strictly, each once, with every mistake by file, row and key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar, cast

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from planning.catalogue.gpus import GpuModel
from planning.catalogue.models import HUB_PREFIX, LanguageModel, Use
from settings.architecture import Architecture
from settings.base import StrictModel
from settings.quantization import Quantization

FOLDER = Path(__file__).parent

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where PyYAML was built with it: ten times as fast."""

_SCALARS: dict[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "bool": lambda text: text == "true",
    "null": lambda _: None,
}
"""By YAML's tag; whatever else is a text, which no row has but for texts."""

_Row = TypeVar("_Row")


class CatalogueError(Exception):
    """A catalogue file that cannot be read; the message lists every mistake, one a line."""

    def __init__(self, file: str, mistakes: list[str]) -> None:
        super().__init__("\n".join([f"{file} cannot be read:", *(f"  {mistake}" for mistake in mistakes)]))


class Base(StrictModel):
    """One row of architectures.yaml: a shape, and what its checkpoints have in common unless they say otherwise."""

    shape: Architecture
    licence: str
    languages: tuple[str, ...]
    source: str
    """Where the figures of the shape were read."""

    uses: tuple[Use, ...] = ("chat",)
    gated: bool = False


class Checkpoint(StrictModel):
    """One row of models.yaml: a checkpoint, or a GGUF repository with several of one model."""

    of: str
    """Its row in architectures.yaml."""

    quantization: Quantization | None = None
    source: str
    files_gb: Annotated[float | None, Field(alias="filesGB", gt=0)] = None
    """Size of the weight files where it was read, in GB (10^9 bytes)."""

    quantizations: dict[Quantization, Annotated[float, Field(gt=0)] | None] | None = None
    """Of a row whose name has a `*`, which stands for each of them: their sizes in GB, null where none was read."""

    tags: tuple[str, ...] = ()
    """Further tags of the same file in Ollama's library, `latest` for one."""

    context_tokens: int | None = None
    """Where it differs from the base's: longer RoPE scaling, or shorter training."""

    licence: str | None = None
    languages: tuple[str, ...] | None = None
    uses: tuple[Use, ...] | None = None
    gated: bool | None = None

    @model_validator(mode="after")
    def _one_or_several(self) -> Self:
        if (self.quantization is None) == (not self.quantizations):
            raise ValueError("either quantization or quantizations has to be said")
        if self.quantizations and self.files_gb is not None:
            raise ValueError("filesGB stands beside one quantization; sizes of several are theirs")
        return self


def read_gpus(file: Path = FOLDER / "gpus.yaml") -> dict[str, GpuModel]:
    """GPU models by name.

    Raises:
        CatalogueError: with every mistake of the file.
    """
    return _rows(file, GpuModel)


def read_bases(file: Path = FOLDER / "architectures.yaml") -> dict[str, Base]:
    """Architectures by the name that checkpoints refer to.

    Raises:
        CatalogueError: with every mistake of the file.
    """
    return _rows(file, Base)


def read_models(bases: dict[str, Base], file: Path = FOLDER / "models.yaml") -> dict[str, LanguageModel]:
    """Checkpoints by name.

    Raises:
        CatalogueError: with every mistake of the file: rows of no architecture, names that do not fit their types or
            that two rows make.
    """
    rows = _rows(file, Checkpoint)
    mistakes = [
        f"{name}.of: {row.of!r} is no row of architectures.yaml." for name, row in rows.items() if row.of not in bases
    ] + [
        f"{name}: a `*` in the name stands for the type of a row with quantizations, and for nothing else."
        for name, row in rows.items()
        if ("*" in name) != bool(row.quantizations)
    ]
    if mistakes:
        raise CatalogueError(file.name, mistakes)
    models: dict[str, LanguageModel] = {}
    for name, row in rows.items():
        for model in _models(name, row, bases[row.of]):
            if model.name in models:
                mistakes.append(f"{name}: makes {model.name}, which another row makes too.")
            models[model.name] = model
    if mistakes:
        raise CatalogueError(file.name, mistakes)
    return models


def _models(name: str, row: Checkpoint, base: Base) -> Iterator[LanguageModel]:
    """The checkpoints of one row, under all of their names."""
    shape = base.shape
    if row.context_tokens is not None:
        shape = shape.model_copy(update={"context_tokens": row.context_tokens})
    several = row.quantizations or {cast(Quantization, row.quantization): row.files_gb}
    for quantization, files_gb in several.items():
        model = LanguageModel(
            name=name.replace("*", _tag(name, quantization)),
            base=row.of,
            architecture=shape,
            quantization=quantization,
            measured_bytes=None if files_gb is None else round(files_gb * 10**9),
            gated=base.gated if row.gated is None else row.gated,
            licence=base.licence if row.licence is None else row.licence,
            languages=base.languages if row.languages is None else row.languages,
            uses=base.uses if row.uses is None else row.uses,
            source=row.source,
        )
        yield model
        for tag in row.tags:
            yield replace(model, name=f"{model.name.partition(':')[0]}:{tag}")


def _tag(name: str, quantization: Quantization) -> str:
    """How `name`'s place spells a type: the hub as it is, Ollama's library with a small first letter."""
    if name.startswith(HUB_PREFIX):
        return quantization.value.upper()
    return "fp16" if quantization is Quantization.F16 else f"{quantization[0].lower()}{quantization[1:]}"


def _rows(file: Path, row: type[_Row]) -> dict[str, _Row]:
    try:
        raw = _plain(yaml.compose(file.read_text(), Loader=_Loader))
    except yaml.YAMLError as error:
        raise CatalogueError(file.name, [" ".join(str(error).split())]) from None
    try:
        # As JSON: strictly read, its lists may be tuples and its texts enums.
        return TypeAdapter(dict[str, row]).validate_json(json.dumps(raw), strict=True)  # type: ignore[valid-type]  # a type made of a variable
    except ValidationError as error:
        raise CatalogueError(
            file.name,
            [
                f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}; it says {found['input']!r}."
                for found in error.errors(include_url=False)
            ],
        ) from None


def _plain(node: yaml.Node | None) -> Any:
    """What `node` stands for: PyYAML's own constructor takes twice as long, and the later of two equal keys."""
    if isinstance(node, yaml.MappingNode):
        made = {key.value: _plain(value) for key, value in node.value}
        if len(made) < len(node.value):
            keys = [key.value for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.YAMLError(f"{twice}: comes twice (line {node.start_mark.line + 1} and on).")
        return made
    if isinstance(node, yaml.SequenceNode):
        return [_plain(item) for item in node.value]
    if isinstance(node, yaml.ScalarNode):
        return _SCALARS.get(node.tag.rpartition(":")[2], str)(node.value)
    return None
