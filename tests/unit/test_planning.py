"""The rest of planning: budgets, host memory, routes, Modelfiles, and the whole, in tables and properties."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm_policies.shared_memory import needed_bytes
from on_mocks import Raw, settings_of
from small_stacks import LLAMA_8B, LLAMA_70B, node, ollama, planned, problems, vllm

from planning.gpu_names import gpu_meant
from planning.ollama import OllamaPlan
from planning.plan import plan
from planning.pods import GIB, host_memory, shm_bytes
from planning.problems import PlanError
from planning.startup import PROBE_PERIOD_SECONDS, startup
from settings.storage import StorageSettings
from toolchain.paths import REPOSITORY

_site = StorageSettings(read_megabytes_per_second=450, download_megabytes_per_second=25)


@pytest.mark.parametrize(
    ("gigabytes", "downloads", "compiles", "expected", "budget"),
    [
        (0, False, False, 20, 300),
        (140, False, False, 331, 497),  # the published 5 minutes from SSD
        (140, False, True, 451, 677),
        (140, True, True, 451, 9077),  # 140 GB at 25 MB/s is 93 minutes more
        (2.5, True, False, 26, 300),
    ],
)
def test_a_start_takes_reading_compiling_and_downloading(
    gigabytes: float, downloads: bool, compiles: bool, expected: int, budget: int
) -> None:
    time = startup(round(gigabytes * 10**9), _site, downloads=downloads, compiles=compiles)
    assert (time.expected_seconds, time.budget_seconds) == (expected, budget)


@given(st.integers(0, 10**12), st.integers(1, 10**4), st.integers(1, 10**4), st.booleans(), st.booleans())
def test_a_probe_never_kills_a_start_within_its_budget(
    files: int, read: int, download: int, downloads: bool, compiles: bool
) -> None:
    storage = StorageSettings(read_megabytes_per_second=read, download_megabytes_per_second=download)
    time = startup(files, storage, downloads=downloads, compiles=compiles)
    assert time.expected_seconds <= time.budget_seconds <= time.probe_failures * PROBE_PERIOD_SECONDS


@pytest.mark.parametrize(("workers", "gibibytes"), [(1, 2), (2, 2), (3, 3), (4, 4), (8, 8)])
def test_shared_memory_by_workers(workers: int, gibibytes: int) -> None:
    assert shm_bytes(workers) == gibibytes * GIB


@given(st.integers(1, 1024))
def test_shared_memory_satisfies_the_policy(workers: int) -> None:
    assert workers == 1 or shm_bytes(workers) >= needed_bytes(workers)


@given(st.integers(1, 64), st.integers(0, 10**12), st.integers(0, 2**40))
def test_the_memory_limit_holds_shared_memory_besides_what_is_asked_for(workers: int, files: int, shm: int) -> None:
    memory = host_memory(workers=workers, files_bytes=files, shm=shm)
    assert memory.limit_bytes >= memory.request_bytes + shm


def test_the_key_of_the_models_changes_with_them_and_with_nothing_else() -> None:
    def key(**more: object) -> str:
        server = planned({"a": node()}, {"help": ollama(**more)}).servers["help"]
        assert isinstance(server, OllamaPlan)
        return server.models_key

    assert key() == key(contextLength=4096, keepAliveSeconds=-1, storage="80Gi")
    different = [
        key(),
        key(pull=["qwen3:4b", "llama3.1"]),
        key(image="docker.io/ollama/ollama:0.32.14"),
        key(modelfiles={"jini": {"from": "qwen3:4b"}}),
        key(modelfiles={"jini": {"from": "qwen3:4b", "system": "Be kind."}}),
    ]
    assert len(set(different)) == len(different)


def test_all_problems_of_nodes_models_and_routes_are_told_at_once() -> None:
    there = {"nodeSelector": {"kubernetes.io/hostname": "b"}}  # else the unknown GPU might hold them
    told = problems(
        {"a": node("rtx-4091", 4), "b": node(slices=2)},
        {"big": vllm(gpus=16), "help": ollama(gpuShare=0.9, **there), "wide": vllm(LLAMA_70B, **there)},
        ingress={"host": "localhost", "routes": {"/help": "wide", "/x": "none"}},
    )
    assert sorted(line.split(":")[0] for line in told) == sorted(
        [
            "nodes.a.gpus.model",
            "ingress.routes./help",
            "ingress.routes./x",
            "models.big.gpus",  # no node has so many
            "models.big.gpus",  # nor has the model as many heads
            "models.wide",  # help leaves too little of the card
            "models.wide",  # and would not fit it alone
        ]
    )
    assert str(PlanError(told)).splitlines()[0] == "The stack cannot be planned, 7 problems:"


def test_a_gated_model_without_a_token_is_warned_of() -> None:
    nodes: Raw = {"a": node("a100-80gb", 2)}
    models: Raw = {"fast": vllm(LLAMA_8B), "open": vllm()}
    [told] = planned(nodes, models).warnings
    assert told.startswith("models.fast.model: meta-llama/Llama-3.1-8B-Instruct is gated")
    assert planned(nodes, models, huggingFaceToken={"secure": "v1:x"}).warnings == ()


def test_an_open_localhost_is_warned_of_where_others_may_reach_the_port() -> None:
    def told(platform: str, **more: object) -> tuple[str, ...]:
        ingress = {"host": "localhost", "routes": {"/v1": "chat"}, **more}
        return planned({"a": node(platform=platform)}, {"chat": vllm()}, ingress=ingress).warnings

    [warning] = told("native")
    assert warning.startswith("ingress.apiKeys: is not set. localhost is a name and no fence")
    assert told("wsl2") == told("native", apiKeys={"me": "generated"}) == ()


def test_a_model_of_which_nothing_is_known_is_warned_of() -> None:
    [told] = planned({"a": node("a100-80gb")}, {"fast": vllm("meta-llama/Llama-3.1-8B-Instuct")}).warnings
    assert told.startswith("models.fast.model: meta-llama/Llama-3.1-8B-Instuct is not in the catalogue")
    assert "did you mean 'meta-llama/Llama-3.1-8B-Instruct'?" in told


def test_a_model_of_ollama_is_none_of_vllms() -> None:
    [told] = problems({"a": node("a100-80gb")}, {"chat": vllm("bge-m3")})
    assert told.startswith("models.chat.model: bge-m3 is the name of a GGUF model in Ollama's library")
    assert "Write BAAI/bge-m3, or engine: ollama." in told


def test_a_gpu_that_the_catalogue_does_not_know_is_told_with_the_nearest() -> None:
    [told] = problems({"a": node("rtx-4091")}, {"chat": vllm()})
    assert told == (
        "nodes.a.gpus.model: 'rtx-4091' is not in the catalogue, so nothing can be said of its memory; did you mean "
        "'rtx-4090'? (`llmctl catalogue list --gpus` shows all of them)"
    )


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("NVIDIA GeForce RTX 4090", "; did you mean 'rtx-4090'?"),
        ("NVIDIA-L40S", "; did you mean 'l40s'?"),
        ("Tesla-T4", "; did you mean 't4'?"),
        ("a100", "; did you mean 'a100-40gb' or 'a100-80gb'?"),
        ("RTX 4060 Ti", "; did you mean 'rtx-4060-ti-8gb' or 'rtx-4060-ti-16gb'?"),
        ("rtx4090", "; did you mean 'rtx-4090'?"),
        ("mi300x", ""),
        ("", ""),
    ],
)
def test_a_gpu_is_found_by_the_names_that_others_have_for_it(written: str, meant: str) -> None:
    assert gpu_meant(written) == meant


@pytest.mark.parametrize("wanted", [{}, {"gpuModel": "rtx-4090"}])
@pytest.mark.parametrize("others", [{}, {"b": node("rtx-3050-8gb")}])
def test_what_follows_from_a_gpus_wrong_name_is_not_told_as_well(wanted: Raw, others: Raw) -> None:
    [told] = problems({"a": node("NVIDIA GeForce RTX 4090"), **others}, {"chat": vllm(**wanted)})
    assert told.startswith("nodes.a.gpus.model: ")


def calls(models: int) -> int:
    """Python calls that planning so many models makes."""
    nodes = {f"n{i}": node(count=16) for i in range(-(-models // 16))}
    raw = settings_of(
        {
            "nodes": nodes,
            "models": {f"m{i}": vllm() if i % 2 else ollama() for i in range(models)},
            "ingress": {"host": "localhost", "routes": {f"/v1/m{i}": f"m{i}" for i in range(1, models, 2)}},
        }
    )
    count = 0

    def profile(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    plan(raw)  # the catalogue is read once, whatever comes later
    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        plan(raw)
    finally:
        sys.setprofile(before)
    return count


def test_planning_a_thousand_models_takes_a_second() -> None:
    """Calls rather than seconds, so that a busy machine fails nothing: a million of them are a tenth of a second."""
    assert calls(1000) < 1_000_000


def test_planning_needs_no_pulumi_and_no_kubernetes() -> None:
    program = (
        "import sys, planning.plan, settings.loader\n"
        "print(*sorted({m.partition('.')[0] for m in sys.modules} & {'pulumi', 'pulumi_kubernetes', 'kubernetes', "
        "'grpc'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
