"""What pods ask of their node, how long a new version takes over, and whether volumes hold what is on them."""

from __future__ import annotations

import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from on_mocks import Raw, settings_of
from small_stacks import AWQ, LLAMA_8B, LLAMA_70B, node, ollama, planned, problems, vllm, vllm_plan

from planning.plan import plan
from planning.pods import GIB, Shutdown, least_shm_bytes, shm_bytes
from planning.rollout import Rollout, outage_seconds
from planning.startup import Startup
from settings.base import quantity_bytes

A100S = {"a": node("a100-80gb", 8)}


# --- memory of the host ---


def test_memory_that_is_written_is_the_limit() -> None:
    memory = vllm_plan({"a": node()}, memory="64Gi").host_memory
    assert memory.limit_bytes == 64 * GIB
    assert memory.request_bytes == vllm_plan({"a": node()}).host_memory.request_bytes


def test_too_little_memory_is_told_in_both_units() -> None:
    """4G is not 4Gi, which is what people mean."""
    assert problems({"a": node()}, {"chat": vllm(memory="5G")}) == [
        "models.chat.memory: 5G is 4.7Gi, but its processes and /dev/shm take 5.0Gi, so the pod would be killed "
        "(OOMKilled). Write 5Gi or more."
    ]
    planned({"a": node()}, {"chat": vllm(memory="5Gi")})


def test_memory_that_leaves_no_room_for_the_weights_files_is_warned_of() -> None:
    [told] = planned({"a": node()}, {"chat": vllm(memory="8Gi")}).warnings
    assert told == (
        "models.chat.memory: 8Gi, below the 10.2Gi with which the weights' files stay in memory while they load, so it "
        "may start more slowly. Write 11Gi, or leave it out."
    )


def test_pods_that_ask_for_more_than_their_node_has_are_told_with_their_parts() -> None:
    nodes = {"a": node(count=3, memory="8Gi", cpus=2)}
    told = problems(nodes, {"chat": vllm(replicas=2), "help": ollama(cpus=1.75)})
    assert told == [
        "nodes.a.memory: 8Gi (8.0Gi), but the pods that run there ask for 9Gi (chat 6Gi, help 3Gi), so one would stay "
        "Pending. Take a server away, or correct the figure.",
        "nodes.a.cpus: 2, but the pods that run there ask for 2.25 (chat 0.5, help 1.75), so one would stay Pending. "
        "Lower cpus of a model, take one away, or correct the figure.",
    ]


@given(st.integers(1, 64), st.floats(0.1, 64))
def test_a_node_whose_figures_are_written_holds_what_is_planned_there(gibibytes: int, cpus: float) -> None:
    nodes = {"a": node(count=2, memory=f"{gibibytes}Gi", cpus=cpus)}
    models = {"chat": vllm(), "help": ollama(cpus=3.5)}
    asked = planned({"a": node(count=2)}, models).servers.values()
    fits = sum(s.host_memory.request_bytes for s in asked) <= gibibytes * GIB
    fits_cpus = sum(s.scheduling.cpu_millicores for s in asked) <= cpus * 1000
    if fits and fits_cpus:
        planned(nodes, models)
    else:
        told = {line.split(":")[0] for line in problems(nodes, models)}
        assert told == {*([] if fits else ["nodes.a.memory"]), *([] if fits_cpus else ["nodes.a.cpus"])}


# --- shared memory ---


@pytest.mark.parametrize(("workers", "mebibytes"), [(1, 0), (2, 1536), (4, 2560), (8, 4608)])
def test_the_least_shared_memory_is_512_mebibytes_and_as_much_for_each_worker(workers: int, mebibytes: int) -> None:
    assert least_shm_bytes(workers) == mebibytes * 2**20
    assert shm_bytes(workers) >= least_shm_bytes(workers)


def test_shared_memory_that_is_too_small_is_told() -> None:
    assert problems(A100S, {"big": vllm(LLAMA_70B, gpus=4, shm="2Gi")}) == [
        "models.big.shm: 2Gi is 2048Mi, but the queues of 4 workers and NCCL take up to 2560Mi, so they would be "
        "killed by SIGBUS under load. Write 2560Mi or more, or leave it out."
    ]
    planned(A100S, {"big": vllm(LLAMA_70B, gpus=4, shm="2560Mi")})
    planned({"a": node()}, {"chat": vllm(shm="64Mi")})  # one worker has nobody to talk to


# --- links between GPUs ---


def test_workers_that_talk_over_pcie_are_warned_of() -> None:
    [told] = planned({"a": node(count=2)}, {"chat": vllm(gpus=2)}).warnings
    assert told.startswith("models.chat.gpus: 2 of rtx-4090, which has no NVLink: the workers talk over PCIe")
    linked = {"a": node("a100-80gb", 2)}
    assert planned(linked, {"chat": vllm(gpus=2)}).warnings == ()
    # Ollama divides layers: one GPU after the other, with little to say to each other.
    assert not any("NVLink" in line for line in planned({"a": node(count=2)}, {"help": ollama(gpus=2)}).warnings)


