"""Writes what the lab's processes read: keys, configuration and their definitions, on every node."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lab import components, forwards, node_components, pki
from lab.components import Registry
from lab.layout import API_PORT, CNI_CONFIG, CONTAINERD_CONFIG, NVIDIA_BASE_SPEC, Layout
from lab.network import Network
from lab.node import output
from lab.node_components import Programs
from lab.processes import write_atomically, write_definitions
from lab.spec import LabSpec


def write(
    layout: Layout,
    network: Network,
    spec: LabSpec,
    programs: Programs,
    registry: Registry,
    *,
    kept: Sequence[Path],
    forward: bool,
) -> None:
    """Make the files below the state folder say what `spec` says; those that say so already are left alone.

    Args:
        layout: that of the lab's first node.
        network: the lab's addresses.
        spec: what the lab should be.
        programs: executables for the definitions.
        registry: what the stand-in for registry.ollama.ai serves.
        kept: folders of the machine that workers must see.
        forward: whether the machine's ports 80 and 443 lead to the edge.

    Raises:
        StepFailed: containerd's default OCI spec cannot be had.
        subprocess.CalledProcessError: openssl refused a certificate.
    """
    for certificate in components.certificates(spec, network):
        pki.issue(layout.pki, certificate)
    pki.issue_key_pair(layout.pki, "service-account")
    for client in components.KUBECONFIGS:
        _write(layout.config / f"{client}.kubeconfig", pki.kubeconfig(layout.pki, client, components.API_SERVER))
    _write(layout.kubeconfig, pki.kubeconfig(layout.pki, "admin", f"https://{network.node}:{API_PORT}"))
    default = json.loads(output(["ctr", "oci", "spec"]))
    _write_node(layout, spec.first, spec, network, default)
    for name, index in spec.workers.items():
        worker = layout.of(name)
        for client in components.WORKER_KUBECONFIGS:
            issued = f"{client}-{name}" if client == "kubelet" else client
            config = pki.kubeconfig(layout.pki, issued, node_components.api_server(network, index))
            _write(worker.config / f"{client}.kubeconfig", config)
        _write_node(worker, name, spec, network, default)
        write_definitions(worker.components, node_components.node_definitions(worker, network, spec, name, programs))
    write_definitions(layout.components, components.definitions(layout, network, spec, programs, registry, kept=kept))
    write_definitions(layout.forwards, forwards.definitions(network) if forward else [])
    _write(layout.spec, spec.to_json())


def _write_node(layout: Layout, name: str, spec: LabSpec, network: Network, default: dict[str, Any]) -> None:
    """Write the configuration of what every node runs; `default` is containerd's own OCI spec."""
    for folder in (layout.var, layout.logs):
        folder.mkdir(parents=True, exist_ok=True)
    _write(layout.config / "kubelet.json", node_components.kubelet_config(layout))
    _write(layout.config / "resolv.conf", "")
    _write(layout.on_machine(CONTAINERD_CONFIG), node_components.containerd_config())
    pods = network.pod_cidr(spec.workers.get(name, 0))
    _write(layout.on_machine(CNI_CONFIG) / "10-lab.conflist", node_components.cni_config(pods))
    _write(layout.on_machine(NVIDIA_BASE_SPEC), node_components.nvidia_base_spec(default))
    _write(layout.driver / "gpus.json", node_components.driver_file(spec, name), mode=0o644)


def _write(path: Path, text: str, mode: int = 0o600) -> None:
    """Write `text` if it differs; by default as what may hold secrets."""
    if path.exists() and path.read_text() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
    path.chmod(mode)
