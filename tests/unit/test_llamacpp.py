"""llama.cpp's server: its command line is one that llama-server takes, and only what fits is planned."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import Raw, run, settings_of
from small_stacks import node, planned, problems

from planning.engine_flags import flag_table
from planning.llamacpp import LlamaCppPlan
from planning.problems import PlanError
from settings.problems import SettingsError

QWEN = "Qwen/Qwen3-8B-GGUF:Q4_K_M"
EMBEDDING = "Qwen/Qwen3-Embedding-0.6B-GGUF:Q8_0"
FLAGS = flag_table("llama-server").by_name


def llamacpp(model: str = QWEN, **more: object) -> Raw:
    return {"engine": "llamacpp", "model": model, **more}


def server(nodes: Raw | None = None, **settings: object) -> LlamaCppPlan:
    found = planned(nodes or {"a": node()}, {"small": llamacpp(**settings)}).servers["small"]  # type: ignore[arg-type]  # `model` is a text in every test
    assert isinstance(found, LlamaCppPlan)
    return found


def told(**settings: object) -> str:
    [line] = problems({"a": node()}, {"small": llamacpp(**settings)})  # type: ignore[arg-type]  # `model` is a text in every test
    return line


def refused(**settings: object) -> str:
    with pytest.raises(SettingsError) as caught:
        settings_of({"nodes": {"a": node()}, "models": {"small": llamacpp(**settings)}})  # type: ignore[arg-type]  # `model` is a text in every test
    [line] = caught.value.problems
    return line


def values(plan: LlamaCppPlan) -> dict[str, str | None]:
    """The command line as llama-server reads it: the value of each flag, None of a switch."""
    words, found = list(plan.arguments), dict[str, str | None]()
    while words:
        name = words.pop(0)
        assert name in FLAGS, f"{name} is no flag of llama-server"
        assert name not in found, f"{name} is written twice"
        found[name] = None if FLAGS[name].kind == "switch" else words.pop(0)
    return found


FACTS: Raw = {
    "layers": 32,
    "hiddenSize": 4096,
    "intermediateSize": 14336,
    "attentionHeads": 32,
    "kvHeads": 8,
    "headDim": 128,
    "vocabularySize": 128256,
    "contextTokens": 131072,
    "parameters": 8030261248,
}

EVERY_KIND: list[dict[str, object]] = [
    {},
    {"gpus": 2, "splitMode": "row", "tensorSplit": [3, 1]},
    {"gpuLayers": 10},
    {"cacheTypeK": "q8_0", "cacheTypeV": "q4_0", "flashAttention": True},
    {"model": EMBEDDING, "embeddings": True, "pooling": "last", "contextLength": 1024},
    {"jinja": False, "chatTemplate": "chatml"},
    {"loadMode": "dio", "threads": 4, "promptCacheMiB": 0, "batchSize": 1024, "ubatchSize": 256},
    {"model": "Qwen/Qwen3-8B-GGUF", "file": "Qwen3-8B-Q5_K_M.gguf"},
    {"model": "/models/own.gguf", "claim": "files"},
    {"extraArgs": {"cache-reuse": 256, "warmup": False, "chat-template-kwargs": '{"a": 1}'}},
]


@pytest.mark.parametrize("settings", EVERY_KIND, ids=str)
def test_every_flag_that_is_written_is_one_of_the_release(settings: dict[str, object]) -> None:
    for name, value in values(server({"a": node(count=2)}, **settings)).items():
        flag = FLAGS[name]
        assert flag.instead is None
        assert not flag.choices or value in flag.choices
        assert flag.kind != "int" or re.fullmatch(r"\d+", str(value))


def test_each_request_has_the_context_that_the_file_says() -> None:
    """--ctx-size is of all slots together."""
    found = values(server(contextLength=4096, parallel=8))
    assert (found["--ctx-size"], found["--parallel"]) == ("32768", "8")
    assert server(contextLength=4096, parallel=8).max_model_len == 4096


def test_nothing_is_left_to_llama_server_that_the_plan_counts_with() -> None:
    found = values(server())
    assert (found["--n-gpu-layers"], found["--fit"], found["--alias"]) == ("all", "off", "small")
    assert "--metrics" in found
    assert "--no-slots" in found


def test_a_page_of_another_site_may_not_use_it_from_a_browser() -> None:
    assert values(server())["--cors-origins"] == "localhost"


def test_what_an_embedding_is_made_of_is_computed_at_once() -> None:
    """llama-server refuses a text that is longer than its physical batch."""
    found = values(server(model=EMBEDDING, embeddings=True, contextLength=4096, parallel=1))
    assert (found["--ubatch-size"], found["--batch-size"]) == ("4096", "4096")


def test_a_repository_of_anybody_is_known_by_the_model_that_it_is_a_gguf_of() -> None:
    of_qwen, of_another = server(), server(model="somebody/Qwen3-8B-GGUF:Q4_K_M")
    assert of_qwen.memory is not None
    assert of_another.memory is not None
    assert of_another.memory.weights_mib == pytest.approx(of_qwen.memory.weights_mib, rel=0.03)
    by_file = server(model="Qwen/Qwen3-8B-GGUF", file="Qwen3-8B-Q4_K_M.gguf")
    assert by_file.memory == of_qwen.memory


@pytest.mark.parametrize(
    "named",
    [
        {"model": "ggml-org/gpt-oss-20b-GGUF:MXFP4"},
        {"model": "ggml-org/gpt-oss-20b-GGUF", "file": "gpt-oss-20b-mxfp4.gguf"},
        # Its experts are in MXFP4, whatever the name says of the rest.
        {"model": "unsloth/gpt-oss-20b-GGUF:F16"},
    ],
    ids=str,
)
def test_a_model_in_mxfp4_is_known(named: Raw) -> None:
    memory = server(**named).memory
    assert memory is not None
    assert 11_000 < memory.weights_mib < 14_000


def test_an_unknown_model_is_planned_with_a_warning() -> None:
    plan = planned({"a": node()}, {"small": llamacpp("somebody/nothing-GGUF:Q4_K_M")})
    assert plan.servers["small"].memory is None
    assert any(line.startswith("models.small.model: what somebody/nothing-GGUF:Q4_K_M") for line in plan.warnings)


def test_facts_of_the_file_are_taken_with_the_quantization_of_its_name() -> None:
    small = server(model="/models/own-Q4_K_M.gguf", claim="files", architecture=FACTS).memory
    large = server(model="/models/own-Q8_0.gguf", claim="files", architecture=FACTS).memory
    assert small is not None
    assert large is not None
    assert small.weights_mib < large.weights_mib * 0.7


def test_what_does_not_fit_is_told_with_what_would() -> None:
    line = told(model="bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M")
    assert "exceed the 24084 MiB that it may take of each GPU, so llama-server would end while it loads" in line
    layers = int(re.search(r"gpuLayers: (\d+)", line)[1])  # type: ignore[index]  # a line without it fails the test too
    fits = server(model="bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M", gpuLayers=layers)
    assert fits.memory is not None
    assert fits.memory.total_mib <= fits.memory.limit_mib
    assert fits.spilled_layers == 81 - layers
    assert "exceed" in told(model="bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M", gpuLayers=layers + 1)


def test_it_has_what_cuda_gives_of_a_card() -> None:
    """Of what nvidia-smi tells as the total of a card its driver keeps some."""
    whole, half = server().memory, server({"a": node(slices=2)}, contextLength=512).memory
    assert whole is not None
    assert half is not None
    assert (whole.limit_mib, half.limit_mib) == (24564 - 480, (24564 - 480) // 2)


def test_what_a_gpu_gets_follows_its_part() -> None:
    nodes: Raw = {"a": node(count=2)}
    model = "bartowski/Llama-3.3-70B-Instruct-GGUF:Q4_K_M"
    even = server(nodes, model=model, gpus=2, parallel=1)
    assert server(nodes, model=model, gpus=2, parallel=1, tensorSplit=[2, 2]).memory == even.memory
    assert server(nodes, model=model, gpus=2, parallel=1, tensorSplit=[0, 0]).memory == even.memory
    line, *more = problems(nodes, {"small": llamacpp(model, gpus=2, parallel=1, tensorSplit=[9, 1])})
    assert (more, even.memory is None) == ([], False)
    assert int(re.search(r"weights (\d+) MiB", line)[1]) > 24084  # type: ignore[index]  # a line without it fails the test too
    assert "Write tensorSplit: [1, 1] or gpuLayers: " in line
    assert "tensorSplit" not in told(model=model)


UNCOUNTED = [
    ({"spec-draft-hf": "Qwen/Qwen3-0.6B-GGUF:Q8_0"}, "spec-draft-hf: puts more on a GPU than the plan counts"),
    ({"model-draft": "/models/draft.gguf"}, "model-draft: puts more on a GPU"),
    ({"no-mmproj": True}, "no-mmproj: takes parts of the model off the pod's GPUs"),
    ({"n-cpu-moe": 24}, "n-cpu-moe: takes parts of the model off the pod's GPUs"),
    ({"kv-offload": False}, "kv-offload: takes parts of the model off the pod's GPUs"),
]


@pytest.mark.parametrize(("flags", "warning"), UNCOUNTED, ids=str)
def test_flags_that_change_what_is_on_a_gpu_uncounted_are_told(flags: Raw, warning: str) -> None:
    warnings = planned({"a": node()}, {"small": llamacpp(extraArgs=flags)}).warnings
    assert any(line.startswith(f"models.small.extraArgs.{warning}") for line in warnings)


@pytest.mark.parametrize("flags", [{"n-cpu-moe": 0}, {"kv-offload": True}, {"cache-reuse": 256}], ids=str)
def test_flags_that_leave_the_gpus_as_they_are_are_not(flags: Raw) -> None:
    assert not any(
        "extraArgs" in line for line in planned({"a": node()}, {"small": llamacpp(extraArgs=flags)}).warnings
    )


def test_experts_that_stay_with_the_cpu_may_make_a_model_fit() -> None:
    model = "unsloth/Qwen3-30B-A3B-GGUF:Q8_0"
    assert "exceed the 24084 MiB" in told(model=model)
    plan = planned({"a": node()}, {"small": llamacpp(model, extraArgs={"n-cpu-moe": 24})})
    [line] = [line for line in plan.warnings if line.startswith("models.small: ")]
    moved = int(re.search(r"extraArgs.n-cpu-moe takes (\d+) MiB off it", line)[1])  # type: ignore[index]  # a line without it fails the test too
    small = plan.servers["small"]
    assert small.memory is not None
    assert small.memory.total_mib == small.memory.limit_mib
    assert small.host_memory.request_bytes > moved * 2**20
    # A draft takes room, and makes none.
    assert "exceed the 24084 MiB" in told(model=model, extraArgs={"spec-draft-hf": "Qwen/Qwen3-0.6B-GGUF:Q8_0"})


def test_requests_that_share_one_cache_share_the_batch_beside_their_windows() -> None:
    window: Raw = {"model": "unsloth/gemma-3-27b-it-GGUF:Q4_K_M", "parallel": 8, "contextLength": 4096}
    own, shared = (
        server({"a": node("a100-80gb")}, **window, extraArgs=flags).memory for flags in ({}, {"kv-unified": True})
    )
    assert own is not None
    assert shared is not None
    assert shared.kv_cache_mib < own.kv_cache_mib


IMAGE = "ghcr.io/ggml-org/llama.cpp:server-cuda"


@pytest.mark.parametrize(
    ("settings", "told_of"),
    [
        ({}, None),  # a newer default must be looked at, and be added to the table
        ({"image": f"{IMAGE}-b10434@sha256:{'0' * 64}"}, None),
        ({"image": f"{IMAGE}-b9000"}, "is another build"),
        ({"image": f"ghcr.io/ggml-org/llama.cpp@sha256:{'0' * 64}"}, "is of a build that its tag does not say"),
    ],
    ids=str,
)
def test_flags_of_another_build_than_the_known_one_are_told(settings: Raw, told_of: str | None) -> None:
    asked: Raw = {**settings, "extraArgs": {"cache-reuse": 256}}
    warnings = planned({"a": node()}, {"small": llamacpp(**asked)}).warnings
    lines = [line for line in warnings if line.startswith("models.small.extraArgs: are checked against the flags of")]
    assert len(lines) == (0 if told_of is None else 1)
    assert all(f"{told_of}" in line for line in lines)
    assert not [line for line in planned({"a": node()}, {"small": llamacpp(**settings)}).warnings if "checked" in line]


def test_the_context_that_is_named_fits() -> None:
    line = told(parallel=16, contextLength=32768)
    largest = int(re.search(r"contextLength: (\d+)", line)[1])  # type: ignore[index]  # a line without it fails the test too
    assert server(parallel=16, contextLength=largest).memory is not None


def test_layers_of_the_cpu_take_memory_of_the_host() -> None:
    on_gpu, on_cpu = server(), server(gpuLayers=0)
    assert on_cpu.spilled_layers == 37
    assert on_gpu.spilled_layers == 0
    assert on_cpu.host_memory.request_bytes - on_gpu.host_memory.request_bytes > 4 * 10**9


def test_checkpoints_of_windows_are_bounded_and_counted_and_no_flag_changes_them() -> None:
    nodes: Raw = {"a": node("a100-80gb")}
    window: Raw = {"model": "unsloth/gemma-3-27b-it-GGUF:Q4_K_M", "parallel": 1}
    found, none = server(nodes, **window), server(nodes, promptCacheMiB=0, **window)
    assert (values(found)["--ctx-checkpoints"], values(none)["--ctx-checkpoints"]) == ("3", "0")
    held = found.host_memory.limit_bytes - none.host_memory.limit_bytes - 2048 * 2**20
    assert 1024 * 2**20 < held <= 2048 * 2**20
    assert told(extraArgs={"ctx-checkpoints": 32}).endswith("Write promptCacheMiB instead.")


def test_a_longer_context_than_the_model_was_made_for_is_told_unless_it_is_stretched() -> None:
    assert "was made for 40960, and llama-server gives a request no more" in told(contextLength=65536, parallel=1)
    stretched = {"rope-scaling": "yarn", "rope-scale": 4}
    assert server(contextLength=65536, parallel=1, extraArgs=stretched).max_model_len == 65536


def test_a_cache_is_quantized_only_where_its_blocks_divide_a_head() -> None:
    """llama-server: K cache type q8_0 with block size 32 does not divide n_embd_head_k."""
    facts = FACTS | {"attentionHeads": 32, "kvHeads": 32, "headDim": 80, "hiddenSize": 2560}
    asked: Raw = {"model": "/models/own-Q4_K_M.gguf", "claim": "files", "architecture": facts, "parallel": 1}
    assert told(cacheTypeV="q8_0", **asked).startswith("models.small.cacheTypeV: q8_0 has blocks of 32 elements")
    assert server(cacheTypeV="bf16", **asked)
    assert server(cacheTypeV="q8_0", **asked | {"architecture": FACTS})


def test_an_embedding_model_is_served_as_one() -> None:
    assert told(model=EMBEDDING).endswith("Write embeddings: true.")


@pytest.mark.parametrize(
    ("flag", "value", "reason"),
    [
        ("api-key", "secret", "is the edge's"),
        ("port", 80, "is the plan's"),
        ("tools", "all", "run commands and read files"),
        ("c", 4096, "is written by the plan"),
        ("model-url", "https://x", "would serve other models"),
        ("gpt-oss-20b-default", True, "would serve other models"),
        ("hf-token", "x", "pulumi config set --secret huggingFaceToken"),
    ],
)
def test_what_others_have_decided_is_not_set_past_them(flag: str, value: object, reason: str) -> None:
    if len(flag) == 1:  # short names have one dash, and so are no names here
        assert "has no flag --c" in told(extraArgs={flag: value})
    else:
        assert reason in told(extraArgs={flag: value})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"model": "qwen3:4b"}, "is neither a repository of Hugging Face with the quantization"),
        ({"model": "/etc/passwd"}, "is neither a repository"),
        ({"model": "/models/../etc/x.gguf", "claim": "c"}, "is neither a repository"),
        ({"model": "/models/own.gguf"}, "Write claim: NAME"),
        ({"claim": "files"}, "which is downloaded, so nobody would read the claim"),
        ({"model": "Qwen/Qwen3-8B-GGUF"}, "without file: llama-server takes the file"),
        ({"file": "a.gguf"}, "and file: llama-server takes the file"),
        ({"cacheTypeV": "q8_0", "flashAttention": False}, "without it values cannot be quantized"),
        ({"ubatchSize": 4096}, "is above batchSize 2048"),
        ({"tensorSplit": [1, 1]}, "tensorSplit has 2 parts and gpus is 1"),
        ({"gpus": 2, "splitMode": "none"}, "all but one would stay idle"),
        ({"autoscale": {"max": 2, "runningRequests": 4}}, "there is no such setting"),
    ],
    ids=str,
)
def test_settings_that_contradict_each_other_are_told(settings: dict[str, object], problem: str) -> None:
    line = refused(**settings)
    assert line.startswith("models.small")
    assert problem in line


@given(
    context=st.integers(128, 40960),
    parallel=st.integers(1, 16),
    layers=st.none() | st.integers(0, 40),
    kind=st.sampled_from(["f16", "q8_0", "q4_0"]),
)
def test_what_is_planned_fits_and_the_rest_is_told(context: int, parallel: int, layers: int | None, kind: str) -> None:
    settings: dict[str, object] = {"contextLength": context, "parallel": parallel, "cacheTypeK": kind}
    if layers is not None:
        settings["gpuLayers"] = layers
    try:
        found = server(None, **settings)
    except PlanError as error:
        [line] = error.problems
        assert "exceed the 24084 MiB" in line
        return
    assert found.memory is not None
    assert found.memory.total_mib <= found.memory.limit_mib
    assert found.spilled_layers == (0 if layers is None else max(0, 37 - layers))


def pod(**settings: object) -> Raw:
    """The pod as it is registered."""
    deployed = run(settings_of({"nodes": {"a": node()}, "models": {"small": llamacpp(**settings)}}))  # type: ignore[arg-type]  # `model` is a text in every test
    spec: Raw = deployed.one("Deployment", "small").inputs["spec"]["template"]["spec"]
    return spec


def test_a_claim_is_mounted_where_the_model_is_and_only_to_be_read() -> None:
    spec = pod(model="/models/own.gguf", claim="files")
    [mount] = [m for m in spec["containers"][0]["volumeMounts"] if m["mountPath"] == "/models"]
    assert mount["readOnly"] is True
    [volume] = [v for v in spec["volumes"] if v["name"] == mount["name"]]
    assert volume["persistentVolumeClaim"] == {"claimName": "files", "readOnly": True}


@pytest.mark.parametrize(("processing", "deferred", "ends"), [(0, 0, True), (2, 0, False), (0, 3, False)])
def test_a_pod_is_told_to_end_when_nothing_is_under_way(processing: int, deferred: int, *, ends: bool) -> None:
    """SIGTERM stops llama-server between two tokens, so what is under way must be over before it is sent."""
    spec = pod()
    [shell, option, script] = spec["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    metrics = f"llamacpp:requests_processing {processing}\nllamacpp:requests_deferred {deferred}"
    waits = "echo waited; "
    fakes = f"curl() {{ printf '%s\\n' {shlex.quote(metrics)}; }}\nsleep() {{ {waits} }}\n"
    done = subprocess.run([shell, option, fakes + script], capture_output=True, text=True, check=False, timeout=30)
    # The first is until no new request comes; then one after each look that finds something.
    assert done.stdout.count("waited") == (1 if ends else 61)
    assert spec["terminationGracePeriodSeconds"] >= 65
