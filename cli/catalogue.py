"""`llmctl catalogue`: what is known of GPUs and models, and how a model comes to be known."""

from __future__ import annotations

import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
import yaml
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from cli import model_files
from cli.model_files import ModelFiles, SourceError
from planning.catalogue import (
    Architecture,
    Base,
    LanguageModel,
    Quantization,
    Use,
    architectures,
    gpu_models,
    language_models,
)
from planning.catalogue.config_json import ConfigError, architecture_of_config
from planning.catalogue.config_quantization import quantization_of_config
from planning.catalogue.gguf_metadata import architecture_of_gguf, quantization_of_gguf
from planning.catalogue.reading import Checkpoint
from settings.architecture import ModelFacts

app = typer.Typer(no_args_is_help=True, help=__doc__)

_NAME = re.compile(r"[\w./:-]+")
_HUB_PAGE = re.compile(r"^https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/tree/main)?/?$")
"""The page of a repository, as it is copied from a browser."""

_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_WIDE = 200
"""Columns where no terminal says how many there are: a pipe loses nothing."""

_UNKNOWN = "unknown"

Form = Literal["rows", "architecture"]


@app.command("list")
def list_(
    gpus: Annotated[bool, typer.Option("--gpus", help="GPUs alone.")] = False,
    models: Annotated[bool, typer.Option("--models", help="Models alone.")] = False,
) -> None:
    """Show the GPUs and models that are known, by the names that stack files use."""
    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    console = Console(width=None if known else _WIDE)
    if gpus or not models:
        console.print(_gpu_table())
    if models or not gpus:
        console.print(_model_table())


@app.command()
def add(
    source: Annotated[str, typer.Argument(help="A config.json, its folder, a GGUF, or a repository of the hub.")],
    name: Annotated[str | None, typer.Option(help="As stack files are to name it; else the source's own.")] = None,
    form: Annotated[
        Form, typer.Option(help="Rows for planning/catalogue/, or the value of a stack file's architecture.")
    ] = "rows",
    hub: Annotated[str, typer.Option(envvar="HF_ENDPOINT", help="The hub's address.")] = model_files.HUB,
) -> None:
    """Read the facts of a model from its own files, and print what to paste. No weights are read.

    HF_TOKEN is sent to the hub where it is set, for gated repositories.
    """
    try:
        model = read(source, name=name, hub=hub, token=os.environ.get("HF_TOKEN"))
    except (SourceError, ConfigError) as error:
        sys.exit(f"\n{source}: {error}" if isinstance(error, ConfigError) else f"\n{error}")
    print(architecture_text(model) if form == "architecture" else rows_text(model), end="")
    if "vision" in model.uses and not model.architecture.other_parameters and model.measured_bytes is None:
        print(
            f"{source}: has a vision tower, and does not say how large, so its weights are left out and too little "
            "memory would be planned. Give a folder with the weights, or the repository; or write otherParameters.",
            file=sys.stderr,
        )


_WRONG_TYPES = (ArithmeticError, AttributeError, KeyError, RecursionError, TypeError, ValueError)
"""What a file raises in which a key has another type than it should, or a value that no model has."""


def read(
    source: str, *, name: str | None = None, hub: str = model_files.HUB, token: str | None = None
) -> LanguageModel:
    """The model that `source` holds.

    Raises:
        SourceError: it cannot be read.
        ConfigError: it can, and no architecture follows from it.
    """
    try:
        return _read(source, name=name, hub=hub, token=token)
    except (SourceError, ConfigError):
        raise
    except OSError as error:  # its rights, a disk: another revision would be read no better
        raise SourceError(
            f"{error.filename or source}: cannot be read: {error.strerror or error}. Make it readable, or give a copy."
        ) from error
    except _WRONG_TYPES as error:
        raise SourceError(
            f"{source}: cannot be understood: a key has another type or value than a model's has "
            f"({type(error).__name__}: {error}). Give the file of another revision, or write the rows by hand."
        ) from error


def _read(source: str, *, name: str | None, hub: str, token: str | None) -> LanguageModel:
    if name is not None and not _NAME.fullmatch(name):
        raise SourceError(f"--name: {name!r} has spaces or signs that no model's name has; write e.g. owner/name.")
    source = _HUB_PAGE.sub(r"\1", source)
    path = Path(source).expanduser()
    if path.suffix == ".gguf" and path.is_file():
        return _of_gguf(path, name or path.stem)
    if path.exists():
        return _of_files(model_files.read_folder(path), name, f"config.json of {_folder(path).name}")
    if not _REPOSITORY.fullmatch(source) or path.suffix in {".json", ".gguf"}:
        raise SourceError(
            f"{source}: there is no such file, and a repository of the hub is named owner/name. Give either, e.g. "
            "./model.gguf or Qwen/Qwen3-4B."
        )
    return _of_files(
        model_files.read_hub(source, hub=hub, token=token), name, "config.json and files of the repository"
    )


def _folder(path: Path) -> Path:
    """The folder of a model, or of its config.json."""
    whole = path.resolve()
    return whole if whole.is_dir() else whole.parent


