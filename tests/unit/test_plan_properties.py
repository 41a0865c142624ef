"""What holds for the plan of any stack: nothing depends on order, no neighbour on another, no GPU is taken twice."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from on_mocks import Raw, settings_of
from small_stacks import AWQ, LLAMA_8B, LLAMA_70B, node, ollama, vllm

from planning.catalogue import gpu_models, hub_models
from planning.plan import Plan, ServerPlan, plan
from planning.problems import PlanError
from planning.rollout import Rollout
from settings.node import NodeSettings
from settings.ollama import OllamaSettings
from settings.stack import Settings
from settings.vllm import VllmSettings
from toolchain.paths import REPOSITORY

IDENTITY = ("name", "image", "served_names", "models_key", "cache_bytes", "storage_bytes", "modelfiles", "replicas")
"""What names, sizes or hashes a server's objects; a change of it replaces or restarts something."""

_ANY = Rollout(strategy="Recreate", has_outage=True, spare_gpus=0)
"""In place of a server's own, which depends on what its neighbours leave."""

_GPUS = ["rtx-4090", "l40s", "a100-80gb"]
_TAINT = "dedicated=llm:NoSchedule"

_nodes = st.dictionaries(
    st.sampled_from(["n0", "n1", "n2", "n3"]),
    st.builds(
        node,
        st.sampled_from(_GPUS),
        st.integers(1, 8),
        st.sampled_from([1, 1, 1, 2]),
        labels=st.sampled_from([{}, {"disk": "nvme"}]),
        taints=st.sampled_from([[], [], [_TAINT]]),
    ),
    min_size=1,
)
_where = st.fixed_dictionaries(
    {},
    optional={
        "gpuModel": st.sampled_from([*_GPUS, "rtx-409"]),
        "nodeSelector": st.just({"disk": "nvme"}),
        "tolerations": st.just([_TAINT]),
        "memory": st.sampled_from(["2G", "64Gi"]),
    },
)
_vllm = st.builds(
    lambda where, size, **more: vllm(**where, **size, **more),
    _where,
    st.fixed_dictionaries({}, optional={"gpuShare": st.sampled_from([0.3, 0.6])})
    | st.fixed_dictionaries({"gpus": st.sampled_from([2, 4, 16])}),
    model=st.sampled_from([AWQ, AWQ, LLAMA_8B, LLAMA_70B, "owner/unknown"]),
    replicas=st.integers(1, 3),
    profile=st.sampled_from(["balanced", "latency"]),
)
_ollama = st.builds(lambda where, **more: ollama(**where, **more), _where, gpus=st.integers(1, 2))
_models = st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e"]), _vllm | _ollama, min_size=1)


_roomy = st.fixed_dictionaries(
    {
        "large": st.builds(node, st.just("a100-80gb"), st.integers(8, 16), labels=st.just({"disk": "nvme"})),
        "other": st.builds(node, st.sampled_from(_GPUS), st.integers(1, 8), st.sampled_from([1, 2])),
    }
)
_modest = st.builds(
    vllm,
    st.sampled_from([AWQ, LLAMA_8B]),
    gpus=st.sampled_from([1, 1, 2, 4]),
    replicas=st.integers(1, 2),
    profile=st.sampled_from(["balanced", "latency"]),
    nodeSelector=st.sampled_from([{}, {"disk": "nvme"}]),
) | st.builds(ollama)
_few = st.dictionaries(st.sampled_from(["a", "b", "c"]), _modest, min_size=1)


def planned(nodes: Raw, models: Raw, **more: Any) -> tuple[Plan | None, tuple[str, ...]]:
    """The plan, or the problems for which there is none."""
    try:
        return plan(settings_of({"nodes": nodes, "models": models, **more})), ()
    except PlanError as error:
        return None, error.problems


def identity(server: ServerPlan) -> Raw:
    return {name: getattr(server, name) for name in IDENTITY if hasattr(server, name)}


def where(server: ServerPlan) -> tuple[object, ...]:
    """What a pod is bound to, and the node it is planned on."""
    return server.nodes, server.gpu_model, server.time_slices


@given(_nodes, _models, st.randoms(use_true_random=False))
def test_the_order_of_models_decides_only_who_has_the_first_choice_of_nodes(
    nodes: Raw, models: Raw, random: Any
) -> None:
    """Of nodes that are equal, too, the first in the file is taken."""
    shuffled = dict(random.sample(sorted(models.items()), len(models)))
    (one, told), (other, told_of_other) = planned(nodes, models), planned(nodes, shuffled)
    assert bool(told) == bool(told_of_other)
    if one is not None and other is not None:
        same = [name for name in models if one.servers[name].nodes == other.servers[name].nodes]
        for name in same:
            plans = (replace(found.servers[name], rollout=_ANY) for found in (one, other))
            assert next(plans) == next(plans)
        if len(same) == len(models):
            assert one.servers == other.servers
            assert Counter(one.warnings) == Counter(other.warnings)


@given(_nodes, _models)
def test_the_same_file_is_the_same_plan(nodes: Raw, models: Raw) -> None:
    assert planned(nodes, models) == planned(nodes, models)


