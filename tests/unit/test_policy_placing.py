"""Whether pods fit on nodes together: held to every way of placing them, and to hostile numbers."""

from __future__ import annotations

from collections import Counter
from itertools import product

from cpu_time import cpu_seconds
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_policies.metrics_adapter import AdapterRule
from llm_policies.placing import Demand, Demands, fit
from llm_policies.pools import Pool
from llm_policies.values import Value

_SITES = st.lists(st.tuples(st.integers(1, 2), st.integers(1, 4)), min_size=1, max_size=2).map(
    lambda sizes: {f"p{i}": Pool(nodes=nodes, gpus=gpus) for i, (nodes, gpus) in enumerate(sizes)}
)
_PODS = st.lists(st.tuples(st.integers(1, 4), st.sampled_from(["0", "1", "01"])), max_size=5)


def _can(pods: list[Demand], pools: dict[str, Pool]) -> bool:
    """By trying everything."""
    nodes = [(name, pool.advertised) for name, pool in pools.items() for _ in range(pool.nodes)]
    for places in product(range(len(nodes)), repeat=len(pods)):
        used: Counter[int] = Counter()
        for pod, place in zip(pods, places, strict=True):
            used[place] += pod.gpus
        if all(nodes[p][0] in pod.pools for pod, p in zip(pods, places, strict=True)) and all(
            used[place] <= nodes[place][1] for place in used
        ):
            return True
    return False


@given(pools=_SITES, pods=_PODS)
@settings(deadline=None)
def test_pods_fit_where_there_is_a_way_to_place_them(pools: dict[str, Pool], pods: list[tuple[int, str]]) -> None:
    wanted = [Demand(gpus, frozenset(f"p{i}" for i in where if f"p{i}" in pools)) for gpus, where in pods]
    assert fit(Counter(wanted), pools) is _can(wanted, pools)


def test_numbers_without_end_take_no_time() -> None:
    pools = {"a": Pool(nodes=10**12, gpus=7), "b": Pool(nodes=1, gpus=10**9)}
    both = frozenset(pools)
    wanted: Demands = Counter({Demand(3, both): 10**12, Demand(2, both): 10**11, Demand(10**8 + 1, both): 9})
    with cpu_seconds(10):
        assert fit(wanted, pools)
        assert not fit(wanted + Counter({Demand(3, both): 10**13}), pools)
        many: Demands = Counter({Demand(gpus, frozenset({"c"})): 7 for gpus in (3, 5, 7)})
        fit(many, {"c": Pool(nodes=15, gpus=8)})


def test_a_pattern_of_an_adapters_rule_cannot_stall() -> None:
    patterns = ("(a+)+$", "(a|a)*$", ".*.*.*.*x", "a" * 300, "(" * 150, "[", "(?P<n>a){1,9}{1,9}")
    with cpu_seconds(10):
        for pattern in patterns:
            rule = {"seriesQuery": f'{{__name__=~"{pattern}"}}', "name": {"matches": pattern, "as": "$1"}}
            AdapterRule(Value(rule, "rules[0]"), is_external=False).serves("a" * 253)
