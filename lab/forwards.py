"""Leads ports 80 and 443 of the machine's 127.0.0.1 to the lab's edge, by socat."""

from __future__ import annotations

import socket
import subprocess

from lab.network import Network
from lab.processes import Definition
from toolchain.steps import StepFailed

PORTS = (80, 443)
_ADDRESS = "127.0.0.1"


def definitions(network: Network) -> list[Definition]:
    """One socat for each port; they end with the supervisor."""
    return [
        Definition(
            f"forward-{port}",
            (
                *("setpriv", "--pdeathsig", "KILL", "socat"),
                f"TCP-LISTEN:{port},bind={_ADDRESS},fork,reuseaddr,nodelay",
                f"TCP:{network.node}:{port},nodelay",
            ),
        )
        for port in PORTS
    ]


def check_free(ports: tuple[int, ...] = PORTS) -> None:
    """See that nothing listens on the ports.

    Raises:
        StepFailed: something does; the message says what.
    """
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((_ADDRESS, port))
            except OSError as error:
                raise StepFailed(
                    f"Port {port} of {_ADDRESS} cannot be used ({error.strerror}): {holder(port)}. The lab's edge "
                    "would not answer there. End what holds it, or start the lab with --no-forward."
                ) from error


def holder(port: int) -> str:
    """Who listens on `port`, in words."""
    query = ["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes", f"sport = :{port}"]
    shown = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    users = [line.split("users:", 1)[1].strip() for line in shown.splitlines() if "users:" in line]
    return f"held by {', '.join(users)}" if users else "its holder is not to be seen from here"
