"""One spare GPU and several servers that are replaced at once: each waits for the others, and is given the time."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from conftest import Deploy
from on_mocks import Raw, seconds
from small_stacks import node, ollama, planned, vllm

from planning.rollout import Surge, rivals, spare_wait_seconds
from planning.servers import replacement_seconds

SHARED: Raw = {"className": "nfs", "accessMode": "ReadWriteMany"}


def surge(free: Mapping[str, int], gpus: int = 1, seconds: int = 100) -> Surge:
    return Surge(gpus=gpus, seconds=seconds, free=free)


@pytest.mark.parametrize(
    ("surges", "waits"),
    [
        pytest.param({"x": surge({"a": 1})}, {}, id="alone"),
        pytest.param({"x": surge({"a": 2}), "y": surge({"a": 2})}, {}, id="one for each"),
        pytest.param({"x": surge({"a": 1}), "y": surge({"b": 1})}, {}, id="of another node"),
        pytest.param({"x": surge({"a": 3}), "y": surge({"a": 3}, gpus=2)}, {}, id="of two sizes"),
        pytest.param(
            {"x": surge({"a": 1}), "y": surge({"a": 1}, seconds=700)}, {"x": 700, "y": 100}, id="one after the other"
        ),
        pytest.param(
            {name: surge({"a": 2}) for name in "xyz"}, {"x": 100, "y": 100, "z": 100}, id="two at once, then the third"
        ),
        pytest.param(
            {"x": surge({"a": 3}), "y": surge({"a": 3}), "z": surge({"a": 3}, gpus=2)},
            {"x": 200, "y": 200, "z": 200},
            id="the largest may need all",
        ),
        pytest.param({"x": surge({"a": 1, "b": 1}), "y": surge({"b": 1})}, {"x": 100, "y": 100}, id="nodes in common"),
    ],
)
def test_who_waits_for_a_spare_gpu_and_how_long(surges: dict[str, Surge], waits: dict[str, int]) -> None:
    found = rivals(surges)
    assert {name: spare_wait_seconds(name, names, surges) for name, names in found.items()} == waits


def waits(nodes: Raw, models: Raw, **more: object) -> dict[str, int]:
    return {name: server.rollout.spare_wait_seconds for name, server in planned(nodes, models, **more).servers.items()}


def test_a_server_waits_for_all_pods_of_the_others() -> None:
    models: Raw = {"one": vllm(), "two": vllm(replicas=2), "three": ollama()}
    found = planned({"a": node(count=5)}, models)
    own = {name: replacement_seconds(server) for name, server in found.servers.items()}
    assert waits({"a": node(count=5)}, models) == {
        "one": 2 * own["two"] + own["three"],
        "two": own["one"] + own["three"],
        "three": own["one"] + 2 * own["two"],
    }
    minutes = -(-max(server.rollout.spare_wait_seconds for server in found.servers.values()) // 60)
    assert found.warnings == (
        f"nodes.a.gpus: 1 spare GPU for the new pods of one, three, two: where one update changes them all, the last "
        f"waits up to {minutes} minutes. Deadlines allow for it and the old pods answer meanwhile; if it is too long, "
        "add GPUs or slices.",
    )


@pytest.mark.parametrize(
    ("nodes", "server", "more"),
    [
        pytest.param({"a": node(count=2)}, {}, {}, id="none is spare: nobody surges"),
        pytest.param({"a": node(count=4)}, {}, {}, id="one for each"),
        pytest.param({"a": node(slices=4)}, {}, {}, id="a slice for each"),
    ],
)
def test_where_nobody_waits_nothing_is_told(nodes: Raw, server: Raw, more: Raw) -> None:
    models: Raw = {"x": ollama(**server), "y": ollama(**server)}
    assert waits(nodes, models, **more) == {"x": 0, "y": 0}
    assert not any("spare" in told for told in planned(nodes, models, **more).warnings)


def test_a_written_share_is_taken_to_leave_room_for_no_other() -> None:
    """Four slices: two are free, but what is left of the memory holds one pod more."""
    found = waits({"a": node(slices=4)}, {"x": ollama(gpuShare=0.3), "y": ollama(gpuShare=0.3)})
    assert all(found.values())


def test_on_a_shared_volume_the_spare_gpu_of_another_node_is_waited_for() -> None:
    nodes: Raw = {"a": node(), "b": node(), "c": node()}
    assert all(waits(nodes, {"x": vllm(), "y": vllm()}, storage=SHARED).values())
    assert not any(waits(nodes, {"x": vllm(), "y": vllm()}).values())


def test_deadlines_allow_for_the_wait(deployed: Deploy) -> None:
    nodes: Raw = {"a": node(count=3)}
    models: Raw = {"one": vllm(), "two": ollama()}
    found = deployed({"nodes": nodes, "models": models})
    for name, server in planned(nodes, models).servers.items():
        deployment = found.one("Deployment", name)
        needed = replacement_seconds(server) + server.rollout.spare_wait_seconds
        assert server.rollout.spare_wait_seconds > 0
        assert deployment.inputs["spec"]["progressDeadlineSeconds"] == needed
        assert seconds(deployment.update_timeout) == seconds(deployment.create_timeout) == needed + 60