def architecture_text(model: LanguageModel) -> str:
    """YAML of `architecture:` as it stands below a model's name in a stack file."""
    size = None if model.measured_bytes is None else round(model.measured_bytes / 10**9, 4)
    facts = ModelFacts(**dict(model.architecture), quantization=model.quantization, files_gb=size)
    return "# below models.<name>:\n" + textwrap.indent(_yaml({"architecture": _plain(ModelFacts, facts)}), " " * 6)


def rows_text(model: LanguageModel) -> str:
    """YAML of the rows for the catalogue's files: one, where a shape like the model's is there already."""
    of = next((base for base, known in architectures().items() if _alike(known.shape, model.architecture)), None)
    row = Checkpoint(
        of=of or _base_name(model.name),
        quantization=model.quantization,
        source=model.source,
        files_gb=round((model.measured_bytes or 0) / 10**9, 4) or None,
        licence=model.licence,
        languages=model.languages,
        uses=model.uses,
        gated=model.gated,
    )
    if of is None:
        base = Base(
            shape=model.architecture,
            licence=model.licence,
            languages=model.languages,
            source=model.source,
            uses=model.uses,
            gated=model.gated,
        )
        row = row.model_copy(update={"licence": None, "languages": None, "uses": None, "gated": None})
        made = f"# planning/catalogue/architectures.yaml\n{_yaml({row.of: _plain(Base, base)})}\n"
    else:
        known = architectures()[of]
        context = model.architecture.context_tokens
        row = row.model_copy(
            update={
                "context_tokens": None if context == known.shape.context_tokens else context,
                # What its files do not say it has of its architecture, and so what they say alike.
                "licence": None if model.licence in (known.licence, _UNKNOWN) else model.licence,
                "languages": model.languages or None,
                "uses": None if model.uses == known.uses else model.uses,
                "gated": None if model.gated == known.gated else model.gated,
            }
        )
        made = ""
    return f"{made}# planning/catalogue/models.yaml\n{_yaml({model.name: _plain(Checkpoint, row)})}"


def _of_files(files: ModelFiles, name: str | None, source: str) -> LanguageModel:
    quantization = quantization_of_config(files.config)
    whole = quantization in {Quantization.FP32, Quantization.BF16, Quantization.FP16}
    parameters = files.parameters or sum(files.tensors.values()) or None
    shape = architecture_of_config(files.config, parameters=parameters if whole else None)
    return LanguageModel(
        name=name or files.name,
        architecture=shape,
        quantization=quantization,
        measured_bytes=files.files_bytes,
        gated=files.gated,
        licence=files.licence or _UNKNOWN,
        languages=tuple(files.languages),
        uses=_uses(shape, vision="vision_config" in files.config),
        source=source,
    )


def _of_gguf(path: Path, name: str) -> LanguageModel:
    header, size = model_files.read_gguf(path)
    shape = architecture_of_gguf(header)
    languages = header.metadata.get("general.languages")
    return LanguageModel(
        name=name,
        architecture=shape,
        quantization=quantization_of_gguf(header),
        measured_bytes=size,
        gated=False,
        licence=str(header.metadata.get("general.license", _UNKNOWN)),
        languages=tuple(languages) if isinstance(languages, list) else (),
        uses=_uses(shape, vision=shape.other_parameters > 0),
        source=f"header of {path.name}",
    )


def _uses(shape: Architecture, *, vision: bool) -> tuple[Use, ...]:
    if shape.layers_without_kv_cache == shape.layers:
        return ("embedding",)
    return ("chat", "vision") if vision else ("chat",)


def _alike(known: Architecture, shape: Architecture) -> bool:
    """Whether two shapes differ in nothing but the context, and in what was counted rather than read."""
    counted = {"context_tokens": 0, "parameters": 0, "other_parameters": 0}
    return known.model_copy(update=counted) == shape.model_copy(update=counted)


def _base_name(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _plain(kind: type[Any], value: object) -> Any:
    return TypeAdapter(kind).dump_python(value, mode="json", by_alias=True, exclude_defaults=True)


def _yaml(content: Any) -> str:
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=116)


def _gpu_table() -> Table:
    table = Table("GPU", "MiB", "capability", "FP8", "GB/s", "NVLink", "nvidia.com/gpu.product")
    for name, gpu in gpu_models().items():
        capability = ".".join(str(part) for part in gpu.compute_capability)
        yes = ["yes" if fact else "" for fact in (gpu.fp8, gpu.nvlink)]
        bandwidth = f"{gpu.bandwidth_gb_per_second:g}"
        table.add_row(name, f"{gpu.memory_mib}", capability, yes[0], bandwidth, yes[1], ", ".join(gpu.products))
    return table


def _model_table() -> Table:
    table = Table("model", "parameters", "type", "files GB", "context", "licence", "gated", "languages", "for")
    for name, model in language_models().items():
        shape = model.architecture
        size = f"{model.files_bytes / 10**9:.1f}"
        table.add_row(
            name,
            f"{shape.parameters / 10**9:.1f} B",
            model.quantization,
            size if model.measured_bytes else f"~{size}",
            f"{shape.context_tokens}",
            model.licence,
            "yes" if model.gated else "",
            " ".join(model.languages[:4]) + (" ko" if "ko" in model.languages[4:] else ""),
            " ".join(model.uses),
        )
    return table
