"""Which nodes a server may run on: by GPU, labels, taints and memory; and what is told where there is none."""

from __future__ import annotations

import pytest
from conftest import Deploy
from on_mocks import Raw, settings_of
from small_stacks import AWQ, LLAMA_8B, LLAMA_70B, node, ollama, planned, problems, vllm

from settings.problems import SettingsError

TAINT = "dedicated=llm:NoSchedule"


def where(nodes: Raw, models: Raw, **more: object) -> dict[str, set[str]]:
    return {name: set(server.nodes) for name, server in planned(nodes, models, **more).servers.items()}


@pytest.mark.parametrize(
    ("nodes", "server", "chosen"),
    [
        pytest.param({"a": node(), "b": node("l40s")}, {"gpuModel": "l40s"}, "b", id="by GPU"),
        pytest.param(
            {"a": node(), "b": node(labels={"disk": "nvme"})}, {"nodeSelector": {"disk": "nvme"}}, "b", id="label"
        ),
        pytest.param({"a": node(), "b": node()}, {"nodeSelector": {"kubernetes.io/hostname": "b"}}, "b", id="by name"),
        pytest.param({"a": node(taints=[TAINT]), "b": node(count=2)}, {}, "b", id="not where a taint keeps it away"),
        pytest.param({"a": node(taints=[TAINT]), "b": node(count=2)}, {"tolerations": [TAINT]}, "a", id="tolerated"),
        pytest.param(
            {"a": node(taints=["dedicated=llm:NoExecute"]), "b": node(count=2)},
            {"tolerations": [TAINT]},
            "b",
            id="effect",
        ),
        pytest.param(
            {"a": node(taints=["nvidia.com/gpu=x:NoSchedule"]), "b": node(count=2)},
            {},
            "a",
            id="GPU taint of any value",
        ),
    ],
)
def test_a_server_goes_where_it_may(nodes: Raw, server: Raw, chosen: str) -> None:
    assert where(nodes, {"chat": vllm(**server)}) == {"chat": {chosen}}


def test_a_model_goes_to_a_card_that_it_fits_though_another_is_fuller() -> None:
    nodes: Raw = {"small": node("rtx-4060-ti-16gb"), "large": node("a100-80gb", 4)}
    assert where(nodes, {"fast": vllm(LLAMA_8B)}) == {"fast": {"large"}}
    assert where(nodes, {"fast": vllm(AWQ)}) == {"fast": {"small"}}


def test_a_model_goes_to_the_smallest_card_that_it_fits_and_to_a_larger_one_when_that_is_taken() -> None:
    nodes: Raw = {"large": node("a100-80gb"), "small": node("rtx-4090")}
    assert where(nodes, {"a": vllm()}) == {"a": {"small"}}
    assert where(nodes, {"b": vllm(), "a": vllm()}) == {"b": {"small"}, "a": {"large"}}


def test_a_neighbours_name_moves_nobody() -> None:
    """Its pod must run on the kind of GPU that it was planned with, and its volume would stay behind."""
    nodes: Raw = {"small": node("rtx-4090"), "large": node("a100-80gb")}
    assert where(nodes, {"chat": vllm(), "aaa": vllm()}) == {"chat": {"small"}, "aaa": {"large"}}
    wide: Raw = {"small": node("rtx-4090", 2), "large": node("a100-80gb")}
    assert where(wide, {"chat": vllm(), "help": vllm(), "aaa": vllm()})["chat"] == {"small"}


@pytest.mark.parametrize("server", [vllm(trustRemoteCode=True), {"engine": "tgi", "model": AWQ}], ids=["vllm", "tgi"])
def test_what_is_told_of_a_server_on_every_card_keeps_it_from_none(server: Raw) -> None:
    """Warnings about something else: the smallest card stays the best."""
    nodes: Raw = {"small": node("rtx-4090", 2), "large": node("a100-80gb")}
    assert planned(nodes, {"chat": server}).warnings
    assert where(nodes, {"chat": server}) == {"chat": {"small"}}


_MOVABLE = (
    "models.chat.gpuModel: does not say that it stays on rtx-4090 of small, and it suits a100-80gb too. Where volumes "
    "stay on a node, as k3s' local-path does, a change of this file that moves it there would leave its pod Pending. "
    "Write gpuModel: rtx-4090."
)


