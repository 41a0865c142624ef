"""Flags that a stack file gives to vLLM beside its settings: each is checked as vLLM's parser would check it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from planning.vllm_release import Flag, Release
from settings.problems import did_you_mean

_SIZE = re.compile(r"\d+(\.\d+)?[kmgt]|\d+[KMGT]?")
"""vLLM's integers: 1k is 1,000 and 1K is 1,024, which takes no fraction."""

GONE = {
    "swap-space": "it is gone, since nothing is swapped to host memory any more",
    "num-scheduler-steps": "it is gone, since scheduling overlaps with computing by itself",
    "calculate-kv-scales": "it is gone; FP8 checkpoints bring the scales of their KV cache",
    "max-num-partial-prefills": "it is gone; long-prefill-token-threshold holds long prompts back",
    "max-long-partial-prefills": "it is gone; long-prefill-token-threshold holds long prompts back",
    "lora-extra-vocab-size": "it is gone; adapters may not add to the vocabulary",
    "long-lora-scaling-factors": "it is gone; adapters have the context of their model",
    "device": "it is gone; the image knows what it runs on",
    "disable-frontend-multiprocessing": "it is gone, without another in its place",
    "logits-processor-pattern": "it is gone; logits-processors names classes",
    "override-attention-dtype": "it is gone, without another in its place",
    "max-seq-len-to-capture": "it is called max-cudagraph-capture-size now",
    "speculative-model": "it is part of the setting speculative now (speculative.model)",
    "num-speculative-tokens": "it is part of the setting speculative now (speculative.numSpeculativeTokens)",
    "ngram-prompt-lookup-min": "it is part of the setting speculative now (speculative.promptLookupMin)",
    "ngram-prompt-lookup-max": "it is part of the setting speculative now (speculative.promptLookupMax)",
    "guided-decoding-backend": "it is the setting structuredOutputs now",
    "guided-decoding-disable-any-whitespace": "it is a key of structured-outputs-config now",
    "task": "it is the setting runner now, with the flag convert beside it",
    "rope-scaling": "it is a key of the setting hfOverrides now (rope_parameters)",
    "rope-theta": "it is a key of the setting hfOverrides now (rope_parameters)",
    "enable-reasoning": "it is the setting reasoningParser now, which is enough",
    "use-v2-block-manager": "it is gone; there is one block manager",
}
"""Flags that blog posts still write, and what has become of them."""

_SETTINGS = {
    "model": "model",
    "revision": "revision",
    "tensor-parallel-size": "tensorParallel",
    "pipeline-parallel-size": "pipelineParallel",
    "data-parallel-size": "replicas",
    "max-model-len": "maxModelLen",
    "max-num-seqs": "maxNumSeqs",
    "max-num-batched-tokens": "maxNumBatchedTokens",
    "max-num-queued-reqs": "maxNumQueuedReqs",
    "enable-prefix-caching": "prefixCaching",
    "enable-chunked-prefill": "chunkedPrefill",
    "enforce-eager": "enforceEager",
    "attention-backend": "attentionBackend",
    "gpu-memory-utilization": "gpuMemoryUtilization",
    "dtype": "dtype",
    "quantization": "quantization",
    "kv-cache-dtype": "kvCacheDtype",
    "enable-lora": "loraAdapters",
    "lora-modules": "loraAdapters",
    "max-lora-rank": "loraAdapters.<name>.rank",
    "max-loras": "maxLoras",
    "speculative-config": "speculative",
    "spec-method": "speculative.method",
    "spec-model": "speculative.model",
    "spec-tokens": "speculative.numSpeculativeTokens",
    "enable-auto-tool-choice": "toolCallParser",
    "tool-call-parser": "toolCallParser",
    "reasoning-parser": "reasoningParser",
    "structured-outputs-config": "structuredOutputs",
    "chat-template": "chatTemplate",
    "runner": "runner",
    "trust-remote-code": "trustRemoteCode",
    "hf-overrides": "hfOverrides",
    "seed": "seed",
}
"""Flags that settings of the server are there for, so that the plan knows of them."""

