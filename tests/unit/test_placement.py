"""Placement: no GPU twice, no replica forgotten, nothing hangs when a new version comes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from on_mocks import Raw
from small_stacks import AWQ, LLAMA_70B, node, ollama, planned, problems, vllm

from planning.eligibility import kind_of
from planning.placement import Placement, place, replicas_of
from planning.rollout import Rollout, rollout
from settings.node import GpuSettings, NodeSettings
from settings.ollama import OllamaSettings
from settings.stack import ModelSettings
from settings.storage import AccessMode
from settings.vllm import VllmSettings


@pytest.mark.parametrize(
    ("nodes", "models", "where"),
    [
        pytest.param({"a": node()}, {"x": vllm()}, {"x": ("a",)}, id="one on one"),
        pytest.param(
            {"a": node(slices=2)},
            {"x": vllm(), "y": ollama()},
            {"x": ("a",), "y": ("a",)},
            id="two on the slices of one",
        ),
        pytest.param(
            {"a": node(count=4), "b": node(count=2)},
            {"x": vllm(), "y": vllm()},
            {"x": ("b",), "y": ("b",)},
            id="where the least stays free",
        ),
        pytest.param(
            {"a": node("a100-80gb", 4), "b": node("a100-80gb", 2)},
            {"small": vllm(), "large": vllm(LLAMA_70B, gpus=4)},
            {"small": ("b",), "large": ("a",)},
            id="the largest first",
        ),
        pytest.param(
            {"a": node(slices=4), "b": node(count=2)}, {"x": vllm(gpus=2)}, {"x": ("b",)}, id="shards not on slices"
        ),
        pytest.param(
            {"a": node(), "b": node(count=2), "c": node()},
            {"x": vllm(replicas=2)},
            {"x": ("b", "b")},
            id="replicas where their volume is",
        ),
        pytest.param(
            {"a": node(count=3), "b": node(count=2)},
            {"auto": vllm(autoscale={"max": 2, "runningRequests": 50}), "x": vllm(replicas=3)},
            {"auto": ("b", "b"), "x": ("a", "a", "a")},
            id="room for all that an autoscaler may add",
        ),
    ],
)
def test_where_servers_go(nodes: Raw, models: Raw, where: dict[str, tuple[str, ...]]) -> None:
    assert {name: server.nodes for name, server in planned(nodes, models).servers.items()} == where


@pytest.mark.parametrize(
    ("nodes", "models", "where"),
    [
        pytest.param(
            {"a": node("l4"), "b": node(), "c": node()},
            {"x": vllm(replicas=2)},
            {"x": ("b", "c")},
            id="replicas on GPUs of one model",
        ),
        pytest.param(
            {"a": node(slices=2), "b": node(count=2), "c": node()},
            {"x": vllm(replicas=3)},
            {"x": ("c", "b", "b")},
            id="replicas all on slices or all on whole GPUs",
        ),
    ],
)
def test_a_shared_volume_lets_replicas_spread(nodes: Raw, models: Raw, where: dict[str, tuple[str, ...]]) -> None:
    found = planned(nodes, models, storage={"className": "nfs", "accessMode": "ReadWriteMany"})
    assert {name: server.nodes for name, server in found.servers.items()} == where


def test_a_pod_larger_than_every_node_is_told() -> None:
    assert problems({"a": node(count=8), "b": node(count=4, slices=8)}, {"chat": vllm(LLAMA_70B, gpus=16)}) == [
        "models.chat.gpus: 16 GPUs for one pod, but the largest node that is not time-sliced has 8: the pod would stay "
        "Pending for ever. Lower gpus, or add such a node."
    ]


def test_what_else_is_wrong_with_a_pod_that_finds_no_place_is_told_too() -> None:
    told = problems({"a": node(count=2)}, {"chat": vllm(gpus=3)})
    assert [line.split(" ")[:6] for line in told] == [
        ["models.chat.gpus:", "3", "GPUs", "for", "one", "pod,"],
        ["models.chat.gpus:", "3", "GPUs", "for", "the", "28"],
    ]


def test_replicas_without_a_gpu_are_counted() -> None:
    assert problems({"a": node(count=2), "b": node("l4", 2)}, {"chat": vllm(replicas=3)}) == [
        "models.chat: 1 of 3 replicas find no free GPU (each takes 1, all on one node), so their pods would stay "
        "Pending: a has 2 of 2 GPUs free; b has room for 2. Add GPUs or slices, or take something away."
    ]


def test_a_shared_volume_is_named_only_where_it_would_help() -> None:
    def told(*counts: int) -> str:
        [problem] = problems({f"n{i}": node(count=count) for i, count in enumerate(counts)}, {"chat": vllm(replicas=5)})
        return problem

    way = "or name a storage class that several nodes can use, with storage.accessMode ReadWriteMany."
    assert told(3, 2).endswith(way)
    assert way not in told(4)
    assert way not in told(2, 2)


_names = st.sampled_from([f"n{i}" for i in range(6)])
_nodes = st.builds(
    NodeSettings,
    gpus=st.builds(
        GpuSettings,
        model=st.sampled_from(["l4", "rtx-4090"]),
        count=st.integers(1, 8),
        time_slices=st.sampled_from([1, 1, 2, 4]),
    ),
    platform=st.sampled_from(["native", "wsl2"]),
)
_vllm = st.builds(
    VllmSettings,
    engine=st.just("vllm"),
    model=st.just(AWQ),
    gpus=st.sampled_from([1, 1, 2, 4]),
    replicas=st.integers(1, 5),
)
_ollama = st.builds(OllamaSettings, engine=st.just("ollama"), pull=st.just(["qwen3:4b"]), gpus=st.integers(1, 3))
_clusters = st.dictionaries(_names, _nodes, min_size=1)
_servers: st.SearchStrategy[dict[str, ModelSettings]] = st.dictionaries(_names, _vllm | _ollama)


def placed(
    nodes: Mapping[str, NodeSettings],
    servers: Mapping[str, ModelSettings],
    access_mode: AccessMode = "ReadWriteMany",
) -> tuple[Placement, list[str]]:
    told: list[str] = []
    return place(nodes, servers, told, access_mode=access_mode), told


@given(_clusters, _servers)
def test_never_more_gpus_are_placed_than_there_are(
    nodes: dict[str, NodeSettings], servers: dict[str, ModelSettings]
) -> None:
    placement, _ = placed(nodes, servers)
    taken = Counter[str]()
    for name, where in placement.nodes.items():
        for chosen in where:
            taken[chosen] += servers[name].gpus
    for name, settings_ in nodes.items():
        there_are = settings_.gpus.count * settings_.gpus.time_slices
        assert placement.free[name] == there_are - taken[name] >= 0


@given(_clusters, _servers)
def test_every_replica_has_a_node_or_a_problem_names_its_server(
    nodes: dict[str, NodeSettings], servers: dict[str, ModelSettings]
) -> None:
    placement, told = placed(nodes, servers)
    short = [name for name, server in servers.items() if len(placement.nodes.get(name, ())) < replicas_of(server)]
    assert sorted(line.split(":")[0].split(".")[1] for line in told) == sorted(short)


@given(_clusters, _servers)
def test_replicas_that_share_a_volume_of_one_node_are_on_that_node(
    nodes: dict[str, NodeSettings], servers: dict[str, ModelSettings]
) -> None:
    for where in place(nodes, servers, [], access_mode="ReadWriteOnce").nodes.values():
        assert len(set(where)) <= 1


@given(_clusters, _servers)
def test_replicas_are_on_nodes_of_one_kind(nodes: dict[str, NodeSettings], servers: dict[str, ModelSettings]) -> None:
    """One plan has one size of GPU, one share of it and one platform."""
    for where in placed(nodes, servers)[0].nodes.values():
        assert len({(nodes[n].gpus.model, nodes[n].gpus.time_slices, nodes[n].platform) for n in where}) <= 1


@given(_clusters, _servers)
def test_shards_are_never_on_slices(nodes: dict[str, NodeSettings], servers: dict[str, ModelSettings]) -> None:
    for name, where in placed(nodes, servers)[0].nodes.items():
        assert servers[name].gpus == 1 or all(nodes[n].gpus.time_slices == 1 for n in where)


@given(_clusters, _servers)
def test_whether_all_have_a_place_does_not_depend_on_the_order_of_servers(
    nodes: dict[str, NodeSettings], servers: dict[str, ModelSettings]
) -> None:
    (_, one), (_, other) = placed(nodes, dict(reversed(servers.items()))), placed(nodes, servers)
    assert bool(one) == bool(other)


@given(_clusters, _servers, _vllm | _ollama)
def test_a_server_at_the_end_moves_no_other_where_there_is_room(
    nodes: dict[str, NodeSettings], servers: dict[str, ModelSettings], another: ModelSettings
) -> None:
    """Whether there is room is asked of a plan in which the others are held where they are."""
    before, told = placed(nodes, servers, access_mode="ReadWriteOnce")
    assume(not told)
    held = {
        name: server.model_copy(update={"node_selector": {"kubernetes.io/hostname": before.nodes[name][0]}})
        for name, server in servers.items()
    }
    assume(not placed(nodes, {**held, "another": another}, access_mode="ReadWriteOnce")[1])
    after, _ = placed(nodes, {**servers, "another": another}, access_mode="ReadWriteOnce")
    kinds = {node: kind_of(settings) for node, settings in nodes.items()}
    for name, where in before.nodes.items():
        assert [kinds[node] for node in after.nodes[name]] == [kinds[node] for node in where]


@settings(max_examples=25)
@given(st.sets(st.sampled_from(["a", "b", "c", "d"]), min_size=1))
def test_taking_servers_away_changes_nothing_of_the_others_but_where_they_run(kept: set[str]) -> None:
    nodes = {"n": node(count=2, slices=2)}
    models: Raw = {"a": vllm(), "b": ollama(), "c": vllm(profile="latency"), "d": ollama(contextLength=4096)}
    before = planned(nodes, models).servers
    after = planned(nodes, {name: models[name] for name in models if name in kept}).servers
    assert set(after) == kept
    for name, server in after.items():
        differing = {f for f in vars(server) if getattr(server, f) != getattr(before[name], f)}
        assert differing <= {"nodes", "rollout"}


SHARED: Raw = {"className": "nfs", "accessMode": "ReadWriteMany"}


def in_place(spare: int) -> Rollout:
    return Rollout(strategy="Recreate", has_outage=True, spare_gpus=spare)


def surging(spare: int) -> Rollout:
    return Rollout(strategy="RollingUpdate", max_surge=1, has_outage=False, spare_gpus=spare)


def one_by_one(spare: int, *, has_outage: bool) -> Rollout:
    return Rollout(strategy="RollingUpdate", max_unavailable=1, has_outage=has_outage, spare_gpus=spare)


@pytest.mark.parametrize(
    ("pods", "gpus", "free", "expected"),
    [
        ((1, 1), 1, {"a": 0}, in_place(0)),
        ((1, 1), 1, {"a": 1}, surging(1)),
        ((1, 1), 2, {"a": 1}, in_place(1)),
        ((1, 1), 2, {"a": 2}, surging(2)),
        ((1, 1), 2, {"a": 1, "b": 1}, in_place(1)),
        ((2, 2), 1, {"a": 0}, one_by_one(0, has_outage=False)),
        ((2, 2), 1, {"a": 1, "b": 0}, surging(1)),
        # Recreate would end all pods that an autoscaler has added.
        ((1, 4), 1, {"a": 0}, one_by_one(0, has_outage=True)),
        ((2, 4), 1, {"a": 0}, one_by_one(0, has_outage=False)),
        ((1, 4), 1, {"a": 1}, surging(1)),
    ],
)
def test_a_new_pod_comes_first_only_where_a_gpu_is_spare(
    pods: tuple[int, int], gpus: int, free: dict[str, int], expected: Rollout
) -> None:
    fewest, most = pods
    assert rollout(replicas=fewest, most=most, gpus=gpus, free=free) == expected


@pytest.mark.parametrize(
    ("storage", "nodes", "strategy"),
    [
        pytest.param({}, {"a": node(), "b": node()}, "Recreate", id="its volume keeps it"),
        pytest.param(SHARED, {"a": node(), "b": node()}, "RollingUpdate", id="on another node"),
        pytest.param(SHARED, {"a": node(), "b": node("l40s")}, "Recreate", id="not on another GPU"),
        pytest.param(SHARED, {"a": node(), "b": node(slices=2)}, "RollingUpdate", id="on the other slice"),
        pytest.param(SHARED, {"a": node(), "b": node(taints=["x:NoExecute"])}, "Recreate", id="not past a taint"),
    ],
)
def test_a_shared_volume_lets_a_new_pod_come_first_on_another_node(storage: Raw, nodes: Raw, strategy: str) -> None:
    found = planned(nodes, {"chat": vllm()}, **({"storage": storage} if storage else {})).servers["chat"]
    assert found.rollout.strategy == strategy
    assert found.rollout.has_outage == (strategy == "Recreate")


def test_replicas_on_full_nodes_find_the_spare_gpu_elsewhere() -> None:
    nodes: Raw = {"a": node(count=2), "b": node(count=2)}
    found = planned(nodes, {"chat": vllm(replicas=3)}, storage=SHARED)
    assert found.servers["chat"].rollout == surging(1)
    assert not any("no GPU is spare" in told for told in found.warnings)
