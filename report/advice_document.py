"""Advice for programs, and for a text to be made of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from planning.advice import Advice, AdviceEngine, AdvicePlatform, AdviceUse, Fit, Need, RefusalKind
from planning.advice_rules import RULES, assumptions, notes, ranked
from planning.catalogue import gpu_models
from planning.yaml_text import yaml_text
from report.document import Count, Document, GpuMemoryMiB, gpu_memory


class NeedDocument(Document):
    """What somebody has and wants."""

    gpu: str = Field(description="Model of GPU.")
    count: Count = Field(description="GPUs, all in one node.")
    gpu_card_mib: Count = Field(alias="gpuCardMiB", description="Memory of each, in MiB.")
    context_tokens: Count = Field(description="Longest prompt with answer.")
    users: Count = Field(description="Requests at once.")
    average_tokens: Count = Field(description="Tokens of these on average.")
    languages: tuple[str, ...] = Field(description="ISO 639-1 codes, all of which its card must name.")
    use: AdviceUse = Field(description="What for.")
    engine: AdviceEngine | None = Field(description="The one engine; null for vLLM and Ollama.")
    gated: bool = Field(description="Whether models that need a token of Hugging Face are welcome.")
    commercial: bool = Field(description="Whether licences that forbid commercial use are not.")
    platform: AdvicePlatform = Field(description="What the node runs: Linux itself, or Linux under Windows.")


class FitDocument(Document):
    """A model that fits."""

    model: str = Field(description="As stack files name it.")
    other_names: tuple[str, ...] = Field(
        description="Further GGUF files of the catalogue with the same shape, type, use and licence."
    )
    engine: AdviceEngine = Field(description="What serves it.")
    quantization: str = Field(description="How its weights are stored.")
    gpus: Count = Field(description="GPUs of one pod.")
    replicas: Count = Field(description="Pods.")
    gpu_memory_mib: GpuMemoryMiB = Field(alias="gpuMemoryMiB", description="Of each GPU.")
    concurrent_full_length_requests: Count | None = Field(
        description="Requests of contextTokens that all pods have room for at once; of Ollama and llama.cpp no more "
        "than users. Null: it keeps no cache (an embedding model)."
    )
    tokens_per_second_bound: Annotated[float, Field(gt=0)] | None = Field(
        description="No single answer can come faster: bandwidth of the memory through bytes of active weights. A "
        "bound and no measurement. Null: an embedding model."
    )
    licence: str = Field(description="SPDX id, or the licence's own name.")
    gated: bool = Field(description="Whether it needs a token of Hugging Face.")
    reasons: dict[str, str] = Field(description="What each rule of the order says of it, by the rule's name.")
    notes: tuple[str, ...] = Field(description="What else to know before it is downloaded.")
    stack_file: str = Field(description="YAML to paste into a stack file; it plans without a problem.")


class RefusalDocument(Document):
    """A model that is not advised."""

    model: str = Field(description="As the catalogue names it.")
    other_names: tuple[str, ...] = Field(description="As of what fits; the reason is theirs too.")
    engine: AdviceEngine = Field(description="What would serve it.")
    reason: RefusalKind = Field(description="The first that applies, in this order.")
    message: str = Field(description="The fact: what its card names, its context, its licence, what it takes.")
    over_mib: Count | None = Field(
        alias="overMiB", description="How much the weights alone exceed each GPU, in MiB; null where they do not."
    )


class AdviceDocument(Document):
    """What `llmctl advise --json` prints."""

    version: Literal[1] = Field(default=1, description="Of this form.")
    need: NeedDocument = Field(description="What was asked.")
    assumptions: tuple[str, ...] = Field(description="What is taken for granted.")
    order: dict[str, str] = Field(description="The rules of the order by name, the first one first.")
    fits: tuple[FitDocument, ...] = Field(description="What fits, best first, at most as many as --limit says.")
    fitting: Count = Field(description="How many fit in all.")
    refused: tuple[RefusalDocument, ...] = Field(description="What does not, and why.")


def advice_document(advice: Advice, *, limit: int) -> AdviceDocument:
    """`advice` with the first `limit` of what fits."""
    need = advice.need
    return AdviceDocument(
        need=NeedDocument(
            gpu=need.gpu,
            count=need.count,
            gpu_card_mib=gpu_models()[need.gpu].memory_mib,
            context_tokens=need.context_tokens,
            users=need.users,
            average_tokens=need.average_tokens,
            languages=need.languages,
            use=need.use,
            engine=need.engine,
            gated=need.gated,
            commercial=need.commercial,
            platform=need.platform,
        ),
        assumptions=assumptions(need),
        order={rule.name: rule.says for rule in RULES},
        fits=tuple(_fit(fit, need) for fit in ranked(advice)[:limit]),
        fitting=len(advice.fits),
        refused=tuple(
            RefusalDocument(
                model=refusal.model.name,
                other_names=refusal.others,
                engine=refusal.engine,
                reason=refusal.kind,
                message=refusal.text,
                over_mib=refusal.over_mib,
            )
            for refusal in advice.refusals
        ),
    )


def _fit(fit: Fit, need: Need) -> FitDocument:
    return FitDocument(
        model=fit.model.name,
        other_names=fit.others,
        engine=fit.engine,
        quantization=fit.model.quantization.value,
        gpus=fit.gpus,
        replicas=fit.replicas,
        gpu_memory_mib=gpu_memory(fit.memory),
        concurrent_full_length_requests=fit.full_length_requests,
        tokens_per_second_bound=fit.tokens_per_second_bound,
        licence=fit.model.licence,
        gated=fit.model.gated,
        reasons={rule.name: rule.reason(fit, need) for rule in RULES},
        notes=tuple(notes(fit)),
        stack_file=yaml_text({"config": {f"llm-serving:{key}": value for key, value in fit.stack.items()}}),
    )
