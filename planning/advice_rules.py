"""In which order what fits is advised: a few rules, one after the other, and no score."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from planning.advice import NOT_COMMERCIAL, Advice, Fit, Need
from planning.languages import suffers_from_4_bits
from settings.quantization import Quantization
from settings.vllm import VllmSettings

Order = float
"""What is smaller comes first."""


_ENOUGH_BITS = 3.9
"""Of a weight. Below, a model loses more than it is ahead of one with fewer parameters: Llama 3 8B's perplexity is 1.56
times as much in Q2_K and 1.03 times in Q4_K_M (llama.cpp, tools/perplexity/README.md). Q3_K_M is just above."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One rule; the next one decides only among those that this one has equal."""

    name: str
    says: str
    order: Callable[[Fit, Need], Order]
    reason: Callable[[Fit, Need], str]
    """What the rule says of one model."""


def _room(fit: Fit, need: Need) -> Order:
    room = need.users if fit.requests_at_once is None else fit.requests_at_once
    return 0 if room >= need.users else 1 if 2 * room >= need.users else 2


def _and(words: Sequence[str]) -> str:
    return " and ".join(words)


def _requests(count: int) -> str:
    return f"{count} request{'' if count == 1 else 's'}"


def _room_reason(fit: Fit, need: Need) -> str:
    full, room = fit.full_length_requests, fit.requests_at_once
    if full is None or room is None:
        return "keeps no KV cache, so requests wait for their turn only"
    told = f"{_requests(full)} of {need.context_tokens:,} tokens at once"
    if room != full:  # slots of Ollama and llama.cpp are of full length
        told += f", or {room} of {need.average_tokens:,} on average"
    return told if room >= need.users else f"{told}; {need.users - room} wait{'s' if need.users - room == 1 else ''}"


def _use(fit: Fit, need: Need) -> Order:
    uses = fit.model.uses
    if need.use in ("code", "reasoning", "vision", "embedding"):
        return 0 if need.use in uses else 1
    return 1 if "code" in uses else 0


def _use_reason(fit: Fit, need: Need) -> str:
    uses = ", ".join(fit.model.uses)
    return f"made for {uses}" if not _use(fit, need) else f"made for {uses}, and not for {need.use} in particular"


def _passes_4_bit_rule(fit: Fit, need: Need) -> bool:
    bits = fit.model.quantization.bits_per_weight
    enough = bits >= Quantization.Q5_K_M.bits_per_weight
    return enough or not _suffering(need) or _made_for_language(fit, need)


def _made_for_language(fit: Fit, need: Need) -> bool:
    """Whether its card names such a language before all others: the only sign of much of it that the catalogue has."""
    return bool(set(fit.model.languages[:1]) & set(_suffering(need)))


def _suffering(need: Need) -> tuple[str, ...]:
    """The languages that lose much by few bits."""
    return tuple(language for language in need.languages if suffers_from_4_bits(language))


def _language_reason(fit: Fit, need: Need) -> str:
    if not (suffering := _suffering(need)):
        return f"its card names {_and(need.languages)}, in Latin letters"
    if fit.model.quantization.bits_per_weight >= Quantization.Q5_K_M.bits_per_weight:
        return f"Q5_K_M or more, as {_and(suffering)} asks for"
    if _made_for_language(fit, need):
        return f"below Q5_K_M, but its card names {fit.model.languages[0]} first"
    return f"below Q5_K_M, which costs {_and(suffering)} more than English"


def _few_bits_reason(fit: Fit, _: Need) -> str:
    kind = fit.model.quantization
    if kind.bits_per_weight >= _ENOUGH_BITS:
        return "about 4 bits a weight, or more"
    return f"{kind.value} has {kind.bits_per_weight:.1f} bits a weight, and answers suffer from fewer than about 4"


def _parameters_reason(fit: Fit, _: Need) -> str:
    shape = fit.model.architecture
    told = f"{shape.parameters / 10**9:.1f} B parameters"
    return told if shape.experts is None else f"{told}, {shape.active_parameters / 10**9:.1f} B of them active"


RULES = (
    Rule(
        name="room",
        says="KV cache for all requests at once, then for half of them, then for fewer",
        order=_room,
        reason=_room_reason,
    ),
    Rule(
        name="use",
        says="made for the use, by its card, before made for something else too",
        order=_use,
        reason=_use_reason,
    ),
    Rule(
        name="language",
        says="of languages without Latin letters (Korean): Q5_K_M or more, or a card that names the language first",
        order=lambda fit, need: 0 if _passes_4_bit_rule(fit, need) else 1,
        reason=_language_reason,
    ),
    Rule(
        name="fewBits",
        says="4 bits a weight or about as many, before fewer",
        order=lambda fit, _: 0 if fit.model.quantization.bits_per_weight >= _ENOUGH_BITS else 1,
        reason=_few_bits_reason,
    ),
    Rule(
        name="parameters",
        says="more parameters that a token goes through before fewer",
        order=lambda fit, _: -fit.model.architecture.active_parameters,
        reason=_parameters_reason,
    ),
    Rule(
        name="bits",
        says="more bits a weight before fewer",
        order=lambda fit, _: -fit.model.quantization.bits_per_weight,
        reason=lambda fit, _: (
            f"{fit.model.quantization.value}, {fit.model.quantization.bits_per_weight:.1f} bits a weight"
        ),
    ),
)


def ranked(advice: Advice) -> list[Fit]:
    """What fits, best first; what all rules have equal, by name."""
    return sorted(
        advice.fits, key=lambda fit: (*(rule.order(fit, advice.need) for rule in RULES), fit.engine, fit.model.name)
    )


def assumptions(need: Need) -> tuple[str, ...]:
    """What the advice takes for granted."""
    utilization = VllmSettings.model_fields["gpu_memory_utilization"].default
    requests = f"{_requests(need.users)} at once, of {need.average_tokens:,} tokens on average"
    if need.average_tokens == need.context_tokens:
        length = "as long as the context (--average for shorter ones)"
        requests = f"{_requests(need.users)} at once, {'each ' if need.users > 1 else ''}{length}"
    licences = "no licence forbids commercial use"
    if not need.commercial:
        licences = "licences that forbid commercial use are welcome (--commercial leaves them out)"
    return (
        requests,
        f"vLLM takes {utilization:.2f} of each GPU: 0.88 to 0.92 is safe, and 0.95 runs out of memory in use",
        "keys and values have 16 bits, and nothing else is on the GPUs, no desktop either: what nvidia-smi shows as "
        "used beforehand is missing (under vLLM lower gpuMemoryUtilization by that part)",
        licences,
        "the catalogue knows nothing of how good answers are: try the first ones with prompts of your own",
    )


def notes(fit: Fit) -> list[str]:
    """What else to know before it is downloaded."""
    told = [f"licence {fit.model.licence}"]
    if fit.model.licence in NOT_COMMERCIAL:
        told[0] += ", which forbids commercial use"
    if fit.model.gated:
        told.append("gated: needs a token of Hugging Face")
    if (bound := fit.tokens_per_second_bound) is not None:
        told.append(f"one answer comes at {bound:.0f} tokens/s at most, as fast as the GPU reads its weights")
    return told
