"""Ollama on a part of a GPU: nothing keeps it there, so what it may take is told."""

from __future__ import annotations

import pytest
from on_mocks import Raw
from small_stacks import node, planned

SMALL, LARGE = "qwen3:4b", "qwen3:14b"


def warnings(slices: int = 2, **settings: object) -> list[str]:
    """What is told of the share of one server, on a 4090, of which CUDA gives 24084 MiB."""
    server = {"engine": "ollama", "pull": [SMALL], "contextLength": 4096, "storage": "100Gi", **settings}
    around = planned({"a": node(slices=slices)}, {"help": server})
    return [line for line in around.warnings if line.startswith("models.help.gpuShare: ")]


def test_no_variable_claims_to_keep_ollama_to_its_share() -> None:
    server = planned({"a": node(slices=2)}, {"help": {"engine": "ollama", "pull": [SMALL]}}).servers["help"]
    assert "OLLAMA_GPU_OVERHEAD" not in server.environment


FITTING: list[Raw] = [
    {},
    {"slices": 1, "pull": [LARGE, SMALL], "contextLength": 32768},
    {"pull": [SMALL, "llama3.1:8b"], "maxLoadedModels": 1},
    {"modelfiles": {"jini": {"from": SMALL, "system": "Hi."}, "ada": {"from": SMALL, "system": "Ho."}}},
]


@pytest.mark.parametrize("settings", FITTING, ids=str)
def test_what_fits_into_its_share_is_kept_there_by_itself(settings: Raw) -> None:
    assert warnings(**settings) == []


def test_models_that_are_larger_than_the_share_are_told() -> None:
    [told] = warnings(pull=[LARGE, SMALL], maxLoadedModels=1, contextLength=32768)
    assert told.startswith("models.help.gpuShare: qwen3:14b wants ")
    assert "of the 12042 MiB of a GPU that are the server's, and nothing keeps Ollama to a share" in told
    assert told.endswith("Take a smaller model or contextLength, or give the server a GPU of its own.")
    [together] = warnings(pull=[SMALL, "llama3.1:8b", "qwen3:8b"])
    assert together.startswith("models.help.gpuShare: 3 models that may be loaded at once want ")
    assert "Write maxLoadedModels: 1, or give the server a GPU of its own." in together


def test_a_model_that_nothing_is_known_of_may_be_larger_than_the_share() -> None:
    [told] = warnings(pull=["mystery:1b"])
    assert told.startswith("models.help.gpuShare: what mystery:1b takes is not known, of the 12042 MiB")


@pytest.mark.parametrize(("slices", "share"), [(2, None), (4, None), (2, 0.5), (1, 0.4)])
def test_what_spills_from_a_part_of_a_gpu_is_offered_the_least_part_that_holds_it(
    slices: int, share: float | None
) -> None:
    def spills(share: float | None) -> list[str]:
        settings: Raw = {"engine": "ollama", "pull": [LARGE], "contextLength": 16384, "storage": "100Gi"}
        server = settings if share is None else {**settings, "gpuShare": share}
        found = planned({"a": node(slices=slices)}, {"help": server})
        return [line for line in found.warnings if "host memory" in line]

    [told] = spills(share)
    assert "gpus:" not in told
    offered = float(told.rpartition("gpuShare: ")[2].partition(")")[0])
    assert not spills(offered)
    assert spills(round(offered - 0.01, 2))


def test_more_gpus_are_offered_as_many_as_hold_the_model() -> None:
    def spills(gpus: int) -> list[str]:
        server = {"engine": "ollama", "pull": ["llama3.1:70b"], "gpus": gpus, "storage": "100Gi"}
        return [line for line in planned({"a": node("rtx-3060-12gb", 8)}, {"help": server}).warnings if "host" in line]

    [told] = spills(1)
    offered = int(told.rpartition("gpus: ")[2].partition(")")[0])
    assert offered > 2
    assert not spills(offered)
    assert spills(offered - 1)