@pytest.mark.parametrize(
    ("server", "more", "told"),
    [
        pytest.param({}, {}, [_MOVABLE], id="volume of one node"),
        pytest.param({"gpuModel": "rtx-4090"}, {}, [], id="pinned"),
        pytest.param({"nodeSelector": {"kubernetes.io/hostname": "small"}}, {}, [], id="pinned to its node"),
        pytest.param({}, {"storage": {"className": "nfs", "accessMode": "ReadWriteMany"}}, [], id="volume of all"),
        pytest.param({"model": LLAMA_8B, "maxModelLen": 65536}, {}, [], id="suits only one"),
    ],
)
def test_a_server_that_a_change_may_take_from_its_volume_is_told(server: Raw, more: Raw, told: list[str]) -> None:
    nodes: Raw = {"small": node("rtx-4090"), "large": node("a100-80gb")}
    found = planned(nodes, {"chat": vllm(**server)}, huggingFaceToken={"secure": "v1:x"}, **more)
    assert list(found.warnings) == told


def test_where_the_same_gpu_is_shared_otherwise_the_node_is_what_to_write() -> None:
    found = planned({"whole": node(), "sliced": node(slices=2)}, {"chat": vllm()})
    assert found.servers["chat"].nodes == ("sliced",)
    [told] = found.warnings
    assert told.startswith("models.chat.nodeSelector: does not say that it stays on rtx-4090 of sliced, and it suits w")
    assert told.endswith("Write nodeSelector: {kubernetes.io/hostname: sliced}.")


def test_models_that_fit_only_the_large_card_are_not_kept_out_by_those_that_fit_both() -> None:
    nodes: Raw = {"small": node("rtx-4090"), "large": node("a100-80gb")}
    models: Raw = {"a": vllm(AWQ), "b": vllm(LLAMA_8B, maxModelLen=65536)}
    assert where(nodes, models) == {"a": {"small"}, "b": {"large"}}
    assert where(nodes, dict(reversed(models.items()))) == {"a": {"small"}, "b": {"large"}}


def test_what_fits_nowhere_is_told_of_its_memory_and_not_of_its_place() -> None:
    told = problems({"a": node(), "b": node("l4")}, {"wide": vllm(LLAMA_70B)})
    assert all(line.startswith("models.wide") for line in told)
    assert any("weights" in line for line in told)
    assert not any("Pending" in line for line in told)


def test_what_has_no_place_is_told_its_other_mistakes_too() -> None:
    told = problems({"a": node()}, {"x": vllm(), "y": vllm(LLAMA_70B)})
    assert [line.split(":")[0] for line in told if "Pending" in line] == ["models.y"]
    assert any(line.startswith("models.y") and "weights" in line for line in told)


@pytest.mark.parametrize(
    ("server", "told"),
    [
        (
            {"gpuModel": "h100-80gb"},
            "models.chat.gpuModel: no node has 'h100-80gb' but rtx-4090, so its pods would stay Pending. Name one of "
            "these, or leave it out.",
        ),
        (
            {"gpuModel": "rtx4090"},
            "models.chat.gpuModel: no node has 'rtx4090' but rtx-4090, so its pods would stay Pending; did you mean "
            "'rtx-4090'?",
        ),
        (
            {"nodeSelector": {"disk": "nvme", "zone": "a"}},
            "models.chat.nodeSelector: no node has all of these labels (a lacks disk=nvme), so its pods would stay "
            "Pending. Write the labels that a node has at nodes.<name>.labels, or choose by gpuModel.",
        ),
        (
            {"nodeSelector": {"zone": "a"}},
            "models.chat.tolerations: every node has a taint that keeps it away, so its pods would stay Pending. Write "
            "tolerations: ['dedicated=llm:NoSchedule'].",
        ),
    ],
)
def test_what_could_run_on_no_node_is_told_with_what_to_write(server: Raw, told: str) -> None:
    nodes: Raw = {"a": node(labels={"zone": "a"}, taints=[TAINT])}
    assert problems(nodes, {"chat": vllm(**server)}) == [told]


