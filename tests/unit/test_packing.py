"""Packing: what is said to have no place has none, and what has one is found, also where best fit gets stuck."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from planning.packing import Demand, Packing, Space, pack


def space(slots: int, slices: int = 1, kind: str = "k") -> Space:
    return Space(slots=slots, slices=slices, kind=(kind, slices), twin=(kind, slices, slots))


def demand(
    name: str, replicas: int, gpus: int, nodes: str, *, share: float | None = None, apart: bool = False
) -> Demand:
    return Demand(name=name, replicas=replicas, gpus=gpus, share=share, nodes=tuple(nodes), together=not apart)


_spaces = st.dictionaries(
    st.sampled_from("abcd"),
    st.builds(space, st.integers(1, 4), st.sampled_from([1, 1, 2]), st.sampled_from(["k", "l"])),
    min_size=1,
)


@st.composite
def _problems(draw: st.DrawFn) -> tuple[dict[str, Space], list[Demand]]:
    """A few nodes and a few servers that may run on some of them."""
    spaces = draw(_spaces)
    demands = []
    for name in "xyz"[: draw(st.integers(1, 3))]:
        gpus = draw(st.integers(1, 3))
        allowed = [node for node in sorted(spaces) if gpus == 1 or spaces[node].slices == 1]
        nodes = draw(st.lists(st.sampled_from(allowed), min_size=1, unique=True)) if allowed else []
        share = draw(st.sampled_from([None, None, 0.3, 0.7]))
        replicas, apart = draw(st.integers(1, 3)), draw(st.booleans())
        if nodes:
            demands.append(demand(name, replicas, gpus, "".join(nodes), share=share, apart=apart))
    # Nodes are alike only where they are to every server.
    welcome = {node: tuple(node in wanted.nodes for wanted in demands) for node in spaces}
    return {node: replace(found, twin=(found.twin, welcome[node])) for node, found in spaces.items()}, demands


def holds(spaces: Mapping[str, Space], pods: Sequence[tuple[Demand, str]]) -> bool:
    """Whether the nodes hold these pods, whatever the device plugin does."""
    for node, found in spaces.items():
        here = [wanted for wanted, where in pods if where == node]
        if sum(wanted.gpus for wanted in here) > found.slots:
            return False
        shares = sorted((wanted.share or 1 / found.slices for wanted in here), reverse=True)
        if found.slices > 1 and sum(shares[: found.slices]) > 1 + 1e-6:
            return False
    return True


def every_way(spaces: Mapping[str, Space], wanted: Demand) -> list[list[tuple[Demand, str]]]:
    """Each multiset of nodes that the replicas of `wanted` may be on."""
    ways = itertools.combinations_with_replacement(wanted.nodes, wanted.replicas)
    return [
        [(wanted, node) for node in way]
        for way in ways
        if len({node if wanted.together else spaces[node].kind for node in way}) == 1
    ]


def possible(spaces: Mapping[str, Space], demands: Sequence[Demand]) -> bool:
    """By trying everything: whether all have a place."""
    ways = (every_way(spaces, wanted) for wanted in demands)
    return any(holds(spaces, [pod for way in chosen for pod in way]) for chosen in itertools.product(*ways))


def all_placed(found: Packing, demands: Sequence[Demand]) -> bool:
    return all(len(found.nodes[wanted.name]) == wanted.replicas for wanted in demands)


@settings(max_examples=300)
@given(_problems())
def test_all_have_a_place_exactly_when_there_is_a_way(problem: tuple[dict[str, Space], list[Demand]]) -> None:
    spaces, demands = problem
    found = pack(spaces, demands)
    assert found.exhausted
    assert all_placed(found, demands) == possible(spaces, demands)


@settings(max_examples=300)
@given(_problems())
def test_no_node_gets_more_than_it_has(problem: tuple[dict[str, Space], list[Demand]]) -> None:
    spaces, demands = problem
    found = pack(spaces, demands)
    by_name = {wanted.name: wanted for wanted in demands}
    assert holds(spaces, [(by_name[name], node) for name, nodes in found.nodes.items() for node in nodes])
    taken = Counter[str]()
    for name, nodes in found.nodes.items():
        assert len(nodes) <= by_name[name].replicas
        assert set(nodes) <= set(by_name[name].nodes)
        for node in nodes:
            taken[node] += by_name[name].gpus
    assert {node: found_.slots - taken[node] for node, found_ in spaces.items()} == found.room.free


def test_where_best_fit_gets_stuck_another_way_is_found() -> None:
    """Best fit puts w on the node of 3, after which only one of x and y has a place."""
    spaces = {"a": space(3), "b": space(4)}
    stuck = [demand("w", 1, 1, "ab"), demand("x", 3, 1, "ab"), demand("y", 3, 1, "ab")]
    assert pack(spaces, stuck).nodes == {"w": ("b",), "x": ("a",) * 3, "y": ("b",) * 3}


def test_what_no_cluster_holds_takes_no_place_from_others() -> None:
    spaces = {"a": space(2)}
    found = pack(spaces, [demand("huge", 9, 1, "a"), demand("x", 2, 1, "a")])
    assert found.nodes == {"huge": (), "x": ("a", "a")}


def test_shares_that_leave_each_other_room_share_a_gpu() -> None:
    spaces = {"a": space(2, slices=2)}
    assert all_placed(
        pack(spaces, both := [demand("x", 1, 1, "a", share=0.7), demand("y", 1, 1, "a", share=0.3)]), both
    )
    assert not all_placed(pack(spaces, both := [demand("x", 1, 1, "a", share=0.7), demand("y", 1, 1, "a")]), both)


def test_a_search_that_was_cut_short_does_not_claim_to_have_seen_all() -> None:
    """Nodes of 10 hold 4+4, 4+3+3 or 3+3+3: no mix of these is 60 of 4 and 50 of 3, and no count tells."""
    spaces = {f"n{i}": Space(slots=10, slices=1, kind="k", twin=i) for i in range(40)}
    demands = [
        Demand(name=f"m{i}", replicas=1, gpus=size, share=None, nodes=tuple(spaces), together=True)
        for i, size in enumerate([4] * 60 + [3] * 50)
    ]
    found = pack(spaces, demands)
    assert not all_placed(found, demands)
    assert not found.exhausted


def test_more_pieces_than_nodes_can_be_cut_into_are_counted_rather_than_searched() -> None:
    spaces = {f"n{i}": Space(slots=5, slices=1, kind="k", twin=i) for i in range(40)}
    demands = [
        Demand(name=f"m{i}", replicas=1, gpus=size, share=None, nodes=tuple(spaces), together=True)
        for i, size in enumerate([3] * 41 + [2] * 38)
    ]
    found = pack(spaces, demands)
    assert not all_placed(found, demands)
    assert found.exhausted


def test_a_thousand_servers_are_no_deeper_than_ten() -> None:
    spaces = {f"n{i}": space(10) for i in range(100)}
    demands = [
        Demand(name=f"m{i}", replicas=1, gpus=1, share=None, nodes=tuple(spaces), together=True) for i in range(1000)
    ]
    found = pack(spaces, demands)
    assert all_placed(found, demands)
    assert set(found.room.free.values()) == {0}