# --- disks ---


def test_the_slowest_disk_decides_how_long_a_start_is_expected_to_take() -> None:
    shared = {"className": "nfs", "accessMode": "ReadWriteMany", "readMegabytesPerSecond": 200}

    def expected(*speeds: int | None) -> int:
        nodes = {
            f"n{i}": node("a100-80gb", **({} if speed is None else {"readMegabytesPerSecond": speed}))
            for i, speed in enumerate(speeds)
        }
        found = planned(nodes, {"fast": vllm(LLAMA_8B, replicas=len(speeds))}, storage=shared)
        return found.servers["fast"].startup.expected_seconds

    assert expected(3000) < expected(None) == expected(200) < expected(100)
    assert expected(3000, 100) == expected(100)
    assert expected(3000, None) == expected(None)


@pytest.mark.parametrize("written", ["5Gi", "5G"])
def test_a_volume_smaller_than_the_model_is_told(written: str) -> None:
    [told] = problems({"a": node()}, {"chat": vllm(cache=written)})
    assert told.startswith(f"models.chat.cache: {written} is {quantity_bytes(written) / 10**9:.1f} GB, but the model's")
    assert "would end when the volume is full. Write 7Gi or more" in told
    planned({"a": node()}, {"chat": vllm(cache="7Gi")})


# --- rollouts ---


def test_an_outage_is_the_old_pods_end_and_the_new_ones_start() -> None:
    time = Startup(expected_seconds=300, restart_seconds=70, budget_seconds=900)
    ending = Shutdown(pre_stop_seconds=5, drain_seconds=60)
    recreate = Rollout(strategy="Recreate", has_outage=True, spare_gpus=0)
    surge = Rollout(strategy="RollingUpdate", max_surge=1, has_outage=False, spare_gpus=1)
    assert outage_seconds(recreate, startup=time, shutdown=ending) == 5 + 60 + 70
    assert outage_seconds(surge, startup=time, shutdown=ending) == 0


def test_what_takes_longer_to_load_is_away_for_longer() -> None:
    small = vllm_plan(A100S, model=LLAMA_8B, gpus=8)
    large = planned(A100S, {"big": vllm(LLAMA_70B, gpus=8)}).servers["big"]
    assert 0 < small.rollout.outage_seconds < large.rollout.outage_seconds
    assert vllm_plan(A100S).rollout.outage_seconds == 0


def test_a_restart_is_never_slower_than_a_first_start() -> None:
    for model in (AWQ, LLAMA_8B, LLAMA_70B):
        time = planned(A100S, {"m": vllm(model, gpus=4)}).servers["m"].startup
        assert 0 < time.restart_seconds <= time.expected_seconds <= time.budget_seconds


def test_how_many_answer_while_pods_are_replaced_one_by_one_is_told() -> None:
    [told] = planned({"a": node(count=3)}, {"chat": vllm(replicas=3)}).warnings
    assert told == (
        "models.chat.replicas: no GPU is spare for a pod more, so 2 of 3 answer while a new version is rolled out. Add "
        "a GPU where they run, if that is too few."
    )
    assert planned({"a": node(count=4)}, {"chat": vllm(replicas=3)}).warnings == ()


# --- the way in ---


def test_a_server_that_nobody_reaches_is_warned_of() -> None:
    nodes, models = {"a": node(count=2)}, {"chat": vllm(), "help": ollama()}
    edge = {"host": "localhost", "routes": {"/v1": "chat"}, "apiKeys": {"me": "generated"}}
    [told] = planned(nodes, models, ingress=edge).warnings
    assert told.startswith("models.help: no route leads to it, and its network policy lets in nobody but the edge")
    assert planned(nodes, models, ingress=edge, security={"clientNamespaces": ["apps"]}).warnings == ()


def test_a_stack_that_nobody_reaches_is_warned_of_once_with_what_to_write() -> None:
    raw: Raw = {"nodes": {"a": node(count=2)}, "models": {"chat": vllm(), "help": ollama()}}
    [told] = plan(settings_of(raw)).warnings
    assert told.startswith("ingress: is not set, so nobody reaches a model: ")
    written = re.search(r"Write ingress: (\{.*\}), or name", told)
    assert written
    reached = {**raw, "ingress": yaml.safe_load(written[1])}
    assert not any(line.startswith("ingress") for line in plan(settings_of(reached)).warnings)
    assert plan(settings_of({**raw, "security": {"clientNamespaces": ["apps"]}})).warnings == ()
