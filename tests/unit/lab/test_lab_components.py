"""Components: k3s' defaults, and a change of the spec touches only what it concerns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import components, network, node_components
from lab.components import Registry
from lab.layout import DRIVER, Layout
from lab.network import Network
from lab.node_components import Programs
from lab.processes import Definition
from lab.spec import MOST_NODES, LabSpec, NodeSpec

_PROGRAMS = Programs(Path("/c/kube"), Path("/c/netpol"), Path("/usr/bin/python3"))
_NETWORK = network.choose("00000000", [])


def _defined(layout: Layout, node: NodeSpec, addresses: Network = _NETWORK) -> dict[str, Definition]:
    registry = Registry(Path("/c/internet"), {"qwen3:4b": Path("/c/models/qwen3.gguf")})
    found = components.definitions(layout, addresses, LabSpec(nodes={"n": node}), _PROGRAMS, registry)
    return {item.name: item for item in found}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def test_k3s_networks(layout: Layout) -> None:
    defined = _defined(layout, NodeSpec())
    assert "--service-cluster-ip-range=10.43.0.0/16" in defined["kube-apiserver"].argv
    assert "--cluster-cidr=10.42.0.0/16" in defined["kube-controller-manager"].argv
    assert json.loads(node_components.kubelet_config(layout))["clusterDNS"] == ["10.43.0.10"]
    assert [_NETWORK.pod_cidr(index) for index in (0, 3)] == ["10.42.0.0/24", "10.42.3.0/24"]
    ranges = json.loads(node_components.cni_config("10.42.0.0/24"))["plugins"][0]["ipam"]["ranges"]
    assert ranges == [[{"subnet": "10.42.0.0/24"}]]


def test_gpus_concern_the_kubelet_alone(layout: Layout) -> None:
    one, two = _defined(layout, NodeSpec(gpus=1)), _defined(layout, NodeSpec(gpus=2))
    assert [name for name in one if one[name] != two[name]] == ["kubelet"]


def test_labels_restart_nothing(layout: Layout) -> None:
    assert _defined(layout, NodeSpec(labels={"a": "b"})) == _defined(layout, NodeSpec())


def test_each_component_waits_for_what_it_needs(layout: Layout) -> None:
    defined = _defined(layout, NodeSpec())
    assert defined["kube-apiserver"].after == ("tcp:127.0.0.1:2379",)
    for name in ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "netpol"):
        assert "https://127.0.0.1:6443/readyz" in defined[name].after
    assert any(gate.startswith("unix:") for gate in defined["kubelet"].after)


def test_only_the_nvidia_handler_shows_the_driver() -> None:
    base = json.loads(node_components.nvidia_base_spec({"ociVersion": "1.0.2", "mounts": [{"destination": "/proc"}]}))
    assert [mount["destination"] for mount in base["mounts"]] == ["/proc", str(DRIVER)]
    assert "ro" in base["mounts"][1]["options"]
    config = node_components.containerd_config()
    handlers = config.split("runtimes.")[1:]
    assert ["base_runtime_spec" in handler for handler in handlers] == [False, True]
    assert handlers[1].startswith("nvidia]")


def test_gpu_identifiers_are_unique_and_stay() -> None:
    spec = LabSpec(nodes={"a": NodeSpec(gpus=8)})
    gpus = json.loads(node_components.driver_file(spec, "a"))["gpus"]
    assert len({gpu["uuid"] for gpu in gpus}) == 8
    fewer = LabSpec(nodes={"a": NodeSpec(gpus=2), "b": NodeSpec(gpus=1)})
    assert json.loads(node_components.driver_file(fewer, "a"))["gpus"] == gpus[:2]
    assert json.loads(node_components.driver_file(fewer, "b"))["gpus"][0]["uuid"] not in {g["uuid"] for g in gpus}


def test_api_certificate_is_good_for_every_way_in() -> None:
    issued = {
        item.name: item for item in components.certificates(LabSpec(nodes={"n": NodeSpec(), "w": NodeSpec()}), _NETWORK)
    }
    names = issued["kube-apiserver"].alternatives
    assert {f"IP:{_NETWORK.node}", "IP:127.0.0.1", "IP:10.43.0.1", "DNS:kubernetes.default.svc"} <= set(names)
    assert issued["kubelet"].subject == "/O=system:nodes/CN=system:node:n"
    assert issued["kubelet-w"].subject == "/O=system:nodes/CN=system:node:w"
    assert issued["kubelet-serving-w"].alternatives == ("DNS:w", f"IP:{_NETWORK.address(1)}")
    issuers = [item.issuer for item in issued.values() if item.issuer]
    assert all(list(issued).index(issuer) < 2 for issuer in issuers)


def test_a_worker_is_one_more_process_and_changes_no_other(layout: Layout) -> None:
    registry = Registry(Path("/c/internet"), {})

    def defined(*names: str) -> dict[str, Definition]:
        spec = LabSpec(nodes={name: NodeSpec() for name in names})
        return {d.name: d for d in components.definitions(layout, _NETWORK, spec, _PROGRAMS, registry)}

    one, two = defined("a"), defined("a", "b")
    assert {name: item for name, item in two.items() if name != "worker-b"} == one
    assert two["worker-b"].argv[-3:] == (str(layout.root), "b", "1")


def test_nodes_share_neither_files_nor_addresses_nor_groups(layout: Layout) -> None:
    first, worker = layout, layout.of("b")
    for one, two in ((first.var, worker.var), (first.driver, worker.driver), (first.config, worker.config)):
        assert one != two
    assert worker.cgroup == f"{first.cgroup}/worker-b"
    assert worker.pki == first.pki
    addresses = [_NETWORK.address(index) for index in range(MOST_NODES)]
    assert len({_NETWORK.machine, _NETWORK.internet, *addresses}) == MOST_NODES + 2
    assert set(addresses) <= set(_NETWORK.subnet.hosts())


def test_two_labs_share_no_name(tmp_path: Path) -> None:
    one, two = Layout(tmp_path / "a"), Layout(tmp_path / "b")
    assert one.interface != two.interface
    assert one.cgroup != two.cgroup
    assert len(one.interface) <= 15  # the kernel's limit