def test_where_each_node_lacks_something_else_all_are_named() -> None:
    nodes: Raw = {"a": node(taints=[TAINT]), "b": node("l4")}
    assert problems(nodes, {"chat": vllm(gpuModel="rtx-4090")}) == [
        "models.chat: no node has all that it asks for, so its pods would stay Pending: a has the taint "
        "dedicated=llm:NoSchedule; b has l4. Ask for less, or add such a node."
    ]


def test_the_nearest_misfit_is_told_first() -> None:
    nodes: Raw = {"gpu-a": node(count=3), "gpu-b": node(slices=4), "gpu-c": node(count=1)}
    models: Raw = {"one": vllm(gpus=2), "two": vllm(gpus=2)}
    [told] = problems(nodes, models)
    assert told == (
        "models.two: 1 of 1 replicas find no free GPU (each takes 2, all on one node), so their pods would stay "
        "Pending: gpu-a has 1 of 3 GPUs free; gpu-b is time-sliced; gpu-c has 1 GPU in all. Add GPUs or slices, or "
        "take something away."
    )


# --- slices ---


def test_two_servers_share_a_card_unequally() -> None:
    found = planned({"a": node(slices=2)}, {"chat": vllm(gpuShare=0.7), "help": ollama(gpuShare=0.3)})
    assert {server.nodes for server in found.servers.values()} == {("a",)}


def test_shares_that_together_are_more_than_a_card_are_told() -> None:
    [told] = problems({"a": node(slices=2)}, {"chat": vllm(gpuShare=0.7), "help": ollama(gpuShare=0.4)})
    assert told == (
        "models.help.gpuShare: 1 of 1 replicas find no free GPU (each takes 1, all on one node), so their pods would "
        "stay Pending: a has a free slice, but too little of a GPU's memory beside its neighbours for 0.4 of it. Lower "
        "gpuShare, or add GPUs or slices, or take something away."
    )


def test_a_share_of_a_card_that_nobody_else_may_use_is_told() -> None:
    found = planned({"a": node()}, {"chat": vllm(gpuShare=0.4)})
    assert found.warnings == (
        "models.chat.gpuShare: 0.4, but a is not time-sliced: the pod has a GPU to itself, and the rest of its memory "
        "is used by no other pod. Write nodes.a.gpus.timeSlices: 2 for others to share it, or leave gpuShare out.",
    )
    for server in (vllm(gpuShare=1), vllm()):
        assert planned({"a": node()}, {"chat": server}).warnings == ()
    assert planned({"a": node(slices=2)}, {"chat": vllm(gpuShare=0.4)}).warnings == ()


@pytest.mark.parametrize(
    ("count", "shares", "slices"),
    [
        (1, [0.5, 0.5], 2),
        (1, [0.3, 0.3, 0.4], 3),
        (2, [0.5, 0.5, 0.5], 2),
        (1, [0.7, 0.4], None),
        (1, [None, 0.4], None),
    ],
)
def test_shares_that_would_share_a_card_are_told_how(
    count: int, shares: list[float | None], slices: int | None
) -> None:
    models: Raw = {f"m{i}": ollama(**({} if share is None else {"gpuShare": share})) for i, share in enumerate(shares)}
    told = problems({"a": node(count=count)}, models)
    assert told
    repair = (
        "Add GPUs or slices, or take something away."
        if slices is None
        else f"Write nodes.a.gpus.timeSlices: {slices}, with which all that is there shares its GPUs; or add GPUs or "
        "slices, or take something away."
    )
    assert told[-1].endswith(f" free. {repair}")
    if slices is not None:
        assert set(where({"a": node(count=count, slices=slices)}, models)) == set(models)


def test_a_new_pod_never_comes_first_where_its_memory_is_not_free() -> None:
    """A slice is spare, but old and new pod together would want more than the card has."""
    nodes: Raw = {"a": node(slices=2)}
    assert planned(nodes, {"chat": vllm(gpuShare=0.9)}).servers["chat"].rollout.strategy == "Recreate"
    assert planned(nodes, {"chat": vllm(gpuShare=0.5)}).servers["chat"].rollout.max_surge == 1


# --- what pods become of it ---


