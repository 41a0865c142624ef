"""Advice for people."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence

from planning.advice import RefusalKind
from report.advice_document import AdviceDocument, FitDocument, RefusalDocument

_KINDS: dict[RefusalKind, str] = {
    "use": "Made for something else",
    "language": "Language not named on the card, which may speak it all the same; named are",
    "context": "Context too short",
    "licence": "Forbid commercial use",
    "gated": "Need a token of Hugging Face",
    "engine": "Not served by the engine",
    "tooLarge": "Too large",
    "noRoom": "Weights fit, but with too little room beside them",
}
_NAMED = 4
"""Models of a group that are named one by one; JSON has all of them."""


def advice_text(document: AdviceDocument, *, width: int | None) -> str:
    """What fits with its reasons, what does not, and what to write, in `width` columns; None: lines of any length."""
    return "\n".join(line for text in _lines(document) for line in _wrapped(text, width))


def _wrapped(text: str, width: int | None) -> list[str]:
    """`text` over as many lines as it needs, further in than its first; YAML and empty lines as they are."""
    if width is None or not text or "\n" in text:
        return [text]
    indent = " " * (len(text) - len(text.lstrip()) + 3)
    return textwrap.wrap(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _lines(document: AdviceDocument) -> Iterator[str]:
    need = document.need
    models = document.fitting + len(document.refused)
    requests = f"{need.users} request{'' if need.users == 1 else 's'}"
    yield (
        f"{need.count} x {need.gpu} of {need.gpu_card_mib:,} MiB, {requests} at once, context "
        f"{need.context_tokens:,}, {' '.join(need.languages)}, {need.use}: {document.fitting} of {models} models fit."
    )
    for number, fit in enumerate(document.fits, start=1):
        yield ""
        yield from _fit(number, fit)
    yield ""
    if document.fits:
        yield f"Order: {'; '.join(f'({n}) {rule}' for n, rule in enumerate(document.order.values(), start=1))}."
    yield f"Assumed: {'; '.join(document.assumptions)}."
    yield from _refusals(document.refused)
    if document.fits:
        yield ""
        yield "The first one as a stack file:"
        yield f"\n{document.fits[0].stack_file.rstrip()}"


def _fit(number: int, fit: FitDocument) -> Iterator[str]:
    pods = f"{fit.replicas} pods of " if fit.replicas > 1 else ""
    memory = fit.gpu_memory_mib
    yield f"{number}. {fit.model} ({fit.engine}, {pods}{fit.gpus} GPU{'s' if fit.gpus > 1 else ''})"
    yield (
        f"   memory: weights {memory.weights:,}, KV cache {memory.kv_cache:,}, other {memory.other:,} of "
        f"{memory.limit:,} MiB"
    )
    yield from (f"   {name}: {reason}" for name, reason in fit.reasons.items())
    yield f"   notes: {'; '.join(fit.notes)}"


def _refusals(refused: Sequence[RefusalDocument]) -> Iterator[str]:
    if refused:
        yield ""
        yield f"Why not the other {len(refused)}:"
    for kind, words in _KINDS.items():
        group = [refusal for refusal in refused if refusal.reason == kind]
        group.sort(key=lambda refusal: refusal.over_mib or 0)  # what nearly fits first
        if group:
            named = "; ".join(f"{refusal.model} ({_fact(refusal)})" for refusal in group[:_NAMED])
            more = f"; and {len(group) - _NAMED} more" if len(group) > _NAMED else ""
            yield f"  {words} ({len(group)}): {named}{more}"


def _fact(refusal: RefusalDocument) -> str:
    """The message without consequence and repair: these are of a stack that somebody has."""
    return refusal.message.partition(", so ")[0].rstrip(".")
