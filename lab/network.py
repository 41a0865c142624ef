"""The lab's place in the machine's network: a small subnet of its own behind a pair of virtual interfaces.

The lab has no route to anywhere but the machine; the machine's own rules and settings are not touched.
"""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from lab.layout import Layout
from lab.processes import write_atomically
from toolchain.steps import StepFailed

NAMESPACE = "lab"
"""Name under which workers find the first node's network namespace."""

POOL = IPv4Network("198.18.0.0/15")
"""Set aside for tests of networks (RFC 2544): no other network should be using it."""
PREFIX = 29

POD_CIDR = "10.42.0.0/16"
SERVICE_CIDR = "10.43.0.0/16"
API_SERVICE_IP = "10.43.0.1"
DNS_IP = "10.43.0.10"


@dataclass(frozen=True)
class Network:
    """Addresses of one lab."""

    subnet: IPv4Network

    @property
    def machine(self) -> IPv4Address:
        """The machine's end."""
        return self.subnet[1]

    @property
    def node(self) -> IPv4Address:
        """The node: API server, kubelet, the edge's ports 80 and 443."""
        return self.subnet[2]

    @property
    def internet(self) -> IPv4Address:
        """Where the stand-ins of internet sites answer: on port 443, which the edge has at the node's address."""
        return self.subnet[3]

    def address(self, index: int) -> IPv4Address:
        """Address of the node with this place in the spec; 0 is the first."""
        return self.subnet[3 + index] if index else self.node

    def pod_cidr(self, index: int) -> str:
        """Addresses of that node's pods, as k3s gives them out."""
        return str(list(IPv4Network(POD_CIDR).subnets(new_prefix=24))[index])


def choose(identity: str, taken: list[IPv4Network]) -> Network:
    """The first free subnet of the pool, counted from a place that `identity` (hex digits) decides.

    Raises:
        StepFailed: every subnet overlaps one in `taken`.
    """
    count = 2 ** (PREFIX - POOL.prefixlen)
    start = int(identity, 16) % count
    size = 2 ** (32 - PREFIX)
    for step in range(count):
        address = int(POOL.network_address) + (start + step) % count * size
        subnet = IPv4Network((address, PREFIX))
        if not any(subnet.overlaps(other) for other in taken):
            return Network(subnet)
    raise StepFailed(f"Every /{PREFIX} of {POOL} is in use on this machine, so the lab has no addresses. Free one.")


def taken_subnets(own_interface: str) -> list[IPv4Network]:
    """Subnets that the machine routes anywhere but to `own_interface`; the default route does not count."""
    listed = subprocess.run(["ip", "-json", "-4", "route"], capture_output=True, text=True, check=True)
    routes = json.loads(listed.stdout)
    return [
        IPv4Network(route["dst"], strict=False)
        for route in routes
        if route["dst"] != "default" and route.get("dev") != own_interface
    ]


def load_or_choose(layout: Layout) -> Network:
    """The subnet that this lab had before if it is still free, else another one; remembered in the state folder."""
    taken = taken_subnets(layout.interface)
    if layout.network.exists():
        before = Network(IPv4Network(json.loads(layout.network.read_text())["subnet"]))
        if not any(before.subnet.overlaps(other) for other in taken):
            return before
    network = choose(layout.identity, taken)
    write_atomically(layout.network, json.dumps({"subnet": str(network.subnet)}))
    return network


def load(layout: Layout) -> Network:
    """The subnet that `load_or_choose` settled on."""
    return Network(IPv4Network(json.loads(layout.network.read_text())["subnet"]))


def connect(interface: str, network: Network, pid: int) -> None:
    """Make the pair of interfaces between the machine and the network namespace of process `pid`.

    Raises:
        subprocess.CalledProcessError: the kernel refused.
    """
    _ip("link", "add", interface, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    _ip("address", "add", f"{network.machine}/{PREFIX}", "dev", interface)
    _ip("link", "set", interface, "up")


def disconnect(interface: str) -> None:
    """Remove the machine's end if it is still there: the kernel does so itself, but somewhat later."""
    if Path("/sys/class/net", interface).exists():
        subprocess.run(["ip", "link", "delete", interface], capture_output=True, check=False)


def configure_node(network: Network) -> None:
    """Set up addresses and routes; runs in the lab's network namespace, where `eth0` has just appeared."""
    _ip("link", "set", "lo", "up")
    for address in (network.node, network.internet):
        _ip("address", "add", f"{address}/{PREFIX}", "dev", "eth0")
    _ip("link", "set", "eth0", "up")
    # Packets to a service need some route, or the kernel refuses them before its rules can redirect them.
    _ip("route", "add", SERVICE_CIDR, "dev", "lo", "src", str(network.node))
    _forward_packets()
    # The machine takes workers for its neighbours: the first node answers for them, and passes on what they get.
    Path("/proc/sys/net/ipv4/conf/eth0/proxy_arp").write_text("1")
    # By this name workers reach this namespace, which has no process that they could name.
    file = Path("/run/netns", NAMESPACE)
    file.parent.mkdir()
    file.touch()
    subprocess.run(["mount", "--bind", "/proc/self/ns/net", str(file)], check=True)


def configure_worker(network: Network, index: int) -> None:
    """Join a worker's network namespace, in which this runs, to the first node's.

    The first node routes between all others, and knows where the worker's pods are. When the worker ends, the kernel
    takes the interfaces and with them the routes.
    """
    address, there = str(network.address(index)), f"worker{index}"
    _ip("link", "set", "lo", "up")
    _ip("link", "add", "eth0", "type", "veth", "peer", "name", there, "netns", NAMESPACE)
    _ip("address", "add", f"{address}/32", "dev", "eth0")
    _ip("link", "set", "eth0", "up")
    _ip("route", "add", f"{network.node}/32", "dev", "eth0")
    _ip("route", "add", "default", "via", str(network.node), "dev", "eth0")
    _ip("-netns", NAMESPACE, "link", "set", there, "up")
    _ip("-netns", NAMESPACE, "route", "add", f"{address}/32", "dev", there)
    _ip("-netns", NAMESPACE, "route", "add", network.pod_cidr(index), "via", address, "dev", there, "onlink")
    _forward_packets()


def _forward_packets() -> None:
    for name in ("net/ipv4/ip_forward", "net/bridge/bridge-nf-call-iptables"):
        Path("/proc/sys", name).write_text("1")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)