_ELSEWHERE = {
    "api-key": "keys are ingress.apiKeys, which the edge checks for every engine",
    "hf-token": "the token is huggingFaceToken, which stands in no command line",
    "otlp-traces-endpoint": "traces are tracing.endpoint",
    "root-path": "paths are ingress.routes",
    "ssl-": "certificates are ingress.tls, of the edge",
    "enable-ssl-refresh": "certificates are ingress.tls, of the edge",
    "served-model-name": "clients write the server's name",
    "host": "the Service finds the pod by what the plan sets",
    "port": "the Service finds the pod by what the plan sets",
    "uds": "the Service finds the pod by what the plan sets",
    "grpc-port": "probes, metrics and routes want HTTP",
    "grpc": "probes, metrics and routes want HTTP",
    "shutdown-timeout": "the plan sets it to what the pod's end leaves for requests in flight",
    "enable-request-id-headers": "the plan sets it, for the edge",
    "disable-log-stats": "dashboards, alerts and autoscalers read what it would switch off",
    "download-dir": "models are on the volume that the plan mounts",
    "config": "a file inside the container would hide what the plan counts with",
    "middleware": "it would run code that the image has not",
    "headless": "the plan makes pods of one process group",
    "nnodes": "the plan makes pods of one process group",
    "node-rank": "the plan makes pods of one process group",
    "master-": "the plan makes pods of one process group",
    "data-parallel-": "the plan makes pods of one process group; replicas says how many",
    "distributed-executor-backend": "the plan makes pods of one process group",
    "device-ids": "Kubernetes says which GPUs are the pod's",
}
"""What the plan sets itself, or other settings of the stack; a name that ends in '-' stands for all that begin so."""

WEIGHTS_RELIEF = ("cpu-offload-gb", "offload-group-size")
"""Flags that keep weights outside the GPUs, so that a model may fit that the plan thinks too large."""

CACHE_RELIEF = (
    *WEIGHTS_RELIEF,
    "kv-cache-memory-bytes",
    "num-gpu-blocks-override",
    "prefill-context-parallel-size",
    "decode-context-parallel-size",
)
"""Flags that may make room for a context for which the plan has none."""

_UNCOUNTED = (*CACHE_RELIEF, "enable-sleep-mode", "offload-backend", "kv-offloading-size")
"""Flags that change what is in whose memory."""

_A = {
    "int": "a whole number",
    "float": "a number",
    "size": "a whole number, or one with a suffix such as '8k'",
    "sizeOrAuto": "a whole number, or one with a suffix such as '8k'",
    "json": "a mapping or a list",
    "mapping": "a mapping",
    "mappingOrText": "a mapping or a text",
    "text": "a text",
}


@dataclass
class _Refused(Exception):
    """What is wrong with one flag."""

    told: str


def extra_arguments(
    path: str,
    flags: Mapping[str, JsonValue],
    known: Release | None,
    *,
    problems: list[str],
    warnings: list[str],
) -> list[str]:
    """Arguments that `flags` stand for.

    Args:
        path: of the mapping in the stack file, e.g. `models.chat.extraArgs`.
        flags: values by the flag's name without dashes.
        known: the release that the image runs; None where it is another, of which nothing is known.
        problems: what vLLM would refuse, and what is set elsewhere, is added.
        warnings: what the plan cannot count with is added.
    """
    arguments: list[str] = []
    said: dict[str, str] = {}
    for written, value in flags.items():
        try:
            name = _name(written, known)
            if name in said:
                raise _Refused(f"says the same as {said[name]}, and vLLM would take the last. Leave one out.")
            said[name] = written
            arguments += _argument(written, name, value, known.flags[name] if known else None)
        except _Refused as refused:
            problems.append(f"{path}.{written}: {refused.told}")
            continue
        if name in _UNCOUNTED:
            warnings.append(
                f"{path}.{written}: changes what is kept in which memory, which the plan does not count, so its "
                "figures are not those of this server. Watch the first start."
            )
    return arguments


def written_of(wanted: Collection[str], flags: Mapping[str, JsonValue], known: Release | None) -> list[str]:
    """Which of `flags`, as they are written, are among `wanted` and not 0."""
    names = known.names if known else {}
    return [written for written, value in flags.items() if value and names.get(written, written) in wanted]


