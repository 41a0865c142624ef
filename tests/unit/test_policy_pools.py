"""What GPU nodes a pod is held against: pools as an environment declares them, and Nodes as a cluster tells of them."""

from __future__ import annotations

import pytest
from judged import BY_NAME, findings, objects_of
from llm_policies.nodes import gpus_by_resource, open_to, pools_of
from llm_policies.objects import Stack, of_manifest, of_pulumi
from llm_policies.pools import Pool, PoolError, Taint, read_pools
from llm_policies.rule import Context
from on_mocks import Raw


def test_a_pool_is_read_as_it_is_written() -> None:
    pools = {
        "plain": Pool(),
        "parts": Pool(
            resource="nvidia.com/mig-1g.10gb",
            nodes=2,
            gpus=7,
            memory_mib=9728,
            time_slices=3,
            labels={"card": "a"},
            taints=(Taint(key="gpu", value="yes", effect="NoSchedule"),),
        ),
    }
    assert read_pools({name: pool.written() for name, pool in pools.items()}) == pools
    assert read_pools({"plain": {}}) == {"plain": pools["plain"]}
    assert pools["plain"].resource == "nvidia.com/gpu"


@pytest.mark.parametrize("resource", ["amd.com/gpu", "nvidia.com/gpu.shared", "gpu.intel.com/xe", "amd.com/cpx_nps4"])
def test_a_pool_is_of_any_gpu_that_pods_ask_for(resource: str) -> None:
    assert read_pools({"a": {"resource": resource}})["a"].resource == resource


@pytest.mark.parametrize("resource", ["nvidia", "cpu", "nvidia.com/gpumem", "", 5, ["nvidia.com/gpu"]])
def test_a_resource_that_no_rule_counts_is_no_pools(resource: object) -> None:
    with pytest.raises(PoolError) as error:
        read_pools({"a": {"resource": resource}})
    assert str(error.value) == (
        f"pools.a.resource: {resource!r} is no GPU that rules count. Write one of nvidia.com/gpu, "
        "nvidia.com/gpu.shared, amd.com/gpu, gpu.intel.com/i915, gpu.intel.com/xe, or a part of a GPU such as "
        "nvidia.com/mig-1g.10gb."
    )


def pod(resources: Raw) -> Raw:
    return {"apiVersion": "v1", "kind": "Pod", "spec": {"containers": [{"name": "a", "resources": resources}]}}


def test_gpus_of_a_patch_are_those_that_it_says() -> None:
    [patch] = of_pulumi("kubernetes:core/v1:PodPatch", pod({"limits": {"amd.com/gpu": 2.0}}))
    assert gpus_by_resource(patch.pod) == {"amd.com/gpu": 2}
    [patch] = of_pulumi("kubernetes:core/v1:PodPatch", pod({"requests": {"amd.com/gpu": 2.0}}))
    assert gpus_by_resource(patch.pod) == {"amd.com/gpu": 2}


def test_a_pod_without_gpus_may_be_on_any_pool() -> None:
    pools = {"a": Pool(), "b": Pool(resource="amd.com/gpu")}
    for resources, names in (({}, {"a", "b"}), ({"limits": {"amd.com/gpu": 1}}, {"b"})):
        [item] = of_manifest(pod(resources))
        assert open_to(item.pod, pools).keys() == names


def test_a_patch_of_a_node_tells_of_no_gpus() -> None:
    [patch] = of_pulumi("kubernetes:core/v1:NodePatch", {"metadata": {"name": "a", "labels": {"card": "l4"}}})
    [server] = of_manifest({**pod({"limits": {"nvidia.com/gpu": 9}}), "metadata": {"name": "chat"}})
    rule = BY_NAME["gpu-pool-oversubscribed"]
    assert findings(rule, [patch, server]) == []
    [node] = objects_of(
        [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": "a"},
                "status": {"allocatable": {"amd.com/gpu": 1}},
            }
        ],
        pulumi=True,
    )
    assert [f.item.id for f in findings(rule, [patch, server, node])] == ["Pod/default/chat"]


def test_slices_and_memory_of_a_node_are_those_of_what_it_advertises() -> None:
    """As NVIDIA's feature discovery labels them, by resource; slices with a name of their own are of the whole card."""
    labels = {
        **{"nvidia.com/gpu.replicas": "4", "nvidia.com/gpu.memory": "24576", "kubernetes.io/hostname": "host"},
        **{"nvidia.com/mig-1g.10gb.replicas": "many", "nvidia.com/mig-1g.10gb.memory": "9728"},
    }
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "a", "labels": labels},
        "spec": {
            "taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}, {"key": "spot", "effect": "NoExecute"}]
        },
        "status": {
            "allocatable": {
                "nvidia.com/gpu.shared": "8",
                "nvidia.com/mig-1g.10gb": 7,
                "nvidia.com/gpu": None,
                "cpu": "4",
            }
        },
    }
    rest: Raw = {
        "labels": labels,
        "taints": (Taint(key="gpu", value="yes", effect="NoSchedule"), Taint(key="spot", effect="NoExecute")),
        "node": "a",
        "has_all_labels": True,
    }
    assert pools_of(Stack(objects=of_manifest(node)), Context()) == {
        "a (nvidia.com/gpu.shared)": Pool(
            resource="nvidia.com/gpu.shared", gpus=2, time_slices=4, memory_mib=24576, **rest
        ),
        "a (nvidia.com/mig-1g.10gb)": Pool(
            resource="nvidia.com/mig-1g.10gb", gpus=7, time_slices=1, memory_mib=9728, **rest
        ),
    }


@pytest.mark.parametrize("label", [None, "", "-1", "4.5", "9" * 10, "9" * 5000])
def test_what_a_label_does_not_tell_in_a_plain_number_is_not_told(label: str | None) -> None:
    labels = {} if label is None else {"nvidia.com/gpu.replicas": label, "nvidia.com/gpu.memory": label}
    node: Raw = {"apiVersion": "v1", "kind": "Node", "status": {"allocatable": {"nvidia.com/gpu": "8"}}}
    [item] = of_manifest({**node, "metadata": {"labels": labels}})
    assert pools_of(Stack(objects=[item]), Context()) == {
        "(unnamed)": Pool(gpus=8, labels=labels, node="(unnamed)", memory_mib=None)
    }