def test_pods_ask_for_the_labels_and_tolerate_the_taints_that_were_planned_with(deployed: Deploy) -> None:
    found = deployed(
        {
            "nodes": {"a": node(count=2, labels={"disk": "nvme"}, taints=[TAINT, "night:NoExecute"])},
            "models": {
                name: {
                    **server,
                    "nodeSelector": {"disk": "nvme"},
                    "tolerations": [TAINT, "night:NoExecute"],
                    "cpus": 4,
                    "priorityClass": "serving",
                }
                for name, server in {"chat": vllm(), "help": ollama()}.items()
            },
            "monitoring": {},
        }
    )
    tolerated = [
        {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
        {"key": "dedicated", "operator": "Equal", "value": "llm", "effect": "NoSchedule"},
        {"key": "night", "operator": "Equal", "value": "", "effect": "NoExecute"},
    ]
    pods = [(r, pod) for r, pod in found.pods() if r.name in ("chat", "help", "help-pull")]
    assert len(pods) == 3
    for r, pod in pods:
        assert pod["nodeSelector"] == {"disk": "nvme"}, r.name
        assert pod["tolerations"] == tolerated, r.name
        assert pod["priorityClassName"] == "serving", r.name
    for name in ("chat", "help"):
        [container] = found.one("Deployment", name).inputs["spec"]["template"]["spec"]["containers"]
        assert container["resources"]["requests"]["cpu"] == "4000m"
    # Else the node would advertise no GPU, and have no metrics.
    daemons = [r.inputs["spec"]["template"]["spec"] for r in found.of("DaemonSet")]
    assert len(daemons) == 2
    for pod in daemons:
        assert pod["tolerations"] == tolerated


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"labels": {"kubernetes.io/hostname": "x"}},
            "nodes.a.labels.kubernetes.io/hostname: 'kubernetes.io/hostname' is Kubernetes' own: the kubelet sets it, "
            "and others place pods by it. Use a domain of yours, or one of node-role.kubernetes.io, "
            "topology.kubernetes.io, node-restriction.kubernetes.io.",
        ),
        (
            {"labels": {"llm-serving/gpu-model": "x"}},
            "nodes.a.labels.llm-serving/gpu-model: 'llm-serving/gpu-model' is a label that the program sets from "
            "nodes.<name>.gpus, so it would be written twice. Leave it out.",
        ),
        (
            {"labels": {"nvidia.com/gpu.present": "false"}},
            "nodes.a.labels.nvidia.com/gpu.present: 'nvidia.com/gpu.present' is a label that the program sets from "
            "nodes.<name>.gpus, so it would be written twice. Leave it out.",
        ),
        (
            {"labels": {"disk": "fast disk"}},
            "nodes.a.labels.disk: 'fast disk' is not a label's value: at most 63 of A-Z, a-z, 0-9, '-', '_' and '.', "
            "that begins and ends with a letter or digit.",
        ),
        (
            {"labels": {"-disk": "x"}},
            "nodes.a.labels.-disk: '-disk' is not a label's key: a name of at most 63 of A-Z, a-z, 0-9, '-', '_' and "
            "'.', that begins and ends with a letter or digit, and before it, if at all, a domain and '/'.",
        ),
        (
            {"labels": {"Example.com/disk": "x"}},
            "nodes.a.labels.Example.com/disk: 'Example.com/disk' is not a label's key: 'Example.com' before the '/' is "
            "not a domain, as example.com is.",
        ),
        (
            {"taints": ["dedicated=llm"]},
            "nodes.a.taints.0: 'dedicated=llm' is not a taint as kubectl writes it; write e.g. "
            "'dedicated=llm:NoSchedule', with NoSchedule or NoExecute.",
        ),
        (
            {"taints": ["dedicated:PreferNoSchedule"]},
            "nodes.a.taints.0: 'dedicated:PreferNoSchedule' keeps nobody away, so there is nothing to plan with it. "
            "Leave it out.",
        ),
    ],
)
def test_labels_and_taints_that_kubernetes_would_not_take_are_told(settings: Raw, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_of({"nodes": {"a": node(**settings)}, "models": {"x": ollama()}})
    assert list(caught.value.problems) == [told]


@pytest.mark.parametrize(
    "key",
    [
        "disk",
        "topology.kubernetes.io/zone",
        "node-role.kubernetes.io/gpu",
        "example.com/A_b.c",
        "nvidia.com/gpu.product",
    ],
)
def test_labels_that_people_use_are_taken(key: str) -> None:
    assert planned({"a": node(labels={key: ""})}, {"x": ollama()}).nodes["a"].labels[key] == ""
