"""What the lab's cluster has before anything is deployed: k3s' packaged parts, rendered from manifests/."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from string import Template

from lab import network as net
from lab.layout import STORAGE
from lab.network import Network

_TEMPLATES = Path(__file__).parent / "manifests"

DEPLOYMENTS = ("coredns", "local-path-provisioner", "traefik")
"""Deployments of kube-system that must be ready before the lab is."""


def render(network: Network, images: Mapping[str, str], internet: tuple[str, ...], crds: str) -> str:
    """All manifests as one YAML stream, definitions first.

    Args:
        network: the lab's addresses.
        images: image references by name: `coredns`, `local_path`, `busybox`, `traefik`.
        internet: host names that the lab stands in for.
        crds: the CustomResourceDefinitions of Traefik, as YAML.
    """
    values = {
        "dns_ip": net.DNS_IP,
        "node_ip": str(network.node),
        "storage": str(STORAGE),
        "internet_names": ":53 ".join(internet),
        "internet_hosts": f"{network.internet} {' '.join(internet)}",
        "coredns_checksum": digest(f"{network.internet} {internet} {(_TEMPLATES / 'coredns.yaml').read_text()}")[:16],
        **{f"{name}_image": reference for name, reference in images.items()},
    }
    texts = [crds, *(Template(path.read_text()).substitute(values) for path in sorted(_TEMPLATES.glob("*.yaml")))]
    return "\n---\n".join(texts)


def digest(manifests: str) -> str:
    """Short name for the content, to tell whether it was applied."""
    return hashlib.sha256(manifests.encode()).hexdigest()
