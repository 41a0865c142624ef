"""Components: k3s' defaults, and a change of the spec touches only what it concerns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab import components, network
from lab.components import Programs, Registry
from lab.layout import DRIVER, Layout
from lab.network import Network
from lab.processes import Definition
from lab.spec import LabSpec, NodeSpec

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
    assert json.loads(components.kubelet_config(layout))["clusterDNS"] == ["10.43.0.10"]
    assert json.loads(components.cni_config())["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.42.0.0/24"}]]


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
    base = json.loads(components.nvidia_base_spec({"ociVersion": "1.0.2", "mounts": [{"destination": "/proc"}]}))
    assert [mount["destination"] for mount in base["mounts"]] == ["/proc", str(DRIVER)]
    assert "ro" in base["mounts"][1]["options"]
    config = components.containerd_config()
    handlers = config.split("runtimes.")[1:]
    assert ["base_runtime_spec" in handler for handler in handlers] == [False, True]
    assert handlers[1].startswith("nvidia]")


def test_gpu_identifiers_are_unique_and_stay() -> None:
    spec = LabSpec(nodes={"a": NodeSpec(gpus=8)})
    gpus = json.loads(components.driver_file(spec))["gpus"]
    assert len({gpu["uuid"] for gpu in gpus}) == 8
    assert components.driver_file(spec) == components.driver_file(spec)
    fewer = json.loads(components.driver_file(LabSpec(nodes={"a": NodeSpec(gpus=2)})))["gpus"]
    assert fewer == gpus[:2]


def test_api_certificate_is_good_for_every_way_in() -> None:
    issued = {item.name: item for item in components.certificates("n", _NETWORK)}
    names = issued["kube-apiserver"].alternatives
    assert {f"IP:{_NETWORK.node}", "IP:127.0.0.1", "IP:10.43.0.1", "DNS:kubernetes.default.svc"} <= set(names)
    assert issued["kubelet"].subject == "/O=system:nodes/CN=system:node:n"
    issuers = [item.issuer for item in issued.values() if item.issuer]
    assert all(list(issued).index(issuer) < 2 for issuer in issuers)


def test_two_labs_share_no_name(tmp_path: Path) -> None:
    one, two = Layout(tmp_path / "a"), Layout(tmp_path / "b")
    assert one.interface != two.interface
    assert one.cgroup != two.cgroup
    assert len(one.interface) <= 15  # the kernel's limit