@given(_roomy, _few, _modest)
def test_one_model_more_at_the_end_changes_nothing_of_what_the_others_are(
    nodes: Raw, models: Raw, another: Raw
) -> None:
    """Not even where they run, if there is room for it where they are held; volumes would stay behind."""
    before, _ = planned(nodes, models)
    after, _ = planned(nodes, {**models, "another": another})
    assume(before is not None and after is not None)
    assert before is not None
    assert after is not None
    held = {
        name: {**model, "nodeSelector": {"kubernetes.io/hostname": before.servers[name].nodes[0]}}
        for name, model in models.items()
    }
    has_room = planned(nodes, {**held, "another": another})[0] is not None
    for name in models:
        assert identity(after.servers[name]) == identity(before.servers[name])
        if has_room:
            assert where(after.servers[name]) == where(before.servers[name])


@given(_roomy, _few)
def test_no_plan_takes_more_of_a_node_than_it_has(nodes: Raw, models: Raw) -> None:
    found, _ = planned(nodes, models)
    assume(found is not None)
    assert found is not None
    taken = Counter[str]()
    for name, server in found.servers.items():
        assert len(server.nodes) == models[name].get("replicas", 1) == server.replicas
        for where in server.nodes:
            taken[where] += server.gpus
            assert server.gpus == 1 or found.nodes[where].time_slices == 1
        extra = server.rollout.max_surge * server.gpus
        assert all(
            found.nodes[n].allocatable_gpus - sum(s.gpus * s.nodes.count(n) for s in found.servers.values()) >= extra
            for n in server.nodes
        )
    for name, count in taken.items():
        assert count <= found.nodes[name].allocatable_gpus


@given(_roomy, _few)
def test_an_outage_is_told_in_seconds_exactly_where_there_is_one(nodes: Raw, models: Raw) -> None:
    found, _ = planned(nodes, models)
    assume(found is not None)
    assert found is not None
    for server in found.servers.values():
        assert (server.rollout.outage_seconds > 0) == server.rollout.has_outage
        assert server.rollout.outage_seconds <= server.shutdown.grace_period_seconds + server.startup.expected_seconds


@given(_nodes, _models)
def test_every_problem_and_warning_begins_with_a_setting_of_the_file(nodes: Raw, models: Raw) -> None:
    found, told = planned(nodes, models)
    of = {"models": models, "nodes": nodes}
    fields = {
        "vllm": {f.alias for f in VllmSettings.model_fields.values()},
        "ollama": {f.alias for f in OllamaSettings.model_fields.values()},
        "nodes": {f.alias for f in NodeSettings.model_fields.values()},
    }
    top = {f.alias for f in Settings.model_fields.values()}
    for line in [*told, *(found.warnings if found else ())]:
        path, separator, rest = line.partition(": ")
        section, *keys = path.split(".")
        assert separator
        assert rest
        assert section in top
        if section in of:
            assert keys[0] in of[section], line
            kind = of[section][keys[0]].get("engine", "nodes")
            assert set(keys[1:2]) <= fields[kind], line


_CARDS = sorted(gpu_models(), key=lambda name: gpu_models()[name].memory_mib)
_PAIRS = [
    (small, large)
    for small in _CARDS
    for large in _CARDS
    if gpu_models()[small].memory_mib < gpu_models()[large].memory_mib
    and gpu_models()[small].compute_capability == gpu_models()[large].compute_capability
]


@settings(max_examples=50)
@given(
    st.sampled_from(_PAIRS),
    st.sampled_from(sorted(hub_models())),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([2048, 8192, 32768]),
)
def test_what_fits_a_card_fits_a_larger_one_of_its_kind(
    cards: tuple[str, str], model: str, gpus: int, context: int
) -> None:
    server = vllm(model, gpus=gpus, maxModelLen=context)
    small, large = (planned({"a": node(card, gpus)}, {"m": server}) for card in cards)
    assume(small[0] is not None)
    assert large[1] == ()


@settings(max_examples=50)
@given(st.sampled_from(sorted(hub_models())), st.floats(0.05, 0.95), st.floats(0.05, 0.95))
def test_what_fits_a_part_of_a_card_fits_a_larger_part(model: str, one: float, other: float) -> None:
    less, more = sorted((one, other))
    card = {"a": node("h200")}
    small, large = (planned(card, {"m": vllm(model, gpuShare=share, profile="latency")}) for share in (less, more))
    assume(small[0] is not None)
    assert large[1] == ()


@pytest.mark.parametrize("module", ["planning.plan", "settings.stack", "settings.stack_file", "planning.alternatives"])
def test_a_plan_needs_no_pulumi_no_cluster_and_no_network(module: str) -> None:
    """Nor what is only slow: whoever asks for a plan gets it in a second, most of which would be imports."""
    heavy = ["pulumi", "pulumi_kubernetes", "kubernetes", "grpc", "asyncssh", "requests", "http.client", "aiohttp"]
    heavy += ["rich", "typer", "jinja2", "numpy"]
    program = (
        "import socket, sys\n"
        "def refused(*_, **__): raise AssertionError('a socket was opened')\n"
        "socket.socket = socket.create_connection = refused\n"
        f"import {module}\n"
        f"print(*[name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""
