"""Ollama: what its settings say, what they cannot say, and what each of its models takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import Raw, settings_of
from small_stacks import node, planned, problems

from planning import engine_flags
from planning.catalogue import gguf_model, gpu_models
from planning.memory import MIB, LlamaCppLoad, llama_cpp_memory
from planning.ollama import OllamaPlan
from planning.plan import Plan
from settings.ollama_facts import (
    GONE_VARIABLES,
    LIBRARY_VARIABLES,
    LLAMA_SERVER_VARIABLES,
    OTHER_VARIABLES,
    PLANNED_VARIABLES,
    REFUSED_VARIABLES,
    VARIABLES,
    VARIABLES_BY_SETTING,
)
from settings.problems import SettingsError

QWEN = "qwen3:4b"
KNOWN = VARIABLES | LLAMA_SERVER_VARIABLES | OTHER_VARIABLES
# Qwen3-4B's own config.json.
FACTS: Raw = {
    "layers": 36,
    "hiddenSize": 2560,
    "intermediateSize": 9728,
    "attentionHeads": 32,
    "kvHeads": 8,
    "headDim": 128,
    "vocabularySize": 151936,
    "contextTokens": 40960,
    "parameters": 4022468096,
    "tiedEmbeddings": True,
}


def server(**settings: object) -> Raw:
    return {"engine": "ollama", "pull": [QWEN], **settings}


def wrong(**settings: object) -> list[str]:
    """What the settings of one server say wrongly, without its own path."""
    with pytest.raises(SettingsError) as caught:
        settings_of({"nodes": {"a": node()}, "models": {"help": server(**settings)}})
    return [problem.removeprefix("models.help.") for problem in caught.value.problems]


def stack(gpu: str = "rtx-4090", count: int = 1, **settings: object) -> tuple[OllamaPlan, Plan]:
    """The plan of one server, and of the stack around it."""
    found = planned({"a": node(gpu, count)}, {"help": server(**settings)})
    plan = found.servers["help"]
    assert isinstance(plan, OllamaPlan)
    return plan, found


def plan(gpu: str = "rtx-4090", count: int = 1, **settings: object) -> OllamaPlan:
    return stack(gpu, count, **settings)[0]


MISTAKES: list[tuple[Raw, list[str]]] = [
    (
        {"pull": ["https://hf.co/a/b"]},
        ["pull.0: 'https://hf.co/a/b' is an address; write what is after '//', e.g. 'hf.co/owner/repository:Q4_K_M'."],
    ),
    ({"pull": ["hf.co/model"]}, ["pull.0: 'hf.co/model' is not an Ollama model name; write e.g. 'qwen3:4b'."]),
    (
        {"kvCacheType": "q8_0", "flashAttention": False, "maxQueue": 0},
        [
            "kvCacheType: q8_0 with flashAttention false: a quantized cache needs flash attention, so no model would "
            "load. Leave flashAttention out, or write kvCacheType: f16.",
            "maxQueue: must be at least 1, got 0 (Requests that wait before further ones get 503 (OLLAMA_MAX_QUEUE); "
            "by default Ollama's own 512).",
        ],
    ),
    (
        {"origins": ["chat.example.com", "https://*.example.*", "*"]},
        [
            "origins.0: 'chat.example.com' is no origin, and Ollama would end at start. Write scheme and host, e.g. "
            "'https://chat.example.com', with one '*' at most.",
            "origins.1: 'https://*.example.*' is no origin, and Ollama would end at start. Write scheme and host, e.g. "
            "'https://chat.example.com', with one '*' at most.",
        ],
    ),
    (
        {"extraEnvironment": {"OLLAMA_KEEPALIVE": "1h", "OLLAMA_TMPDIR": "/x", "OLLAMA_DEBUG": "1", "HOME": "/"}},
        [
            "extraEnvironment.OLLAMA_KEEPALIVE: Ollama reads no such variable, and would ignore it without a word; did "
            "you mean 'OLLAMA_KEEP_ALIVE'?",
            "extraEnvironment.OLLAMA_TMPDIR: Ollama reads no such variable: it is gone since 0.5.2; nothing is "
            "unpacked any more.",
            "extraEnvironment.OLLAMA_DEBUG: has a setting of its own, which the plan counts with. Write debug.",
            "extraEnvironment.HOME: follows from the plan, so it would be overwritten. Leave it out.",
        ],
    ),
    (
        {"modelfiles": {"jini": {"from": "llama3.2:1b"}, "qwen3": {"from": "./x.gguf"}}, "pull": ["qwen3"]},
        [
            "modelfiles.jini.from: 'llama3.2:1b' is not pulled by this server, so the model could not be made. Add it "
            "to pull.",
            "modelfiles.qwen3: 'qwen3' is pulled too, so one of the two would take the other's place. Give it another "
            "name.",
            "modelfiles.qwen3.from: './x.gguf' is a file, but files does not say where. Write e.g. files: {nodePath: "
            "/data/gguf}.",
        ],
    ),
    (
        {
            "modelfiles": {
                "jini": "FROM qwen3:4b\nPARAMETER temprature 1\nSYTEM x",
                "ada": {"from": QWEN, "adapter": "a"},
            }
        },
        [
            "modelfiles.jini: modelfile line 2: unknown parameter 'temprature', which Ollama refuses; did you mean "
            "'temperature'?",
            "modelfiles.jini: modelfile line 3: 'SYTEM' is no instruction; did you mean 'SYSTEM'?",
            "modelfiles.ada.adapter: 'a' is no path of a GGUF file below the server's `files`; write e.g. "
            "'./model-Q4_K_M.gguf'.",
        ],
    ),
    ({"files": {}}, ["files: needs one place where the files are: write either nodePath or claim."]),
    (
        {"files": {"nodePath": "gguf"}},
        ["files.nodePath: 'gguf' is no absolute path of a folder; write e.g. '/data/gguf'."],
    ),
    (
        {"architectures": {"qwen3": FACTS}},
        [
            "architectures.qwen3: this server has no such model; did you mean 'qwen3:4b'?",
            "architectures.qwen3.quantization: is required for a GGUF, whose memory follows from it; write e.g. "
            "Q4_K_M.",
        ],
    ),
]


@pytest.mark.parametrize(("settings", "told"), MISTAKES, ids=lambda value: str(value)[:40])
def test_a_mistake_is_told_with_path_value_and_repair(settings: Raw, told: list[str]) -> None:
    assert wrong(**settings) == told


def test_a_server_needs_a_model() -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of({"nodes": {"a": node()}, "models": {"help": {"engine": "ollama"}}})
    [problem] = caught.value.problems
    assert problem.startswith("models.help.pull: is required, where there are no modelfiles")


@pytest.mark.parametrize(
    "name", sorted({*VARIABLES_BY_SETTING, *PLANNED_VARIABLES, *GONE_VARIABLES, *REFUSED_VARIABLES})
)
def test_variables_that_are_not_ones_own_are_refused(name: str) -> None:
    [problem] = wrong(extraEnvironment={name: "1"})
    assert problem.startswith(f"extraEnvironment.{name}: ")


@pytest.mark.parametrize("name", sorted(LLAMA_SERVER_VARIABLES))
def test_what_llama_server_is_given_is_one_of_its_own(name: str) -> None:
    assert f'"env": "{name}"' in (Path(engine_flags.__file__).parent / "llama-server.json").read_text()


LLAMA_PROBLEMS = {
    "LLAMA_ARG_N_GPU_LAYERS": "changes what the plan counts with",
    "LLAMA_ARG_FIT": "changes what the plan counts with",
    "LLAMA_ARG_UBATCH": "changes what the plan counts with",
    "LLAMA_ARG_CACHE_RAM": "has a setting of its own",
    "LLAMA_ARG_CTX_CHECKPOINTS": "follows from the plan",
    "LLAMA_API_KEY": "looks like a secret",
    "LLAMA_ARG_HF_TOKEN": "looks like a secret",
    "CUDA_VISIBLE_DEVICES": "says which GPUs are the pod's",
    "NVIDIA_ANYTHING": "Ollama reads no such variable",
    "GOOGLE_APPLICATION_CREDENTIALS": "looks like a secret",
}


@pytest.mark.parametrize(("name", "told"), LLAMA_PROBLEMS.items())
def test_variables_that_the_plan_counts_with_or_that_hold_secrets_are_refused(name: str, told: str) -> None:
    [problem] = wrong(extraEnvironment={name: "1"})
    assert problem.startswith(f"extraEnvironment.{name}: {told}")


@pytest.mark.parametrize("value", ["http://me:hunter2@proxy.example.com:3128", "https://:hunter2@proxy"])
def test_an_address_with_a_password_is_refused_and_not_shown(value: str) -> None:
    [problem] = wrong(extraEnvironment={"HTTPS_PROXY": value})
    assert problem.startswith("extraEnvironment.HTTPS_PROXY: is an address with a password in it")
    assert "hunter2" not in problem
    assert plan(extraEnvironment={"HTTPS_PROXY": "http://proxy.example.com:3128"}).environment["HTTPS_PROXY"]


@pytest.mark.parametrize("name", sorted(KNOWN | {f"{prefix}X" for prefix in LIBRARY_VARIABLES}))
def test_variables_that_ollama_reads_reach_it(name: str) -> None:
    assert plan(extraEnvironment={name: "1"}).environment[name] == "1"


def test_every_setting_reaches_the_server() -> None:
    found = plan(
        numParallel=4,
        maxLoadedModels=2,
        flashAttention=True,
        kvCacheType="q8_0",
        contextLength=4096,
        maxQueue=64,
        debug=True,
        origins=["https://chat.example.com", "http://*.local"],
        loadTimeoutSeconds=900,
        promptCacheMiB=512,
        keepAliveSeconds=-1,
    ).environment
    assert found == {
        "HOME": "/tmp",
        "LLAMA_ARG_CACHE_RAM": "512",
        "LLAMA_ARG_CTX_CHECKPOINTS": "32",
        "OLLAMA_CONTEXT_LENGTH": "4096",
        "OLLAMA_DEBUG": "1",
        "OLLAMA_FLASH_ATTENTION": "1",
        "OLLAMA_HOST": "0.0.0.0:11434",
        "OLLAMA_KEEP_ALIVE": "-1",
        "OLLAMA_KV_CACHE_TYPE": "q8_0",
        "OLLAMA_LOAD_TIMEOUT": "900s",
        "OLLAMA_MAX_LOADED_MODELS": "2",
        "OLLAMA_MAX_QUEUE": "64",
        "OLLAMA_MODELS": "/models",
        "OLLAMA_NOPRUNE": "1",
        "OLLAMA_NUM_PARALLEL": "4",
        "OLLAMA_ORIGINS": "https://chat.example.com,http://*.local",
    }


def test_what_is_not_said_is_left_to_ollama() -> None:
    assert plan().environment.keys() == {
        "HOME",
        "LLAMA_ARG_CACHE_RAM",
        "LLAMA_ARG_CTX_CHECKPOINTS",
        "OLLAMA_CONTEXT_LENGTH",
        "OLLAMA_HOST",
        "OLLAMA_KEEP_ALIVE",
        "OLLAMA_MODELS",
        "OLLAMA_NOPRUNE",
        "OLLAMA_NUM_PARALLEL",
    }
    assert plan(flashAttention=False).environment["OLLAMA_FLASH_ATTENTION"] == "0"


def test_a_quantized_cache_turns_flash_attention_on() -> None:
    assert plan(kvCacheType="q4_0").environment["OLLAMA_FLASH_ATTENTION"] == "1"


def test_a_model_that_loads_for_long_is_given_the_time() -> None:
    slow = planned(
        {"a": node("a100-80gb")},
        {"help": server(pull=["llama3.1:70b"], storage="100Gi")},
        storage={"readMegabytesPerSecond": 100},
    ).servers["help"]
    timeout = int(slow.environment["OLLAMA_LOAD_TIMEOUT"].removesuffix("s"))
    assert timeout > 43_000 / 100


@pytest.mark.parametrize(
    ("name", "original", "quantization"),
    [
        (QWEN, "qwen3:4b", "Q4_K_M"),
        ("hf.co/bartowski/Meta-Llama-3.1-8B-Instruct-GGUF:Q5_K_M", "meta-llama/Llama-3.1-8B-Instruct", "Q5_K_M"),
        ("hf.co/bartowski/Llama-3.1-8B-Instruct-GGUF:q8_0", "meta-llama/Llama-3.1-8B-Instruct", "Q8_0"),
        ("huggingface.co/unsloth/Llama-3.3-70B-Instruct-GGUF", "meta-llama/Llama-3.3-70B-Instruct", "Q4_K_M"),
        ("llama3.1:8b-instruct-q8_0", "llama3.1:8b", "Q8_0"),
        ("llama3.1:8b-instruct-fp16", "llama3.1:8b", "F16"),
    ],
)
def test_a_name_is_known_by_its_original(name: str, original: str, quantization: str) -> None:
    found, known = gguf_model(name), gguf_model(original)
    assert found is not None
    assert known is not None or "/" in original
    assert found.quantization.value == quantization
    assert known is None or found.architecture == known.architecture


@pytest.mark.parametrize(
    "name",
    ["mystery:1b", "qwen3:4b-thinking-2507-q8_0", "hf.co/a/Unheard-Of-GGUF:Q4_K_M", "hf.co/a/Qwen3-4B-GGUF:Q4_K_X"],
)
def test_what_is_not_known_is_not_guessed(name: str) -> None:
    assert gguf_model(name) is None
    found = plan(pull=[name])
    assert (found.memory, found.loads, found.concurrent_full_length_requests) == (None, {}, None)


def test_memory_is_llama_cpps_for_the_whole_cache() -> None:
    model = gguf_model(QWEN)
    assert model is not None
    found = plan(gpu="l4", contextLength=4096, numParallel=4, kvCacheType="q8_0")
    load = LlamaCppLoad(context_tokens=4 * 4096, key_bits=8.5, value_bits=8.5, sequences=4, ubatch_tokens=1024)
    limit = gpu_models()["l4"].cuda_mib
    assert found.loads == {QWEN: llama_cpp_memory(model, load, limit_mib=limit)}
    assert found.memory == found.loads[QWEN].gpu
    assert (found.max_model_len, found.concurrent_full_length_requests) == (4096, 4)


def test_memory_is_that_of_the_largest_model_and_context() -> None:
    found = plan(
        contextLength=4096,
        pull=[QWEN, "llama3.1:8b"],
        modelfiles={"long": {"from": "llama3.1:8b", "parameters": {"num_ctx": 32768}}},
    )
    assert found.loads.keys() == {QWEN, "llama3.1:8b", "long"}
    assert found.memory == found.loads["long"].gpu
    assert found.max_model_len == 32768


@given(context=st.integers(256, 40960), parallel=st.integers(1, 8), kind=st.sampled_from(["f16", "q8_0", "q4_0"]))
def test_a_smaller_load_never_takes_more(context: int, parallel: int, kind: str) -> None:
    whole = plan(contextLength=context, numParallel=parallel).loads[QWEN]
    less = plan(contextLength=context // 2 + 1, numParallel=parallel, kvCacheType=kind).loads[QWEN]
    assert less.spilled_layers <= whole.spilled_layers
    assert less.spilled_layers < whole.spilled_layers or less.gpu.total_mib <= whole.gpu.total_mib


def test_layers_that_spill_are_told_with_what_would_help() -> None:
    around = stack("l4", contextLength=40960, numParallel=4, modelfiles={"jini": {"from": QWEN, "system": "Hi."}})[1]
    [warning] = [line for line in around.warnings if "host memory" in line]
    limit = gpu_models()["l4"].cuda_mib
    assert warning.startswith(f"models.help: qwen3:4b does not fit into the {limit} MiB that it may take of each GPU: ")
    assert "of its 37 layers stay in host memory" in warning
    assert "kvCacheType: q8_0, which halves the cache" in warning
    fitting = int(warning.partition("contextLength: ")[2].split()[0])
    assert plan("l4", contextLength=fitting, numParallel=4).loads[QWEN].spilled_layers == 0


def test_weights_that_do_not_fit_are_told_so() -> None:
    [warning] = stack(pull=["llama3.1:70b"], storage="100Gi")[1].warnings
    assert "Take a smaller quantization or model, as its weights alone do not fit, or give it more GPUs" in warning
    assert " times as long" in warning
    spilling, whole = (
        plan(pull=["llama3.1:70b"], storage="100Gi"),
        plan("a100-80gb", pull=["llama3.1:70b"], storage="100Gi"),
    )
    held = spilling.host_memory.request_bytes - whole.host_memory.request_bytes
    assert held == spilling.loads["llama3.1:70b"].host_mib * MIB > 0
    assert plan(count=2, gpus=2, pull=["llama3.1:70b"], storage="100Gi").loads["llama3.1:70b"].spilled_layers == 0


def test_layers_that_somebody_keeps_on_the_cpu_are_no_surprise() -> None:
    found, around = stack(modelfiles={"slow": {"from": QWEN, "parameters": {"num_gpu": 0}}})
    assert found.loads["slow"].spilled_layers == 37
    assert not [warning for warning in around.warnings if "host memory" in warning]


def test_layers_that_are_forced_onto_the_gpu_must_fit() -> None:
    forced = {"big": {"from": "llama3.1:70b", "parameters": {"num_gpu": 81}}}
    [problem] = problems({"a": node()}, {"help": server(pull=["llama3.1:70b"], storage="100Gi", modelfiles=forced)})
    assert problem.startswith("models.help.modelfiles.big.parameters.num_gpu: 81 layers take ")


def test_a_context_beyond_the_models_own_is_told() -> None:
    written = {"jini": f"FROM {QWEN}\nPARAMETER num_ctx 50000"}
    assert problems({"a": node()}, {"help": server(modelfiles=written)}) == [
        "models.help.modelfiles.jini.parameters.num_ctx: 50000 tokens, but qwen3:4b was made for 40960, and Ollama "
        "would cut it down without a word. Write 40960 or less."
    ]
    found, around = stack(contextLength=65536)
    assert found.max_model_len == 40960
    [warning] = around.warnings
    assert warning.startswith("models.help.contextLength: 65536 tokens, but qwen3:4b was made for 40960, so Ollama ")


def test_parameters_that_ollama_drops_are_told() -> None:
    [warning] = stack(modelfiles={"jini": {"from": QWEN, "parameters": {"mirostat": 1}}})[1].warnings
    assert warning.startswith("models.help.modelfiles.jini.parameters.mirostat: Ollama drops it")


def test_a_volume_too_small_for_its_models_is_told() -> None:
    assert problems({"a": node()}, {"help": server(pull=["llama3.1:70b"], storage="20Gi")}) == [
        "models.help.storage: 20Gi for models of 43 GB, so the download would end when the volume is full. Write 48Gi "
        "or more."
    ]


def test_facts_of_the_stack_file_count_for_what_is_not_known() -> None:
    facts = {**FACTS, "quantization": "Q4_K_M", "filesGB": 2.5}
    found = plan(
        pull=["mystery:4b"],
        files={"claim": "gguf"},
        modelfiles={"mine": "FROM ./mine.gguf", "other": "FROM ./other.gguf"},
        architectures={"mystery:4b": facts, "mine": facts},
    )
    assert found.loads.keys() == {"mystery:4b", "mine"}
    assert found.loads["mine"] == found.loads["mystery:4b"]


def test_models_that_take_each_others_place_are_told() -> None:
    large: Raw = {"pull": ["qwen3:14b", "qwen2.5:14b"], "storage": "100Gi"}
    [warning] = stack("l4", contextLength=16384, **large)[1].warnings
    assert "qwen3:14b" in warning
    assert "cannot be loaded together" in warning
    assert stack("l4", contextLength=16384, maxLoadedModels=1, **large)[1].warnings == ()
    assert stack("a100-80gb", contextLength=16384, **large)[1].warnings == ()


def test_custom_models_share_the_weights_of_their_origin_only_with_its_options() -> None:
    def warnings(parameters: Raw) -> tuple[str, ...]:
        custom = {"jini": {"from": "qwen3:14b", "parameters": parameters}}
        return stack("l4", pull=["qwen3:14b"], contextLength=8192, modelfiles=custom)[1].warnings

    assert warnings({"temperature": 0, "num_ctx": 8192}) == ()
    [context] = warnings({"num_ctx": 4096})
    assert context.startswith("models.help.modelfiles.jini.parameters.num_ctx: is another than that of qwen3:14b, ")
    [threads] = warnings({"num_thread": 4})
    assert threads.startswith("models.help.modelfiles.jini.parameters.num_thread: ")


def test_weights_that_nothing_is_known_of_are_told_once() -> None:
    custom = {"jini": {"from": "qwen3:4bb"}, "mine": "FROM ./mine.gguf"}
    pulled, file = stack(pull=["qwen3:4bb"], modelfiles=custom, files={"claim": "gguf"})[1].warnings
    assert pulled == (
        "models.help.pull.0: qwen3:4bb is not in the catalogue, so whether it fits is not known, and 5 GB are "
        "counted; did you mean 'qwen3:4b'? `llmctl catalogue add --form architecture FILE.gguf` prints what to write "
        "under architectures.qwen3:4bb."
    )
    assert file.startswith("models.help.modelfiles.mine: ./mine.gguf is not in the catalogue")


def test_caches_of_prompts_are_bounded_and_counted_for_each_loaded_model() -> None:
    def limit(**settings: object) -> int:
        return stack("a100-80gb", 1, **settings)[0].host_memory.limit_bytes

    whole, none = plan(), plan(promptCacheMiB=0)
    assert (whole.environment["LLAMA_ARG_CACHE_RAM"], whole.environment["LLAMA_ARG_CTX_CHECKPOINTS"]) == ("2048", "32")
    assert (none.environment["LLAMA_ARG_CACHE_RAM"], none.environment["LLAMA_ARG_CTX_CHECKPOINTS"]) == ("0", "0")
    assert whole.host_memory.limit_bytes - none.host_memory.limit_bytes == 2048 * MIB
    assert whole.host_memory.request_bytes == none.host_memory.request_bytes
    two = [QWEN, "qwen3:1.7b"]
    assert limit(pull=two) - limit(pull=[QWEN]) == (2048 + 1024) * MIB  # a process of its own, with its CUDA context
    assert limit(pull=two, maxLoadedModels=1) == limit(pull=[QWEN])
    assert limit(modelfiles={"jini": {"from": QWEN, "system": "Hi."}}) == limit()
    assert limit(pull=[QWEN, "nomic-embed-text"]) - limit(pull=[QWEN]) == 1024 * MIB  # it completes nothing


def test_less_memory_than_caches_of_prompts_fill_is_told() -> None:
    assert problems({"a": node()}, {"help": server(memory="4Gi")}) == [
        "models.help.memory: 4Gi, but its processes and /dev/shm take 5.0Gi, so the pod would be killed (OOMKilled). "
        "Write 5Gi or more, or a smaller promptCacheMiB."
    ]
    assert plan(memory="4Gi", promptCacheMiB=512).host_memory.limit_bytes == 4 * 2**30


@pytest.mark.parametrize(("model", "most"), [("gemma3:27b", 4), ("qwen3.5:9b", 32)])
def test_checkpoints_of_layers_that_forget_are_bounded_and_counted(model: str, most: int) -> None:
    found, uncounted = (plan("a100-80gb", pull=[model], promptCacheMiB=size) for size in (2048, 0))
    kept = int(found.environment["LLAMA_ARG_CTX_CHECKPOINTS"])
    assert 1 <= kept <= most
    held = found.host_memory.limit_bytes - uncounted.host_memory.limit_bytes - 2048 * MIB
    assert 0.5 * 2048 * MIB < held <= 2048 * MIB


def test_checkpoints_are_those_of_all_requests_at_once_and_one_at_least() -> None:
    for parallel, kept in ((1, "2"), (2, "1"), (8, "1")):
        found = plan("a100-80gb", pull=["gemma3:27b"], numParallel=parallel)
        assert found.environment["LLAMA_ARG_CTX_CHECKPOINTS"] == kept
