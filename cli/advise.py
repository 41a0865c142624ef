"""`llmctl advise`: which models fit, before anything is downloaded."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import Annotated

import typer

from planning.advice import AdviceEngine, AdvicePlatform, AdviceUse, Need, advise
from planning.advice_rules import RULES
from planning.catalogue import gpu_models, language_models
from planning.gpu_names import gpu_meant
from planning.languages import CODES, MISTAKEN
from report.advice_document import advice_document
from report.advice_text import advice_text

_CONTEXT = re.compile(r"([0-9]+)([km]?)", re.IGNORECASE)
_FACTORS = {"": 1, "k": 2**10, "m": 2**20}
_SHORTEST_CONTEXT = 128
HELP = (
    """Say which models and quantizations fit, best first, and why the others do not.

Each is planned as `llmctl plan` would; nothing is downloaded, and no cluster is needed.

The order, where each rule decides only what those before it leave equal: """
    + "; ".join(f"({number}) {rule.says}" for number, rule in enumerate(RULES, start=1))
    + "."
)


def gpu_named(name: str) -> str:
    """`name`, if the catalogue has such a GPU.

    Raises:
        typer.BadParameter: it has not.
    """
    if name not in gpu_models():
        raise typer.BadParameter(
            f"{name!r} is not in the catalogue{gpu_meant(name) or '.'} `llmctl catalogue list --gpus` shows all."
        )
    return name


def tokens(text: str | int) -> int:
    """`16k` is 16,384 tokens, and so is `16384`; a default comes as the number that it is.

    Raises:
        typer.BadParameter: it is no such number, or too small for a context.
    """
    if not (match := _CONTEXT.fullmatch(str(text).strip())):
        raise typer.BadParameter(f"{text!r} is no number of tokens; write e.g. 16384 or 16k (k is 1,024, m 1,048,576).")
    count = int(match[1]) * _FACTORS[match[2].lower()]
    if count < _SHORTEST_CONTEXT:
        raise typer.BadParameter(
            f"{text!r} is {count} tokens, too few for a context; write {_SHORTEST_CONTEXT} or more."
        )
    return count


def language_codes(written: list[str]) -> list[str]:
    """Each of `ko,en` once.

    Raises:
        typer.BadParameter: one is no language's code (ISO 639-1), or no model's card names it.
    """
    return list(dict.fromkeys(_language_code(code.strip()) for text in written for code in text.split(",")))


def _language_code(code: str) -> str:
    plain = code.lower()
    meant = f"; did you mean {MISTAKEN[plain]!r}?" if plain in MISTAKEN else "."
    if plain not in CODES:
        raise typer.BadParameter(f"{code!r} is no language of ISO 639-1, such as ko, en, ja{meant}")
    if not any(plain in model.languages for model in language_models().values()):
        raise typer.BadParameter(f"no model of the catalogue names {plain!r} on its card{meant}")
    return plain


def advise_command(
    gpu: Annotated[str, typer.Option(callback=gpu_named, help="Model of GPU, e.g. rtx-4090.")],
    count: Annotated[int, typer.Option(min=1, max=16, help="GPUs, all in one node.")] = 1,
    context: Annotated[
        int, typer.Option(parser=tokens, metavar="TOKENS", help="Longest prompt with answer: 16k.")
    ] = 8192,
    users: Annotated[int, typer.Option(min=1, max=100_000, help="Requests at once.")] = 1,
    average: Annotated[
        int | None,
        typer.Option(parser=tokens, metavar="TOKENS", help="Length of requests on average; by default the context."),
    ] = None,
    language: Annotated[
        list[str], typer.Option(callback=language_codes, help="ISO 639-1 code; of several (ko,en) all must be named.")
    ] = ["en"],  # noqa: B006  # typer copies it, and shows it in the help
    use: Annotated[AdviceUse, typer.Option(help="What for.")] = "chat",
    engine: Annotated[AdviceEngine | None, typer.Option(help="One engine alone; vllm and ollama by default.")] = None,
    gated: Annotated[bool, typer.Option(help="Whether models that need a token of Hugging Face will do.")] = True,
    commercial: Annotated[bool, typer.Option("--commercial", help="No licence that forbids commercial use.")] = False,
    platform: Annotated[AdvicePlatform, typer.Option(help="Whether Linux runs under Windows (WSL2).")] = "native",
    limit: Annotated[int, typer.Option(min=1, help="Most models to show.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; see docs/advise-json.md.")] = False,
) -> None:
    """What `HELP` says."""
    if average is not None and average > context:
        raise typer.BadParameter(f"{average} is more than the context of {context}.", param_hint="'--average'")
    if platform == "wsl2" and count > 1:
        raise typer.BadParameter(
            f"{count} on wsl2, where the device plugin advertises all cards as one; write 1.", param_hint="'--count'"
        )
    need = Need(
        gpu=gpu,
        count=count,
        context_tokens=context,
        users=users,
        average_tokens=context if average is None else average,
        languages=tuple(language),
        use=use,
        engine=engine,
        gated=gated,
        commercial=commercial,
        platform=platform,
    )
    document = advice_document(advise(need), limit=limit)
    if as_json:
        print(document.model_dump_json(by_alias=True, indent=2))
    else:
        known = sys.stdout.isatty() or "COLUMNS" in os.environ
        print(advice_text(document, width=shutil.get_terminal_size().columns if known else None))
    raise typer.Exit(0 if document.fits else 1)
