"""Models of one Ollama server beside each other: it unloads one by its own reckoning, before memory is full."""

from __future__ import annotations

import pytest
from on_mocks import Raw
from small_stacks import node, planned

from planning.catalogue import gguf_model, gpu_models
from planning.memory import MIB
from planning.ollama import OllamaPlan
from planning.ollama_placement import predicted_bytes

LLAMA, QWEN = "llama3.1:8b", "qwen2.5:7b"


def warnings(gpu: str = "rtx-4090", count: int = 1, **settings: object) -> list[str]:
    server: Raw = {"engine": "ollama", "gpus": count, "storage": "200Gi", **settings}
    around = planned({"a": node(gpu, count)}, {"help": server})
    return [line for line in around.warnings if "cannot be loaded together" in line]


def reckoned(name: str, tokens: int) -> int:
    model = gguf_model(name)
    assert model is not None
    return -(-predicted_bytes(model, tokens) // MIB)


def test_models_whose_memory_would_do_are_unloaded_all_the_same() -> None:
    """A cache of 4 bits takes a quarter, and Ollama reckons with 16."""
    asked: Raw = {"pull": [LLAMA, QWEN], "contextLength": 40960, "numParallel": 2, "kvCacheType": "q4_0"}
    server = planned({"a": node()}, {"help": {"engine": "ollama", **asked}}).servers["help"]
    assert isinstance(server, OllamaPlan)
    limit = gpu_models()["rtx-4090"].cuda_mib
    assert sum(load.gpu.total_mib for load in server.loads.values()) < limit
    [told] = warnings(**asked)
    free = limit - server.loads[QWEN].gpu.total_mib
    assert told == (
        f"models.help.pull: {LLAMA}, {QWEN} cannot be loaded together: Ollama reckons {LLAMA} to take "
        f"{reckoned(LLAMA, 81920)} MiB (its file, and a 16-bit cache of its whole context), which is above 80 % of "
        f"the {free} MiB that {QWEN} would leave free. So it unloads one whenever another is asked for, and requests "
        "wait while it loads. Give one of them a server and a GPU of its own, or write a smaller "
        "contextLength."
    )


def test_a_model_that_spills_leaves_no_room_for_another() -> None:
    [told] = warnings(pull=["llama3.1:70b", "qwen3:4b"], contextLength=4096)
    assert "llama3.1:70b" in told


@pytest.mark.parametrize(
    "settings",
    [
        {"pull": [LLAMA, QWEN], "contextLength": 4096},
        {"pull": [LLAMA, QWEN], "contextLength": 65536, "maxLoadedModels": 1},
        {"pull": [LLAMA], "contextLength": 65536, "modelfiles": {"jini": {"from": LLAMA, "system": "Hi."}}},
        {"pull": ["qwen3:14b", "qwen2.5:14b"], "contextLength": 16384, "count": 2},
        {
            "pull": ["qwen3:14b"],
            "contextLength": 16384,
            "modelfiles": {"slow": {"from": "./x.gguf", "parameters": {"num_gpu": 0}}},
            "files": {"claim": "gguf"},
        },
    ],
    ids=str,
)
def test_models_that_have_room_beside_each_other_are_not_told_of(settings: Raw) -> None:
    assert warnings(**settings) == []


def test_as_many_are_looked_at_as_may_be_loaded() -> None:
    three: Raw = {"pull": [LLAMA, QWEN, "qwen3:8b"], "contextLength": 20480}
    assert len(warnings(**three)) == 1
    assert warnings(maxLoadedModels=2, **three) == []


def test_what_ollama_reckons_smaller_than_it_is_stays_with_the_cpu_in_part() -> None:
    """Heads of qwen3:4b have 128 elements, and Ollama reckons with 80."""
    long: Raw = {"long": {"from": "qwen3:4b", "parameters": {"num_ctx": 40960}}}
    [told] = warnings(pull=["qwen3:4b", LLAMA], contextLength=1024, numParallel=3, modelfiles=long)
    assert told.startswith(f"models.help.pull: long, {LLAMA} cannot be loaded together: long takes ")
    assert "reckons it smaller, loads it all the same" in told