def _name(written: str, known: Release | None) -> str:
    """The flag that is meant."""
    if written.startswith("-"):
        raise _Refused(f"flags are written without dashes before them; write {written.lstrip('-')}.")
    if "_" in written:
        raise _Refused(f"flags are written with dashes between words; write {written.replace('_', '-')}.")
    name = written if known is None else known.names.get(written, written)
    if known is not None and name not in known.flags:
        positive = written.removeprefix("no-").removeprefix("disable-")
        if written in GONE:
            raise _Refused(f"{GONE[written]} (vLLM {known.version}), so vLLM would refuse to start. Take it out.")
        for candidate in (written.removeprefix("no-"), f"enable-{positive}", positive):
            if candidate != written and candidate in known.flags:
                raise _Refused(f"is the opposite of a flag; write {candidate}: false.")
        raise _Refused(
            f"vLLM {known.version} has no such flag, and would refuse to start{did_you_mean(written, known.flags)}"
        )
    if name in _SETTINGS:
        raise _Refused(
            f"the setting {_SETTINGS[name]} says this, and the plan counts with it. Write it there, and take it out "
            "here."
        )
    for owned, reason in _ELSEWHERE.items():
        if name == owned or (owned.endswith("-") and name.startswith(owned)):
            raise _Refused(f"{reason}. Take it out.")
    return name


def _argument(written: str, name: str, value: JsonValue, flag: Flag | None) -> list[str]:
    """`--written` with its value, as it stands on a command line."""
    if flag is None:
        return _as_it_is(written, value)
    if flag.kind in ("bool", "switch"):
        return _switched(written, name, value, flag)
    if flag.many:
        values = value if isinstance(value, list) else [value]
        if not values:
            raise _Refused("is an empty list, and vLLM wants at least one value. Take it out, or write one.")
        texts = [_text(item, flag) for item in values]
        for text in texts:
            if text.startswith("-"):
                raise _Refused(f"{text!r} begins with a dash, so vLLM would take it for a flag. Write it otherwise.")
        return [f"--{written}", *texts]
    return [f"--{written}={_text(value, flag)}"]


def _switched(written: str, name: str, value: JsonValue, flag: Flag) -> list[str]:
    if not isinstance(value, bool):
        raise _Refused(
            f"{_shown(value)} is neither true nor false, and vLLM's switches take no value. Write true or false."
        )
    if value:
        return [f"--{written}"]
    if flag.off is None:
        raise _Refused("false is what it is without the flag, and vLLM knows no opposite. Take it out.")
    return [f"--{name if written == flag.off else flag.off}"]


def _text(value: JsonValue, flag: Flag) -> str:
    """One value of `flag`, as text."""
    match flag.kind, value:
        case _, bool() | None:
            pass
        case "int" | "size" | "sizeOrAuto", int():
            return _chosen(value, flag)
        case "float", int() | float():
            return str(value)
        case "size", str() if _SIZE.fullmatch(value):
            return value
        case "sizeOrAuto", str() if value == "auto" or _SIZE.fullmatch(value):
            return value
        case "json" | "mapping" | "mappingOrText", dict():
            return _json(value)
        case "json", list():
            return _json(value)
        case "text" | "mappingOrText", str() if value:
            return _chosen(value, flag)
        case "text" | "mappingOrText", int() | float():
            return _chosen(str(value), flag)
    raise _Refused(f"{_shown(value)} is not {_A[flag.kind]}, so vLLM would refuse to start.")


def _chosen(value: str | int, flag: Flag) -> str:
    if flag.choices and value not in flag.choices:
        choices = [str(choice) for choice in flag.choices]
        raise _Refused(f"{value!r} is not one of {', '.join(choices)}{did_you_mean(str(value), choices) or '.'}")
    return str(value)


def _as_it_is(written: str, value: JsonValue) -> list[str]:
    """An argument of which nothing is known, by the form of its value alone."""
    match value:
        case True:
            return [f"--{written}"]
        case False:
            return [f"--no-{written}"]
        case None:
            raise _Refused("has no value. Write one, or take it out.")
        case dict():
            return [f"--{written}={_json(value)}"]
        case list():
            return [f"--{written}", *(str(item) for item in value)]
        case _:
            return [f"--{written}={value}"]


def _json(value: JsonValue) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _shown(value: JsonValue) -> str:
    return (
        {True: "true", False: "false", None: "nothing"}[value]
        if value is None or isinstance(value, bool)
        else repr(value)
    )
