"""The cluster: what k3s packages is rendered whole, and ready means ready since the node's last start."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from lab import cluster, manifests, network, recipes
from lab.spec import LabSpec, NodeSpec
from lab.standins import internet

_CRD = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: x}\n"
_NETWORK = network.choose("00000000", [])
_STARTED = 1_000_000_000.0  # 2001-09-09T01:46:40Z
_BEFORE, _AFTER = "2001-09-09T01:46:39Z", "2001-09-09T01:46:40Z"


def _objects() -> dict[str, dict[str, Any]]:
    text = manifests.render(_NETWORK, recipes.SYSTEM_IMAGES, internet.HOSTS, _CRD)
    return {f"{item['kind']}/{item['metadata']['name']}": item for item in yaml.safe_load_all(text) if item}


def test_definitions_come_first() -> None:
    assert next(iter(_objects())) == "CustomResourceDefinition/x"


def test_k3s_names_and_defaults() -> None:
    objects = _objects()
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    assert objects["StorageClass/local-path"]["metadata"]["annotations"] == default
    assert objects["IngressClass/traefik"]["spec"]["controller"] == "traefik.io/ingress-controller"
    assert objects["RuntimeClass/nvidia"]["handler"] == "nvidia"
    assert objects["Service/kube-dns"]["spec"]["clusterIP"] == "10.43.0.10"
    assert {f"Deployment/{name}" for name in manifests.DEPLOYMENTS} == {
        n for n in objects if n.startswith("Deployment/")
    }


def test_every_image_is_one_that_the_lab_has() -> None:
    pods = [item["spec"]["template"]["spec"] for item in _objects().values() if item["kind"] == "Deployment"]
    used = {container["image"] for pod in pods for container in pod["containers"]}
    assert used <= set(recipes.SYSTEM_IMAGES.values())
    assert recipes.SYSTEM_IMAGES["busybox"] in _objects()["ConfigMap/local-path-config"]["data"]["helperPod.yaml"]


def test_edge_leaves_the_other_address_to_the_internet_stand_ins() -> None:
    objects = _objects()
    ports = objects["Deployment/traefik"]["spec"]["template"]["spec"]["containers"][0]["ports"]
    assert {(port["hostPort"], port["hostIP"]) for port in ports if "hostPort" in port} == {
        (80, str(_NETWORK.node)),
        (443, str(_NETWORK.node)),
    }
    corefile = objects["ConfigMap/coredns"]["data"]["Corefile"]
    assert f"{_NETWORK.internet} registry.ollama.ai" in corefile


def test_scripts_keep_their_variables() -> None:
    assert '"$VOL_DIR"' in _objects()["ConfigMap/local-path-config"]["data"]["setup"]


def test_other_addresses_start_a_new_coredns() -> None:
    other = network.choose("00000001", [])
    texts = [manifests.render(item, recipes.SYSTEM_IMAGES, internet.HOSTS, _CRD) for item in (_NETWORK, other)]
    found = [next(line for line in text.splitlines() if "checksum/corefile" in line) for text in texts]
    assert found[0] != found[1]


def _node(stamp: str, ready: str = "True") -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "lastHeartbeatTime": stamp}]
    return {"kind": "Node", "metadata": {"name": "lab"}, "status": {"conditions": conditions}}


def _deployment(name: str, ready: int = 1, observed: int = 1) -> dict[str, Any]:
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "generation": 1},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": observed, "updatedReplicas": ready, "readyReplicas": ready},
    }


def _pod(name: str, stamp: str) -> dict[str, Any]:
    statuses = [{"state": {"running": {"startedAt": stamp}}}]
    return {"kind": "Pod", "metadata": {"name": name}, "status": {"containerStatuses": statuses}}


@pytest.mark.parametrize(
    ("item", "ready"),
    [
        (_node(_AFTER), True),
        (_node(_BEFORE), False),
        (_node(_AFTER, ready="False"), False),
        (_deployment("coredns"), True),
        (_deployment("coredns", ready=0), False),
        (_deployment("coredns", observed=0), False),
        (_pod("coredns-1", _AFTER), True),
        (_pod("coredns-1", _BEFORE), False),
        ({"kind": "Pod", "metadata": {"name": "coredns-1"}, "status": {}}, False),
        (
            {"kind": "Pod", "metadata": {"name": "x"}, "status": {"containerStatuses": [{"state": {"waiting": {}}}]}},
            False,
        ),
    ],
)
def test_ready_counts_from_the_nodes_start(item: dict[str, Any], ready: bool) -> None:
    assert cluster.item_ready(item, _STARTED) is ready


def test_not_ready_names_what_is_missing() -> None:
    items = [
        _node(_AFTER),
        _deployment("coredns"),
        _deployment("traefik"),
        _pod("traefik-1", _BEFORE),
        _pod("x", _BEFORE),
    ]
    missing = cluster.not_ready(lambda *_: json.dumps({"items": items}), LabSpec(), _STARTED)
    assert missing == ["deployment/local-path-provisioner", "pod/traefik-1"]


def test_node_of_another_name_goes_before_its_pods() -> None:
    done: list[str] = []

    def kubectl(*arguments: str, stdin: str | None = None) -> str:
        if arguments[0] == "apply" and stdin:
            for item in json.loads(stdin)["items"]:
                done.append(f"label {item['metadata']['labels']['zone']} {item['spec']['podCIDR']}")
        elif arguments[0] == "delete":
            done.append(" ".join(arguments[:2]))
        return "node/old\nnode/new\n" if arguments[0] == "get" else ""

    nodes = {"new": NodeSpec(labels={"zone": "a"}), "more": NodeSpec(labels={"zone": "b"})}
    cluster.set_up_nodes(kubectl, LabSpec(nodes=nodes), _NETWORK)
    assert done == ["label a 10.42.0.0/24", "label b 10.42.1.0/24", "delete node", "delete pods"]
